import type { RankedRows } from '../search/fusion.ts';
import type { SearchResult } from '../search/search-index.ts';
import { RowHeap } from '../text/row-heap.ts';
import { UsageError } from '../util/errors.ts';
import type { ApproximateOptions, EmbeddingTable } from './embedding-table.ts';
import { inGroups } from './in-groups.ts';
import type { PassageSet } from './passage-set.ts';
import type { StoreView } from './store-view.ts';
import type { StoredIndex } from './stored-index.ts';

/** Settings of a search by vectors. */
export interface DenseSearch {
  /** f32[B, D]: queries. */
  readonly queries: Float32Array;
  /** Passages for each query. */
  readonly k: number;
  /** Condition on the passages, as SQL; undefined for none. */
  readonly condition: string | undefined;
  /** Settings of an approximate search; undefined to search exactly. */
  readonly approximate: ApproximateOptions | undefined;
}

/** Approximate searches that run at once. */
const AT_ONCE = 8;
/** Number of passages that fulfil a condition up to which all their vectors are read and scored. */
const FEW_ROWS = 4096;
/** Passages asked for beyond the expected number, where only a share of them fulfils a condition. */
const MARGIN = 1.5;
/** Most passages that the index is asked for. Beyond, an exact search takes less time. */
const MOST_DEPTH = 2048;

/**
 * Searches by vectors in a space of a store.
 *
 * @throws UsageError for an approximate search of a space without index
 */
export async function searchDense(
  view: StoreView,
  space: string,
  { queries, k, condition, approximate }: DenseSearch,
): Promise<RankedRows[]> {
  const matching = condition === undefined ? undefined : await view.passagesOf(condition);
  const isMatch = (pid: number) => matching === undefined || matching.has(pid);
  const exact = async (wanted = queries): Promise<RankedRows[]> => {
    const index = await view.index(space);
    const found = matching ? await index.searchAmong(wanted, k, isMatch) : await index.search(wanted, k);
    return splitRows(found, wanted.length / index.dimension);
  };
  if (!approximate || !(await hasApproximate(view, space))) return await exact();
  if (matching && matching.size <= FEW_ROWS) return await exact();

  const table = view.snapshot.embeddings(space);
  const D = table.dimension;
  const starts = Array.from({ length: queries.length / D }, (_, i) => i * D);
  // Passages that the model of the space has not embedded yet are searched exactly, by their moved vectors.
  const { hasMoved } = await view.approximateKinds(space);
  const among = async () =>
    (await view.index(space)).searchAmong(queries, k, (pid, isMoved) => isMoved && isMatch(pid));
  const moved = hasMoved ? splitRows(await among(), starts.length) : undefined;
  // Vectors that are in memory anyway need not be read again to score the candidates.
  const scoresOf = view.hasIndex ? (await view.index(space)).scores : undefined;
  const search = { approximate, matching, total: await table.count(), scoresOf };
  return await inGroups(starts, AT_ONCE, async (start, i) => {
    const query = queries.subarray(start, start + D);
    const own = await searchTable(table, query, k, search);
    if (!own) return (await exact(query))[0]!;
    return moved ? best([own, moved[i]!], k) : own;
  });
}

/**
 * Tells whether a space has an index for approximate search. During a migration, the new space has none yet: its searches are exact
 * if the former space has one, so that clients need not change.
 */
async function hasApproximate(view: StoreView, space: string): Promise<boolean> {
  const { own, moved } = await view.approximateKinds(space);
  if (own === undefined && moved === undefined) {
    throw new UsageError('the store has no index for approximate search', {
      help: 'build one with undrift index --approximate ivf, or search exactly',
    });
  }
  return own !== undefined;
}

/** Passages that a search in one table is for. */
interface TableSearch {
  readonly approximate: ApproximateOptions;
  readonly matching: PassageSet | undefined;
  /** Number of rows of the table. */
  readonly total: number;
  /** Computes scores from vectors in memory; undefined to read the vectors. */
  readonly scoresOf: StoredIndex['scores'];
}

/**
 * Searches one table by its index. Where a condition is given, more is asked for until enough passages fulfil it.
 *
 * @returns  k passages, or all of a table that has fewer; undefined if the index does not give as many
 */
async function searchTable(
  table: EmbeddingTable,
  query: Float32Array,
  k: number,
  { approximate, matching, total, scoresOf }: TableSearch,
): Promise<RankedRows | undefined> {
  const share = matching ? Math.min(1, matching.size / Math.max(1, total)) : 1;
  let depth = matching ? Math.ceil((MARGIN * k) / share) : k;
  for (; depth <= Math.max(k, MOST_DEPTH); depth *= 4) {
    const { pids, scores } = await table.searchApproximately(query, depth, approximate, scoresOf);
    const rows: number[] = [];
    for (const [i, pid] of pids.entries()) if (!matching || matching.has(pid)) rows.push(i);
    if (rows.length >= Math.min(k, matching ? k : total)) {
      const kept = rows.slice(0, k);
      return { rows: kept.map((i) => pids[i]!), scores: kept.map((i) => scores[i]!) };
    }
    // The partitions that were looked into have no more.
    if (pids.length < depth) return undefined;
  }
  return undefined;
}

/** Merges rankings of different rows by their scores. */
function best(rankings: readonly RankedRows[], k: number): RankedRows {
  const heap = new RowHeap(k);
  for (const { rows, scores } of rankings) {
    for (let i = 0; i < rows.length; i++) heap.offer(rows[i]!, scores[i]!);
  }
  return heap.take();
}

/** Splits the result of a search for several queries. */
export const splitRows = ({ rows, scores, k }: SearchResult, queries: number): RankedRows[] =>
  Array.from({ length: queries }, (_, i) => ({
    rows: rows.subarray(i * k, (i + 1) * k),
    scores: scores.subarray(i * k, (i + 1) * k),
  }));
