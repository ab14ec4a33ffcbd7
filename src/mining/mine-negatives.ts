import type { RowLists } from '../data/examples.ts';
import type { DuplicateMap } from '../data/text-identity.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOptions, type GivenOptions, type OptionValues, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { filterCandidates, type QueryFacts, type Reason, rankRange } from './candidate-filter.ts';
import type { CandidateSource } from './candidate-source.ts';
import { MINING_OPTIONS } from './mining-options.ts';
import { MiningStatistics } from './mining-statistics.ts';
import type { NegativeCheck } from './negative-check.ts';

/** Queries to mine negatives for, numbered as in the source. */
export interface MiningTask {
  /** Rows of the known positives of a query. */
  readonly positives: (query: number) => ArrayLike<number>;
  /** Row of the document that is the query itself, if queries are documents. Default none. */
  readonly ownDocument?: ((query: number) => number | undefined) | undefined;
  /** Documents that have the text of a query. Default none. */
  readonly sameText?: ((query: number) => ArrayLike<number>) | undefined;
  /**
   * All documents that are never negatives of a query, where more than the source can tell. Default: its positives, those of
   * queries that are the same to the source, and what is the same to the source as one of these.
   */
  readonly rightAnswers?: ((query: number) => ArrayLike<number>) | undefined;
  /** Documents of the same text, where more than the source can tell. Default none. */
  readonly copies?: DuplicateMap | undefined;
  /** Rows of documents without text. Default none. */
  readonly empty?: ReadonlySet<number> | undefined;
}

/** Settings of {@link mineNegatives}. */
export interface MiningOptions extends Readonly<GivenOptions<typeof MINING_OPTIONS>> {
  /**
   * Check of the candidates in the order in which they are chosen, until there are enough. Default none.
   */
  readonly check?: NegativeCheck | undefined;
  /** Statistics to which the counts of removed documents and short queries are added. */
  readonly statistics?: MiningStatistics | undefined;
  /** Called with progress in queries, in stage `mine`. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Negatives of the queries `start` … `start` + B − 1, best first for each query. */
export interface MinedBlock extends RowLists {
  /** Number of the first query. */
  readonly start: number;
}

/** Maximum number of queries, and of results of all of them together, in memory at once. */
const BLOCK_QUERIES = 512;
const BLOCK_RESULTS = 2 ** 22;

/** Options that are no values. */
const CALLER_OPTIONS = [
  'check',
  'statistics',
  'onProgress',
] as const satisfies readonly (keyof MiningOptions)[];

/**
 * Mines hard negatives: for each query, documents that a ranker puts high although they are not right
 * answers, within the given rules.
 *
 * Known positives of a query, positives of queries with the same text, documents with the text of one of
 * these, and documents with the text of the query are never mined. Memory holds the source and the rankings of one block of queries.
 *
 * @yields blocks of queries, in order
 * @throws UsageError for invalid options
 */
export async function* mineNegatives(
  source: CandidateSource,
  task: MiningTask,
  options: MiningOptions = {},
): AsyncGenerator<MinedBlock> {
  const { to, ...values } = checkMiningOptions(options);
  const { onProgress, check, statistics = new MiningStatistics(values.negatives) } = options;
  const { empty = new Set() } = task;
  const total = source.queries;
  const blockQueries = Math.max(1, Math.min(BLOCK_QUERIES, Math.floor(BLOCK_RESULTS / to)));
  for (let start = 0; start < total; start += blockQueries) {
    const end = Math.min(total, start + blockQueries);
    const excluded = Array.from({ length: end - start }, (_, i) => exclusions(source, task, start + i));
    // Excluded documents have no rank, so as many more are fetched.
    const depth = (query: number) => to + excluded[query - start]!.size + empty.size;
    const ranking = await source.search(start, end, depth, ({ done }) =>
      onProgress?.({ stage: 'mine', done: start + done, total, unit: 'queries' }),
    );
    const sameDocuments = copiesOf(source, task);
    const lists: number[][] = [];
    for (const [i, reasons] of excluded.entries()) {
      const { rows, scores } = ranking(start + i);
      const facts: QueryFacts = {
        positives: task.positives(start + i),
        reasonOf: (row) => reasons.get(row) ?? (empty.has(row) ? 'empty' : undefined),
        sameDocuments,
      };
      const kept = filterCandidates({ rows, scores }, facts, values, statistics.removed);
      const order = choiceOrder(kept, start + i, values);
      const { allowed, refused } = await firstAllowed(order, wantedOf(values), async (positions) =>
        check
          ? await check.allows(
              start + i,
              facts.positives,
              positions.map((position) => rows[position]!),
            )
          : positions.map(() => true),
      );
      statistics.removed.check += refused;
      statistics.query({ kept: kept.length - refused, chosen: allowed.length });
      lists.push(allowed.sort((a, b) => a - b).map((position) => rows[position]!));
      if (check) onProgress?.({ stage: 'check', done: start + i + 1, total, unit: 'queries' });
    }
    yield { start, ...packed(lists) };
  }
}

/** Values of the options, and the range of ranks: from `from` to before `to`. */
interface MiningRules extends OptionValues<typeof MINING_OPTIONS> {
  readonly from: number;
  readonly to: number;
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws UsageError for unknown options, and for numbers that are out of range or contradict each other
 */
export function checkMiningOptions(options: MiningOptions): MiningRules {
  checkOptions(MINING_OPTIONS, options, CALLER_OPTIONS);
  const values = optionValues(MINING_OPTIONS, { ...options });
  const { negatives, maxScore, minScore } = values;
  if (maxScore !== undefined && minScore !== undefined && maxScore < minScore) {
    throw new UsageError(`no score is below ${maxScore} and above ${minScore}`, {
      help: `give a larger ${option('maxScore')}, or a smaller ${option('minScore')}`,
    });
  }
  const { from, to } = rankRange(values);
  if (to - from < negatives) {
    throw new UsageError(`ranks ${from} … ${to - 1} hold ${to - from} documents, not ${negatives}`, {
      help: `end the range at rank ${from + negatives} or later`,
    });
  }
  return { ...values, from, to };
}

/**
 * Collects the documents that cannot be negatives of a query, whatever their score, with the first reason
 * that applies.
 */
function exclusions(source: CandidateSource, task: MiningTask, query: number): Map<number, Reason> {
  const excluded = new Map<number, Reason>();
  const exclude = (row: number, reason: Reason) => {
    if (!excluded.has(row)) excluded.set(row, reason);
  };
  for (const same of [query, ...Array.from(source.sameQueries(query))]) {
    for (const row of Array.from(task.positives(same))) exclude(row, 'positive');
  }
  const sameDocuments = copiesOf(source, task);
  const excludeCopies = (rows: Iterable<number>, reason: Reason) => {
    for (const row of [...rows]) for (const copy of Array.from(sameDocuments(row))) exclude(copy, reason);
  };
  excludeCopies(excluded.keys(), 'duplicate');
  const own = task.ownDocument?.(query);
  const itself = [...(own === undefined ? [] : [own]), ...Array.from(task.sameText?.(query) ?? [])];
  for (const row of itself) exclude(row, 'sameId');
  excludeCopies(itself, 'sameId');
  const others = Array.from(task.rightAnswers?.(query) ?? []);
  for (const row of others) exclude(row, 'duplicate');
  excludeCopies(others, 'duplicate');
  return excluded;
}

/** Lists the documents that are the same as a document to the source, or by their texts. */
function copiesOf({ sameDocuments }: CandidateSource, { copies }: MiningTask): DuplicateMap {
  if (!copies) return sameDocuments;
  return (document) => {
    const [found, others] = [sameDocuments(document), copies(document)];
    if (others.length === 0) return found;
    return found.length === 0 ? others : [...Array.from(found), ...Array.from(others)];
  };
}

/** Orders positions as the strategy chooses them. */
function choiceOrder(
  kept: number[],
  query: number,
  { strategy, negatives, seed }: Pick<MiningRules, 'strategy' | 'negatives' | 'seed'>,
): number[] {
  if (strategy !== 'random' || kept.length <= negatives) return kept;
  return Array.from(permutation(rngKey(seed, query, 'mine'), kept.length), (i) => kept[i]!);
}

/** Number of positions to choose. */
const wantedOf = ({ strategy, negatives }: Pick<MiningRules, 'strategy' | 'negatives'>): number =>
  strategy === 'all' ? Number.POSITIVE_INFINITY : negatives;

/**
 * Takes positions in their order until enough of them are allowed.
 *
 * @returns  the positions that are allowed, and the number of those that were refused
 */
async function firstAllowed(
  order: readonly number[],
  wanted: number,
  allows: (positions: readonly number[]) => Promise<readonly boolean[]>,
): Promise<{ allowed: number[]; refused: number }> {
  const allowed: number[] = [];
  let refused = 0;
  for (let at = 0; at < order.length && allowed.length < wanted; ) {
    const next = order.slice(at, at + wanted - allowed.length);
    const answers = await allows(next);
    for (const [i, position] of next.entries()) {
      if (answers[i]) allowed.push(position);
      else refused += 1;
    }
    at += next.length;
  }
  return { allowed, refused };
}

function packed(lists: readonly (readonly number[])[]): RowLists {
  const offsets = new Uint32Array(lists.length + 1);
  for (const [i, list] of lists.entries()) offsets[i + 1] = offsets[i]! + list.length;
  return { offsets, rows: Int32Array.from(lists.flat()) };
}
