/** What document encodes are made for. */
export type EncodePurpose = 'positive' | 'negative' | 'refresh' | 'mining';

/** Parts of a run's time. */
export type Phase = 'sample' | 'step' | 'refresh' | 'update' | 'diagnose' | 'evaluate';

/**
 * What a run spends, by name; what the papers' claims are about. Names end in their unit, counts have none:
 *
 * - `documentEncodes` = `positiveEncodes` + `negativeEncodes` + `refreshEncodes` + `miningEncodes`; the first fill of a cache
 *   counts as refresh. `queryEncodes` stand apart, evaluation counts nowhere: all methods pay it alike.
 * - `scoringFlops`: products of queries with cached embeddings, 2 B C D each
 * - `cacheBytes`: most that caches held at once
 * - `…Ms`: wall time by phase
 *
 * Part of a checkpoint: a resumed run goes on counting.
 */
export class CostLedger {
  private readonly amounts = new Map<string, number>();

  documents(purpose: EncodePurpose, count: number): void {
    this.add('documentEncodes', count);
    this.add(`${purpose}Encodes`, count);
  }

  queries(count: number): void {
    this.add('queryEncodes', count);
  }

  scoring(flops: number): void {
    this.add('scoringFlops', flops);
  }

  cache(bytes: number): void {
    this.amounts.set('cacheBytes', Math.max(bytes, this.amounts.get('cacheBytes') ?? 0));
  }

  /** Runs something and adds the time that it took to a phase. */
  async time<T>(phase: Phase, work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    try {
      return await work();
    } finally {
      this.add(`${phase}Ms`, performance.now() - startMs);
    }
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
