/** Wall clock of a run's training. It stands still during work that is not training: evaluations, saving, diagnoses. */
export class TrainingClock {
  private readonly startMs = performance.now();
  private asideMs = 0;
  private stoppedMs: number | undefined;

  /** Milliseconds of training since the clock was created. */
  get elapsedMs(): number {
    return (this.stoppedMs ?? performance.now()) - this.startMs - this.asideMs;
  }

  /** Runs work while the clock stands still. */
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
