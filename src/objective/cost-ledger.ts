/** What document encodes are made for. */
export type EncodePurpose = 'positive' | 'negative' | 'teaching' | 'probe' | 'refresh' | 'mining' | 'guide';

/**
 * Parts of a run's time: what comes before the first step, correcting cached embeddings, choosing negatives, loss and gradients,
 * renewing caches, mining, moving the parameters, and three that are no training.
 */
export type Phase =
  | 'prepare'
  | 'correct'
  | 'sample'
  | 'step'
  | 'refresh'
  | 'mine'
  | 'update'
  | 'diagnose'
  | 'evaluate'
  | 'save';

/**
 * What a run spends, by name; what the papers' claims are about. Names end in their unit, counts have none:
 *
 * - `documentEncodes` is the sum of `positiveEncodes`, `negativeEncodes`, `teachingEncodes` (what a corrector learns from and the
 *   loss does not use), `probeEncodes` (what decides whether a refresh is due), `refreshEncodes`, `miningEncodes` and
 *   `guideEncodes` (by a guide that masks negatives, whose queries are among `queryEncodes`); the first fill of a cache counts as refresh. `queryEncodes` stand apart, evaluation counts nowhere: all methods pay it alike.
 * - `diagnosisEncodes`: texts of both sides embedded to measure staleness (`--diagnose`). They are in none of the others: who
 *   watches a run must not be charged for it, or its method would seem to cost more than unwatched ones.
 * - `scoringFlops`: products of queries with cached embeddings, 2 B C D each
 * - `correctionFlops`: cached embeddings moved by a corrector, and what it takes to teach it
 * - `cacheBytes`: most that caches held at once
 * - `…Ms`: wall time by phase, none of it in two
 *
 * Part of a checkpoint: a resumed run goes on counting.
 */
export class CostLedger {
  private readonly amounts = new Map<string, number>();
  /** Time that phases have taken inside the running one. */
  private insideMs = 0;

  documents(purpose: EncodePurpose, count: number): void {
    this.add('documentEncodes', count);
    this.add(`${purpose}Encodes`, count);
  }

  queries(count: number): void {
    this.add('queryEncodes', count);
  }

  diagnosis(texts: number): void {
    this.add('diagnosisEncodes', texts);
  }

  scoring(flops: number): void {
    this.add('scoringFlops', flops);
  }

  correction(flops: number): void {
    this.add('correctionFlops', flops);
  }

  cache(bytes: number): void {
    this.amounts.set('cacheBytes', Math.max(bytes, this.amounts.get('cacheBytes') ?? 0));
  }

  /**
   * Runs something and adds the time that it took to a phase. Phases lie one inside the other, and the inner one's time is its own
   * alone; they must not run side by side.
   */
  async time<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
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

  /** Texts embedded for training so far, of both sides. */
  get encodes(): { readonly queries: number; readonly documents: number } {
    const amount = (name: string) => this.amounts.get(name) ?? 0;
    return { queries: amount('queryEncodes'), documents: amount('documentEncodes') };
  }

  /** Everything so far. */
  get totals(): Record<string, number> {
    return Object.fromEntries(this.amounts);
  }

  restore(totals: Readonly<Record<string, number>>): void {
    this.amounts.clear();
    for (const [name, amount] of Object.entries(totals)) this.amounts.set(name, amount);
  }

  private add(name: string, amount: number): void {
    this.amounts.set(name, (this.amounts.get(name) ?? 0) + amount);
  }
}
