/**
 * Counts what a run spends, by name. Anything that trains may add purposes and units of its own; names end in their unit, and counts of
 * embedded texts end in `Encodes`:
 *
 * - `documentEncodes` is the sum of its purposes: `positiveEncodes`, `negativeEncodes`, `teachingEncodes` (a corrector learns from
 *   them, the loss does not), `probeEncodes` (they decide whether a refresh is due), `refreshEncodes` (the first fill of a cache
 *   included), `miningEncodes` and `guideEncodes` (by the guide that masks negatives).
 * - `queryEncodes` stand apart. Evaluation is not counted: all methods pay for it alike.
 * - `diagnosisEncodes` are texts of both sides that `--diagnose` embeds. They are in no sum: watching a run must not make its method
 *   look more expensive.
 * - `tokens` is the sum of its purposes, such as `trainingTokens`, for language models.
 * - `scoringFlops`: products of queries with cached embeddings, 2 B C D each. `correctionFlops`: correcting cached embeddings and
 *   teaching the corrector.
 * - `cacheBytes`: the most that caches have held at once.
 * - `…Ms`: wall time by phase. No time is in two phases.
 *
 * The ledger is part of a checkpoint: a resumed run goes on counting.
 */
export class CostLedger {
  private readonly amounts = new Map<string, number>();
  /** Time of the phases inside the running one. */
  private insideMs = 0;

  /** Adds document encodes of a purpose: `documents('positive', 8)` counts as `documentEncodes` and `positiveEncodes`. */
  documents(purpose: string, count: number): void {
    this.add(`${purpose}Encodes`, count, { of: 'documentEncodes' });
  }

  /** Adds query encodes. */
  queries(count: number): void {
    this.add('queryEncodes', count);
  }

  /** Adds tokens of a purpose: `tokens('training', 4096)` counts as `tokens` and `trainingTokens`. */
  tokens(purpose: string, count: number): void {
    this.add(`${purpose}Tokens`, count, { of: 'tokens' });
  }

  /** Adds texts that were embedded for a diagnosis. */
  diagnosis(texts: number): void {
    this.add('diagnosisEncodes', texts);
  }

  /** Adds the scoring of cached embeddings, in floating point operations. */
  scoring(flops: number): void {
    this.add('scoringFlops', flops);
  }

  /** Adds the correction of cached embeddings, in floating point operations. */
  correction(flops: number): void {
    this.add('correctionFlops', flops);
  }

  /** Notes how many bytes caches hold now. */
  cache(bytes: number): void {
    this.amounts.set('cacheBytes', Math.max(bytes, this.amounts.get('cacheBytes') ?? 0));
  }

  /** Adds an amount under any name, and to the sum that it is a part of. */
  add(name: string, amount: number, { of }: { of?: string } = {}): void {
    if (of !== undefined) this.add(of, amount);
    this.amounts.set(name, (this.amounts.get(name) ?? 0) + amount);
  }

  /**
   * Runs work and adds its wall time to a phase. Phases nest, and the time of an inner one counts for it alone; they must not run side
   * by side.
   */
  async time<T>(phase: string, work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const outerInsideMs = this.insideMs;
    this.insideMs = 0;
    try {
      return await work();
    } finally {
      const tookMs = performance.now() - startMs;
      this.add(`${phase}Ms`, tookMs - this.insideMs);
      this.insideMs = outerInsideMs + tookMs;
    }
  }

  /** All amounts so far, by name. */
  get totals(): Record<string, number> {
    return Object.fromEntries(this.amounts);
  }

  /** Takes back the totals of a checkpoint. */
  restore(totals: Readonly<Record<string, number>>): void {
    this.amounts.clear();
    for (const [name, amount] of Object.entries(totals)) this.amounts.set(name, amount);
  }
}

/** Whether a name of the ledger is a wall time. */
export const isTime = (name: string): boolean => name.endsWith('Ms');
