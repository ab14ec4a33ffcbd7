import type { RowLists } from '../data/examples.ts';
import { UsageError } from '../util/errors.ts';
import { permutation, rngKey } from '../util/rng.ts';
import {
  type CandidateRules,
  filterCandidates,
  type QueryFacts,
  type Reason,
  rankRange,
} from './candidate-filter.ts';
import type { CandidateSource } from './candidate-source.ts';
import { MiningStatistics } from './mining-statistics.ts';

/** The queries to mine for, numbered as in the source. */
export interface MiningTask {
  /** Known positives of a query. */
  readonly positives: (query: number) => ArrayLike<number>;
  /** The document that a query itself is, where queries are documents. */
  readonly ownDocument?: ((query: number) => number | undefined) | undefined;
  /** Documents without a text to learn from. */
  readonly empty?: ReadonlySet<number> | undefined;
}

export interface MiningOptions extends CandidateRules {
  /** Negatives wanted for each query. */
  readonly negatives: number;
  /**
   * Which of those that the rules leave: the `top` ones (default), as many at `random`, each set of them equally likely, or
   * `all`, of which a query that has at least `negatives` does not count as short.
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

/** Queries, and results of all of them, that are in memory at once. */
const BLOCK_QUERIES = 512;
const BLOCK_RESULTS = 2 ** 22;

/**
 * Hard negatives: for each query the documents that a ranker puts high although they are no right answers, as far as the
 * rules let them pass. Never mined are the known positives of a query, those of queries of the same text, and documents that
 * are the same as one of these.
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
  const { to } = checkMiningOptions(options);
  const { empty = new Set() } = task;
  const total = source.queries;
  const blockQueries = Math.max(1, Math.min(BLOCK_QUERIES, Math.floor(BLOCK_RESULTS / to)));
  for (let start = 0; start < total; start += blockQueries) {
    const end = Math.min(total, start + blockQueries);
    const excluded = Array.from({ length: end - start }, (_, i) => exclusions(source, task, start + i));
    // As many more as may turn out to have no rank.
    const depth = (query: number) => to + excluded[query - start]!.size + empty.size;
    const ranking = await source.search(start, end, depth, (done) => onProgress?.(start + done, total));
    const lists = excluded.map((reasons, i) => {
      const { rows, scores } = ranking(start + i);
      const facts: QueryFacts = {
        positives: task.positives(start + i),
        reasonOf: (row) => reasons.get(row) ?? (empty.has(row) ? 'empty' : undefined),
        sameDocuments: source.sameDocuments,
      };
      const kept = filterCandidates({ rows, scores }, facts, options, statistics.removed);
      const chosen = choose(kept, start + i, options);
      statistics.query({ kept: kept.length, chosen: chosen.length });
      return chosen.map((position) => rows[position]!);
    });
    yield { start, ...packed(lists) };
  }
}

/** The ranks that are looked at. @throws UsageError for numbers that make no sense */
export function checkMiningOptions(options: MiningOptions): { from: number; to: number } {
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

/** Every document that is no negative of a query, whatever its score. The first reason stands. */
function exclusions(source: CandidateSource, task: MiningTask, query: number): Map<number, Reason> {
  const excluded = new Map<number, Reason>();
  const exclude = (row: number, reason: Reason) => {
    if (!excluded.has(row)) excluded.set(row, reason);
  };
  for (const same of [query, ...Array.from(source.sameQueries(query))]) {
    for (const row of Array.from(task.positives(same))) exclude(row, 'positive');
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
