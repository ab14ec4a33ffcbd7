/**
 * Counts the costs of a run, by name. Anything that trains may add purposes and units of its own. A name ends in its unit; counts
 * of embedded texts end in `Encodes`:
 *
 * - `documentEncodes` is the sum of its purposes: `positiveEncodes`, `negativeEncodes`, `candidateEncodes` (documents that a
 *   language model scores), `teachingEncodes` (only a corrector
 *   learns from them, not the loss), `probeEncodes` (they decide whether a refresh is due), `refreshEncodes` (including the first
 *   fill of a cache), `miningEncodes` and `guideEncodes` (by the guide that masks negatives).
 * - `queryEncodes` is counted apart from documents. Evaluation is not counted: all methods pay the same for it.
 * - `diagnosisEncodes` counts the texts of both sides that `--diagnose` embeds. It is part of no sum, so that watching a run does
 *   not make its method look more expensive.
 * - `tokens` is the sum of its purposes, such as `trainingTokens`, for language models.
 * - `scoringFlops` counts products of queries with cached embeddings, 2 B C D each.
 * - `readerFlops` counts the operations of a reader that is trained beside the retriever.
 * - `correctionFlops` counts the correction of cached embeddings and the teaching of the corrector.
 * - `cacheBytes` is the largest amount of memory that caches have held at once.
 * - `…Ms` is the wall time of a phase. No time is counted in two phases.
 *
 * The ledger is part of a checkpoint: a resumed run continues its counts.
 */
export class CostLedger {
  private readonly amounts = new Map<string, number>();
  /** Milliseconds of the phases that ran inside the current one. */
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

  /** Notes how many bytes caches hold now. The ledger keeps the maximum. */
  cache(bytes: number): void {
    this.amounts.set('cacheBytes', Math.max(bytes, this.amounts.get('cacheBytes') ?? 0));
  }

  /**
   * Adds an amount under any name.
   *
   * @param options.of  name of a sum that the amount is also added to
   */
  add(name: string, amount: number, { of }: { of?: string } = {}): void {
    if (of !== undefined) this.add(of, amount);
    this.amounts.set(name, (this.amounts.get(name) ?? 0) + amount);
  }

  /**
   * Runs work and adds its wall time to a phase. Phases may nest: the time of an inner phase counts for that phase alone. They
   * must not run concurrently.
   *
   * @param phase  name of the phase; its time is counted as `<phase>Ms`
   * @returns  the result of the work
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

  /** Returns all amounts so far, by name. */
  get totals(): Record<string, number> {
    return Object.fromEntries(this.amounts);
  }

  /** Replaces all amounts by the totals of a checkpoint. */
  restore(totals: Readonly<Record<string, number>>): void {
    this.amounts.clear();
    for (const [name, amount] of Object.entries(totals)) this.amounts.set(name, amount);
  }
}

/** Tells whether a name of the ledger is a wall time. */
export const isTime = (name: string): boolean => name.endsWith('Ms');
