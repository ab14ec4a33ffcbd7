import { REASONS, type Reason } from './candidate-filter.ts';

/** Counts of documents that mining has found and rejected, over all queries so far. */
export class MiningStatistics {
  /** Negatives wanted for each query. */
  readonly wanted: number;
  /** Number of documents rejected, by reason. */
  readonly removed: Record<Reason, number> = Object.fromEntries(
    REASONS.map((reason) => [reason, 0]),
  ) as Record<Reason, number>;
  /** Number of queries so far. */
  queries = 0;
  /** Number of documents that passed the rules. */
  kept = 0;
  /** Number of documents chosen as negatives. */
  negatives = 0;
  /** Number of queries with 0, 1, … `wanted` − 1 negatives. */
  readonly shortCounts: number[];

  constructor(wanted: number) {
    this.wanted = wanted;
    this.shortCounts = new Array<number>(wanted).fill(0);
  }

  /** Adds the counts of one query. */
  query({ kept, chosen }: { kept: number; chosen: number }): void {
    this.queries += 1;
    this.kept += kept;
    this.negatives += chosen;
    if (chosen < this.wanted) this.shortCounts[chosen]! += 1;
  }

  /** Number of documents considered. */
  get candidates(): number {
    return this.kept + REASONS.reduce((sum, reason) => sum + this.removed[reason], 0);
  }

  /**
   * Queries with fewer negatives than wanted: their number, how many have none, and how many negatives are
   * missing in all.
   */
  get short(): { readonly queries: number; readonly withNone: number; readonly missing: number } {
    const { shortCounts, wanted } = this;
    return {
      queries: shortCounts.reduce((sum, count) => sum + count, 0),
      withNone: shortCounts[0]!,
      missing: shortCounts.reduce((sum, count, chosen) => sum + count * (wanted - chosen), 0),
    };
  }
}
