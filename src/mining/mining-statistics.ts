import { REASONS, type Reason } from './candidate-filter.ts';

/** What mining found and left out, over all queries so far. */
export class MiningStatistics {
  /** Negatives wanted for each query. */
  readonly wanted: number;
  /** Documents that were looked at and are no negatives, by reason. */
  readonly removed: Record<Reason, number> = Object.fromEntries(
    REASONS.map((reason) => [reason, 0]),
  ) as Record<Reason, number>;
  queries = 0;
  /** Documents that the rules let pass. */
  kept = 0;
  /** Of these, how many were chosen. */
  negatives = 0;
  /** Queries with 0, 1, … `wanted` − 1 negatives. */
  readonly shortCounts: number[];

  constructor(wanted: number) {
    this.wanted = wanted;
    this.shortCounts = new Array<number>(wanted).fill(0);
  }

  /** Counts a query. */
  query({ kept, chosen }: { kept: number; chosen: number }): void {
    this.queries += 1;
    this.kept += kept;
    this.negatives += chosen;
    if (chosen < this.wanted) this.shortCounts[chosen]! += 1;
  }

  /** Documents that were looked at. */
  get candidates(): number {
    return this.kept + REASONS.reduce((sum, reason) => sum + this.removed[reason], 0);
  }

  /** Queries that have less than they should. */
  get short(): { readonly queries: number; readonly withNone: number; readonly missing: number } {
    const { shortCounts, wanted } = this;
    return {
      queries: shortCounts.reduce((sum, count) => sum + count, 0),
      withNone: shortCounts[0]!,
      missing: shortCounts.reduce((sum, count, chosen) => sum + count * (wanted - chosen), 0),
    };
  }
}
