import type { TrainingExamples } from '../data/examples.ts';
import { HELD_OUT, heldOutRetrieval, heldOutRows, ownQueries } from '../data/held-out.ts';
import { loadData } from '../data/load.ts';
import type { LoadOptions } from '../data/load-options.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { loadTexts } from '../data/texts.ts';
import type { Method } from '../methods/method.ts';
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
  if (trainsOn === 'pairs') {
    const data = await loadData(path, options);
    return { data, evaluation: data };
  }
  const texts = await loadTexts(path, options);
  const rows = evalSplit === HELD_OUT ? heldOutRows(texts.corpus) : new Int32Array(0);
  const heldOut = heldOutRetrieval(texts, rows);
  const evaluation = evalSplit === HELD_OUT ? heldOut : (texts.data ?? heldOut);
  return { data: ownQueries(texts, rows), evaluation };
}

/**
 * Examples without those whose document is too short to be cropped.
 *
 * @param store  whole documents
 * @throws DataError where none is left
 */
export function withoutShortTexts(
  examples: TrainingExamples,
  store: TokenStore,
  file: string,
): { examples: TrainingExamples; left: number } {
  const rows = examples.queryRows.filter((row) => store.length(row) >= LEAST_DOCUMENT_TOKENS);
  const left = examples.queryRows.length - rows.length;
  if (left === 0) return { examples, left };
  if (rows.length === 0) {
    throw new DataError(`no document has the ${LEAST_DOCUMENT_TOKENS} tokens that two crops need`, {
      file,
      help: 'is it one document a line? Single words or titles are not enough',
    });
  }
  const offsets = Uint32Array.from({ length: rows.length + 1 }, (_, i) => i);
  const grades = new Float32Array(rows.length).fill(1);
  return { examples: { queryRows: rows, positives: { offsets, rows, grades } }, left };
}
