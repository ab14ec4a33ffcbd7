import type { TrainingExamples } from '../../data/examples.ts';
import { HELD_OUT, heldOutRetrieval, heldOutRows, ownQueries } from '../../data/held-out.ts';
import { loadData } from '../../data/load.ts';
import { loadTexts } from '../../data/texts.ts';
import { parseMetric } from '../../eval/metric-spec.ts';
import { LEAST_DOCUMENT_TOKENS } from '../../text/crops.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { DataError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import type { ExampleKind, UsableExamples } from './example-kind.ts';
import { measureRetrieval, pairs, retrievalBaseline } from './pairs.ts';
import { tokenizeWhole } from './tokenize-data.ts';

/**
 * Example kind of documents alone: each is its own query. Whole texts are stored, without special tokens. A few documents are
 * held out for evaluation.
 */
export const texts: ExampleKind = {
  nouns: { texts: 'documents', examples: 'of them trained on', batch: 'documents' },
  batchSize: 64,
  evalSplit: HELD_OUT,
  ownSplits: [HELD_OUT],
  evalMetric: 'ndcg@10',
  checkMetric: (metric) => void parseMetric(metric),
  async load({ data: source, evalData, evalSplit }, options) {
    const read = await loadTexts(source, options);
    if (evalData !== undefined) {
      const own = { ...options, documents: undefined, neededSplits: [evalSplit] };
      const evaluation = await loadData(evalData, own);
      return { data: ownQueries(read, new Int32Array(0)), evaluation };
    }
    const rows = evalSplit === HELD_OUT ? heldOutRows(read.corpus) : new Int32Array(0);
    const heldOut = heldOutRetrieval(read, rows);
    const evaluation = evalSplit === HELD_OUT ? heldOut : (read.data ?? heldOut);
    return { data: ownQueries(read, rows), evaluation };
  },
  tokenize(retriever, data, options) {
    const documents = tokenizeWhole(retriever, data, options);
    return { documents, queries: documents };
  },
  evaluationTokens: pairs.evaluationTokens,
  usable: (examples, { documents, settings }) => withoutShortTexts(examples, documents, settings.data),
  measure: measureRetrieval,
  baseline: retrievalBaseline,
};

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
    note: `left out ${count(left)} documents that are too short to crop`,
  };
}
