import type { RetrievalData } from '../data/retrieval-data.ts';
import { evaluate } from '../eval/metrics.ts';
import type { Run } from '../eval/ranking.ts';
import { compareRuns } from '../eval/significance.ts';
import type { RetrievalTask } from '../retrieval/retrieve.ts';
import type { SearchResult } from '../search/search-index.ts';

/**
 * Means over the queries: `recall@k` of the judged documents, and `overlap@k` with the k best after a full
 * re-embedding.
 */
export type Quality = Readonly<Record<string, number>>;

/** Gap between full re-embedding and stale documents for one metric. */
export interface Gap {
  /** Metric after full re-embedding minus metric with stale documents. */
  readonly difference: number;
  /** Two-sided p-value of the hypothesis that the gap is chance (randomisation test over the queries). */
  readonly pValue: number;
}

/** Computes recall of the judged documents and overlap with the best results. */
export function quality(
  data: RetrievalData,
  task: RetrievalTask,
  { found, best, topK }: { found: SearchResult; best: SearchResult; topK: readonly number[] },
): Quality {
  const { metrics } = evaluate(task.qrels, runOf(data, task, found), {
    metrics: topK.map((cutoff) => `recall@${cutoff}`),
  });
  const overlaps = topK.map((cutoff) => [
    `overlap@${cutoff}`,
    overlap(found, best, Math.min(cutoff, found.k)),
  ]);
  return { ...metrics, ...Object.fromEntries(overlaps) };
}

/** Converts search results to a run of ids. */
export function runOf(
  data: RetrievalData,
  { queryRows }: RetrievalTask,
  { rows, scores, k }: SearchResult,
): Run {
  return new Map(
    Array.from(queryRows, (queryRow, i) => [
      data.queries.id(queryRow),
      Array.from(rows.subarray(i * k, (i + 1) * k), (row, rank) => ({
        docId: data.corpus.id(row),
        score: scores[i * k + rank]!,
      })),
    ]),
  );
}

/** Computes the mean share of the k best rows that two searches have in common. */
function overlap(found: SearchResult, best: SearchResult, k: number): number {
  const queries = found.rows.length / found.k;
  let common = 0;
  for (let i = 0; i < queries; i++) {
    const right = new Set(best.rows.subarray(i * best.k, i * best.k + k));
    for (const row of found.rows.subarray(i * found.k, i * found.k + k)) if (right.has(row)) common++;
  }
  return common / (queries * k);
}

/** p-value from which a gap between two means may be due to the choice of queries. */
const CHANCE = 0.05;

export function recoveredShare(
  corrected: number,
  stale: number | undefined,
  full: number,
  gap: Gap | undefined,
): number | null {
  if (stale === undefined || full <= stale || (gap && gap.pValue >= CHANCE)) return null;
  return (corrected - stale) / (full - stale);
}

export function gaps(
  { qrels }: RetrievalTask,
  full: Run,
  stale: Run,
  { topK, seed }: { topK: readonly number[]; seed: number },
): Record<string, Gap> {
  const names = topK.map((cutoff) => `recall@${cutoff}`);
  return Object.fromEntries(
    names.map((name): [string, Gap] => {
      if (qrels.size < 2) {
        const value = (run: Run) => evaluate(qrels, run, { metrics: [name] }).metrics[name]!;
        return [name, { difference: value(full) - value(stale), pValue: 1 }];
      }
      const { difference, randomisation } = compareRuns(qrels, full, stale, name, { seed });
      return [name, { difference, pValue: randomisation.pValue }];
    }),
  );
}

export const mapValues = <T>(values: Quality, map: (value: number, name: string) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value, name)]));
