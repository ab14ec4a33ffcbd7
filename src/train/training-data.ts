import type { RowLists, TrainingExamples } from '../data/examples.ts';
import { HELD_OUT, heldOutRetrieval, heldOutRows, ownQueries } from '../data/held-out.ts';
import { loadData } from '../data/load.ts';
import type { LoadOptions } from '../data/load-options.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { loadScoredPairs } from '../data/scored-pairs.ts';
import { loadTexts } from '../data/texts.ts';
import type { Method } from '../methods/contract/method.ts';
import { LEAST_DOCUMENT_TOKENS } from '../text/crops.ts';
import type { TokenStore } from '../text/token-store.ts';
import { DataError } from '../util/errors.ts';

/** What a run reads. */
export interface TrainingData {
  /** What is trained on. */
  readonly data: RetrievalData;
  /** What has the splits that the encoder may be measured on while it trains. */
  readonly evaluation: RetrievalData;
}

/**
 * Reads what a method trains on. For methods on texts every document is its own query, but for a few documents that are held out to
 * measure the encoder on, where `evalSplit` asks for that.
 */
export async function loadTrainingData(
  { data: path, evalSplit }: { data: string; evalSplit: string },
  { trainsOn = 'pairs' }: Pick<Method, 'trainsOn'>,
  options: LoadOptions,
): Promise<TrainingData> {
  if (trainsOn !== 'texts') {
    const load = trainsOn === 'scored-pairs' ? loadScoredPairs : loadData;
    const data = await load(path, options);
    return { data, evaluation: data };
  }
  const texts = await loadTexts(path, options);
  const rows = evalSplit === HELD_OUT ? heldOutRows(texts.corpus) : new Int32Array(0);
  const heldOut = heldOutRetrieval(texts, rows);
  const evaluation = evalSplit === HELD_OUT ? heldOut : (texts.data ?? heldOut);
  return { data: ownQueries(texts, rows), evaluation };
}

/** What can be trained on of a split, and what had to be left out. */
export interface UsableExamples {
  readonly examples: TrainingExamples;
  /** What was left out and why; absent where nothing was. */
  readonly note?: string;
}

/**
 * The training examples that a method can use: for crops those that are long enough, for distillation those with scores; pairs for
 * `cosine-similarity` have scores that a cosine can be.
 *
 * @param documents  their tokens
 * @throws DataError where none is left
 */
export function usableExamples(
  { trainsOn, distils = false }: Pick<Method, 'trainsOn' | 'distils'>,
  examples: TrainingExamples,
  of: { documents: TokenStore; file: string; loss: string | null },
): UsableExamples {
  if (trainsOn === 'texts') return withoutShortTexts(examples, of.documents, of.file);
  if (distils) return withScores(examples, of.file);
  if (of.loss === 'cosine-similarity') checkCosines(examples, of.file);
  return { examples };
}

function withoutShortTexts(examples: TrainingExamples, store: TokenStore, file: string): UsableExamples {
  const rows = examples.queryRows.filter((row) => store.length(row) >= LEAST_DOCUMENT_TOKENS);
  const left = examples.queryRows.length - rows.length;
  if (left === 0) return { examples };
  if (rows.length === 0) {
    throw new DataError(`no document has the ${LEAST_DOCUMENT_TOKENS} tokens that two crops need`, {
      file,
      help: 'is it one document a line? Single words or titles are not enough',
    });
  }
  const offsets = Uint32Array.from({ length: rows.length + 1 }, (_, i) => i);
  const grades = new Float32Array(rows.length).fill(1);
  return {
    examples: { queryRows: rows, positives: { offsets, rows, grades } },
    note: `left out ${left.toLocaleString('en-US')} documents that are too short to crop`,
  };
}

/** Positives and negatives that a teacher has scored, of queries that have both. */
function withScores(examples: TrainingExamples, file: string): UsableExamples {
  const { queryRows, positives, negatives } = examples;
  const help =
    'give each record a teacher\'s scores, positives first: {"query": …, "positive": …, "negative": […], "scores": […]}; ' +
    'undrift mine finds negatives';
  if (!negatives) throw new DataError('there are no negatives to distil from', { file, help });
  if (!positives.scores || !negatives.scores)
    throw new DataError("there are no teacher's scores to distil from", { file, help });
  const scored = (list: RowLists, i: number) =>
    list.scores!.subarray(list.offsets[i], list.offsets[i + 1]).some((score) => !Number.isNaN(score));
  const all = Array.from(queryRows, (_, i) => i);
  const picked = all.filter((i) => scored(positives, i) && scored(negatives, i));
  if (picked.length === 0) {
    throw new DataError('no query has a positive and a negative with scores', { file, help });
  }
  const positive = pickScored(positives, picked);
  const grades = Float32Array.from(positive.places, (place) => positives.grades[place]!);
  const left = queryRows.length - picked.length;
  return {
    examples: {
      queryRows: Int32Array.from(picked, (i) => queryRows[i]!),
      positives: { ...positive.lists, grades },
      negatives: pickScored(negatives, picked).lists,
    },
    ...(left > 0 && {
      note: `left out ${left.toLocaleString('en-US')} queries without scores of a positive and a negative`,
    }),
  };
}

/** What has a score, of some of the lists; and where it stood. */
function pickScored(list: RowLists, picked: readonly number[]): { lists: RowLists; places: number[] } {
  const places: number[] = [];
  const offsets = new Uint32Array(picked.length + 1);
  for (const [at, i] of picked.entries()) {
    for (let place = list.offsets[i]!; place < list.offsets[i + 1]!; place++)
      if (!Number.isNaN(list.scores![place]!)) places.push(place);
    offsets[at + 1] = places.length;
  }
  const rows = Int32Array.from(places, (place) => list.rows[place]!);
  return {
    lists: { offsets, rows, scores: Float32Array.from(places, (place) => list.scores![place]!) },
    places,
  };
}

/** @throws DataError for scores that no cosine can be */
function checkCosines({ positives }: TrainingExamples, file: string): void {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const score of positives.scores ?? []) {
    least = Math.min(least, score);
    most = Math.max(most, score);
  }
  if (least >= -1 && most <= 1) return;
  throw new DataError(`cosine-similarity needs scores from −1 to 1; here they are from ${least} to ${most}`, {
    file,
    help: 'divide them by the largest, or use --loss cosent, which heeds their order alone',
  });
}
