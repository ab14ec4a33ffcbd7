import type { RowLists } from '../data/examples.ts';
import { UsageError } from '../util/errors.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { type CandidateRules, filterCandidates, type Reason, rankRange } from './candidate-filter.ts';
import type { CandidateSource } from './candidate-source.ts';
import { MiningStatistics } from './mining-statistics.ts';

/** The queries to mine for, numbered as in the source. */
export interface MiningTask {
  /** Known positives of each query. */
  readonly positives: RowLists;
  /** The document that a query itself is, where queries are documents. */
  readonly ownDocument?: ((query: number) => number | undefined) | undefined;
  /** Documents without a text to learn from. */
  readonly empty?: ReadonlySet<number> | undefined;
}

export interface MiningOptions extends CandidateRules {
  /** Negatives wanted for each query. */
  readonly negatives: number;
  /**
   * Which of those that the rules leave: the `top` ones (default), as many at `random`, each set of them equally likely, or `all`, of which
   * a query that has at least `negatives` does not count as short.
   */
  readonly strategy?: 'top' | 'random' | 'all' | undefined;
  /** Of the random choice, which depends on the number of the query and on nothing else (0). */
  readonly seed?: number | undefined;
  /** What was removed, and who came short, is added to this. */
  readonly statistics?: MiningStatistics | undefined;
  /** Queries done. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Negatives of the queries `start` … `start` + B − 1, best first for each. */
export interface MinedBlock extends RowLists {
  readonly start: number;
}

/** Queries whose results are in memory at once. */
const BLOCK_QUERIES = 512;

/**
 * Hard negatives: for each query the documents that a ranker puts high although they are no right answers, as far as the rules let
 * them pass. Never mined are the known positives of a query, those of queries of the same text, and documents that are
 * the same as one of these.
 *
 * Memory: what the source holds, and the rankings of one block of queries.
 *
 * @yields block by block, in the order of the queries
 * @throws UsageError for numbers that make no sense
 */
export async function* mineNegatives(
  source: CandidateSource,
  task: MiningTask,
  options: MiningOptions,
): AsyncGenerator<MinedBlock> {
  const { onProgress, negatives, statistics = new MiningStatistics(negatives) } = options;
  const { to } = checkedRange(options);
  const total = source.queries;
  if (task.positives.offsets.length !== total + 1) {
    throw new UsageError(
      `positives of ${task.positives.offsets.length - 1} queries, but ${total} queries are to be ranked`,
    );
  }
  for (let start = 0; start < total; start += BLOCK_QUERIES) {
    const end = Math.min(total, start + BLOCK_QUERIES);
    const excluded = Array.from({ length: end - start }, (_, i) => exclusions(source, task, start + i));
    // As many more as may turn out to have no rank.
    const depth = (query: number) => to + excluded[query - start]!.size + (task.empty?.size ?? 0);
    const ranking = await source.search(start, end, depth, (done) => onProgress?.(start + done, total));
    const lists: number[][] = [];
    for (let query = start; query < end; query++) {
      lists.push(minedOf(query, ranking(query), excluded[query - start]!));
    }
    yield { start, ...packed(lists) };
  }

  function minedOf(
    query: number,
    ranking: { rows: ArrayLike<number>; scores: ArrayLike<number> },
    excluded: Map<number, Reason>,
  ): number[] {
    const { empty } = task;
    if (empty && empty.size > 0) {
      for (let i = 0; i < ranking.rows.length; i++) {
        const row = ranking.rows[i]!;
        if (empty.has(row) && !excluded.has(row)) excluded.set(row, 'empty');
      }
    }
    const facts = { positives: positivesOf(task, query), excluded, duplicates: source.sameDocuments };
    const kept = filterCandidates(ranking, facts, options, statistics.removed);
    const chosen = choose(kept, query, options);
    statistics.query({ kept: kept.length, chosen: chosen.length });
    return chosen.map((i) => ranking.rows[i]!);
  }
}

function checkedRange(options: MiningOptions): { from: number; to: number } {
  const { negatives, maxScore, minScore } = options;
  if (!Number.isSafeInteger(negatives) || negatives < 1) {
    throw new UsageError(`the number of negatives must be a whole number ≥ 1, got ${negatives}`);
  }
  if (maxScore !== undefined && minScore !== undefined && maxScore < minScore) {
    throw new UsageError(`no score is below ${maxScore} and above ${minScore}`);
  }
  const { from, to } = rankRange(options);
  if (to - from < negatives) {
    throw new UsageError(`ranks ${from} … ${to - 1} hold ${to - from} documents, not ${negatives}`, {
      help: `end the range at rank ${from + negatives} or later`,
    });
  }
  return { from, to };
}

const positivesOf = ({ positives: { rows, offsets } }: MiningTask, query: number): Int32Array =>
  rows.subarray(offsets[query], offsets[query + 1]);

/** Every document that is no negative of a query, whatever its score. The first reason stands. */
function exclusions(source: CandidateSource, task: MiningTask, query: number): Map<number, Reason> {
  const excluded = new Map<number, Reason>();
  const exclude = (row: number, reason: Reason) => {
    if (!excluded.has(row)) excluded.set(row, reason);
  };
  for (const row of positivesOf(task, query)) exclude(row, 'positive');
  for (const twin of Array.from(source.sameQueries(query))) {
    for (const row of positivesOf(task, twin)) exclude(row, 'positive');
  }
  for (const row of [...excluded.keys()]) {
    for (const copy of Array.from(source.sameDocuments(row))) exclude(copy, 'duplicate');
  }
  const own = task.ownDocument?.(query);
  if (own !== undefined) {
    exclude(own, 'sameId');
    for (const copy of Array.from(source.sameDocuments(own))) exclude(copy, 'sameId');
  }
  return excluded;
}

/** Of some positions, in their order, those that are taken. */
function choose(
  kept: number[],
  query: number,
  { strategy = 'top', negatives, seed = 0 }: MiningOptions,
): number[] {
  if (strategy === 'all' || kept.length <= negatives) return kept;
  if (strategy === 'top') return kept.slice(0, negatives);
  const order = permutation(rngKey(seed, query, 'mine'), kept.length).subarray(0, negatives);
  return Array.from(order.sort(), (i) => kept[i]!);
}

function packed(lists: readonly (readonly number[])[]): RowLists {
  const offsets = new Uint32Array(lists.length + 1);
  for (const [i, list] of lists.entries()) offsets[i + 1] = offsets[i]! + list.length;
  return { offsets, rows: Int32Array.from(lists.flat()) };
}
