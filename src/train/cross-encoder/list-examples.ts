import type { RowLists, TrainingExamples } from '../../data/examples.ts';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import { TextIdentity } from '../../data/text-identity.ts';
import type { CrossEncoderLoss } from '../../methods/contract/loss-names.ts';
import type { TrainingBatch } from '../../methods/contract/method.ts';
import { lexicalCandidates } from '../../mining/candidate-source.ts';
import { mineNegatives } from '../../mining/mine-negatives.ts';
import { minableQueries } from '../../mining/mined-pairs.ts';
import { BM25_OPTIONS } from '../../text/bm25-options.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { optionValues } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';
import { randomInts, rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import { withScores } from '../examples/teacher-scores.ts';
import type { BatchSource } from '../loop.ts';
import type { NegativeSource } from './options.ts';
import type { CrossEncoderSettings } from './settings.ts';

/** Losses that follow the scores of the data. */
const SCORED_LOSSES: readonly CrossEncoderLoss[] = ['mse', 'margin-mse', 'kl', 'marginal-likelihood'];

/** Examples of a run, with what follows from them. */
export interface ListExamples {
  readonly examples: TrainingExamples;
  readonly loss: CrossEncoderLoss;
  /** Source of the negatives; null for scored pairs, which have none. */
  readonly negativesFrom: NegativeSource | null;
  /** Negatives of each query. */
  readonly negatives: number;
  /** Whether the loss follows the scores of the data. */
  readonly labelled: boolean;
  /** Note with the number of examples that were left out; absent where none were. */
  readonly note?: string | undefined;
}

/**
 * Picks the examples of a run, and decides on loss and source of negatives where the settings do not.
 *
 * @param scored  whether the data are pairs with a score each
 * @throws UsageError where loss, negatives and data do not go together
 * @throws DataError for data that lacks what was asked for
 */
export async function listExamples(
  data: RetrievalData,
  settings: CrossEncoderSettings,
  { scored, onProgress }: { scored: boolean; onProgress?: ((progress: Progress) => void) | undefined },
): Promise<ListExamples> {
  const given = data.examples('train');
  const { loss = null, negatives } = settings;
  if (scored) return scoredPairs(given, settings);
  const chosen = loss ?? 'bce';
  if (SCORED_LOSSES.includes(chosen)) {
    if (settings.negativesFrom !== null && settings.negativesFrom !== 'data') {
      throw new UsageError(
        `${option('loss', chosen)} follows the scores of the data, which other negatives lack`,
        {
          help: `leave out ${option('negativesFrom')}`,
        },
      );
    }
    requireNegatives(negatives, chosen);
    const usable = withScores(given, settings.data);
    return { ...usable, loss: chosen, negativesFrom: 'data', negatives, labelled: true };
  }
  const negativesFrom = settings.negativesFrom ?? (given.negatives ? 'data' : 'bm25');
  requireNegatives(negatives, chosen);
  if (negativesFrom === 'data' && !given.negatives) {
    throw new DataError('the data has no negatives', {
      file: settings.data,
      help: `${option('negativesFrom', 'bm25')} takes those that BM25 ranks high; undrift mine writes them into a file`,
    });
  }
  const { scores: _, ...positives } = given.positives;
  const negativesOf = given.negatives && withoutScores(given.negatives);
  const plain = { queryRows: given.queryRows, positives, ...(negativesOf && { negatives: negativesOf }) };
  const common = { loss: chosen, negativesFrom, negatives, labelled: false };
  if (negativesFrom === 'bm25')
    return { ...common, examples: await minedExamples(data, settings, onProgress) };
  return { ...common, examples: plain };
}

const withoutScores = ({ offsets, rows }: RowLists): RowLists => ({ offsets, rows });

function requireNegatives(negatives: number, loss: CrossEncoderLoss): void {
  if (negatives > 0) return;
  throw new UsageError(`${option('loss', loss)} needs negatives: without any, every pair is right`, {
    help: `use ${option('negatives', 1)} or more`,
  });
}

function scoredPairs(
  examples: TrainingExamples,
  { loss, negativesFrom, data }: CrossEncoderSettings,
): ListExamples {
  const chosen = loss ?? 'mse';
  if (chosen !== 'mse' && chosen !== 'bce') {
    throw new UsageError(
      `${option('loss', chosen)} compares documents of one query, and the data are pairs with a score each`,
      {
        help: `use ${option('loss', 'mse')}, or ${option('loss', 'bce')} for scores from 0 to 1`,
      },
    );
  }
  if (negativesFrom !== null) {
    throw new UsageError(`${option('negativesFrom')} has no meaning for pairs with a score each`, {
      help: 'give queries with their documents instead',
    });
  }
  const scores = examples.positives.scores ?? [];
  if (chosen === 'bce' && !scores.every((score) => score >= 0 && score <= 1)) {
    throw new DataError('bce needs scores from 0 to 1', {
      file: data,
      help: `divide them by the largest, or use ${option('loss', 'mse')}`,
    });
  }
  return { examples, loss: chosen, negativesFrom: null, negatives: 0, labelled: true };
}

/** Takes as the negatives of each query the documents that BM25 ranks from `rankFrom` to before `rankTo`, right answers left out. */
async function minedExamples(
  data: RetrievalData,
  settings: CrossEncoderSettings,
  onProgress: ((progress: Progress) => void) | undefined,
): Promise<TrainingExamples> {
  const { rankFrom, rankTo } = settings as unknown as { rankFrom: number; rankTo: number };
  const queries = minableQueries(data, 'train');
  const source = lexicalCandidates('bm25', queries.texts, {
    ...optionValues(BM25_OPTIONS, settings),
    onProgress,
  });
  const lists: number[][] = [];
  for await (const { offsets, rows } of mineNegatives(source, queries, {
    ...{ rankFrom, rankTo, negatives: 1, strategy: 'all', onProgress },
  })) {
    for (let i = 0; i + 1 < offsets.length; i++) lists.push([...rows.subarray(offsets[i], offsets[i + 1])]);
  }
  await source.dispose();
  const positives = lists.map((_, query) => [...queries.positives(query)]);
  const packed = packedLists(positives);
  return {
    queryRows: queries.queryRows,
    positives: { ...packed, grades: new Float32Array(packed.rows.length).fill(1) },
    negatives: packedLists(lists),
  };
}

function packedLists(lists: readonly (readonly number[])[]): RowLists {
  const offsets = new Uint32Array(lists.length + 1);
  for (const [i, list] of lists.entries()) offsets[i + 1] = offsets[i]! + list.length;
  return { offsets, rows: Int32Array.from(lists.flat()) };
}

/** Draws of a random document for one negative, until one is no right answer. */
const TRIES = 20;

/**
 * Batches whose negatives are any documents but right answers, drawn uniformly. A batch depends only on seed and number, like those
 * of `source`.
 */
export function randomNegatives(
  source: BatchSource<TrainingBatch>,
  data: RetrievalData,
  { negatives: k, seed }: { negatives: number; seed: number },
): BatchSource<TrainingBatch> {
  const identity = new TextIdentity({
    documents: data.corpus.size,
    document: (row) => data.corpus.text(row),
    queries: data.queries.size,
    query: (row) => data.queries.text(row),
  });
  const rightAnswers = identity.rightAnswers(data.positiveSets('train'));
  return {
    perEpoch: source.perEpoch,
    batch(number) {
      const batch = source.batch(number);
      const ownNegatives = new Int32Array(batch.queryRows.length * k).fill(NONE);
      const draws = new Uint32Array(k * TRIES);
      for (const [b, query] of batch.queryRows.entries()) {
        const right = new Set(rightAnswers(query));
        randomInts(rngKey(seed, number, `random/${query}`), data.corpus.size, draws);
        const drawn = new Set<number>();
        for (const row of draws) {
          if (drawn.size === k) break;
          if (!right.has(row)) drawn.add(row);
        }
        ownNegatives.set([...drawn], b * k);
      }
      return { ...batch, ownNegatives };
    },
  };
}
