/** Wall time of a run's training. It stands still while the run does what is no part of training: evaluates, saves, diagnoses. */
export class TrainingClock {
  private readonly startMs = performance.now();
  private asideMs = 0;
  private stoppedMs: number | undefined;

  /** Milliseconds of training since this was made. */
  get elapsedMs(): number {
    return (this.stoppedMs ?? performance.now()) - this.startMs - this.asideMs;
  }

  /** Does something while the clock stands still. */
  async aside<T>(work: () => Promise<T>): Promise<T> {
    const stoppedMs = performance.now();
    this.stoppedMs = stoppedMs;
    try {
      return await work();
    } finally {
      this.stoppedMs = undefined;
      this.asideMs += performance.now() - stoppedMs;
    }
  }
}
