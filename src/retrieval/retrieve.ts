import type { Corpus } from '../data/corpus.ts';
import type { Qrels } from '../data/examples.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { type Run, rankDocuments, type ScoredDocument } from '../eval/ranking.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { Bm25Options } from '../text/bm25.ts';
import type { InvertedIndex, RankedRows } from '../text/inverted-index.ts';
import { buildLexical, type LexicalRanker } from '../text/lexical-rankers.ts';
import type { TokenStore } from '../text/token-store.ts';
import { ShapeError, UndriftError } from '../util/errors.ts';
import { checkOptions, type GivenOptions } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { encodeCorpus } from './encode-corpus.ts';
import { idOrder } from './id-order.ts';
import { checkStored, type StoredVectors } from './read-vectors.ts';
import { DENSE_OPTIONS, LEXICAL_OPTIONS, LIMIT_QUERIES, type RANKING_OPTIONS } from './retrieval-options.ts';
import { searchInBlocks } from './search-in-blocks.ts';

/** Judged queries of a split with their judgements. */
export interface RetrievalTask {
  /** Name of the split. */
  readonly split: string;
  /** Judgements of the queries. */
  readonly qrels: Qrels;
  /** Rows of the query corpus, u32[B], in the order of the qrels. */
  readonly queryRows: Uint32Array;
}

/** Settings of a retrieval. */
export interface RetrieveOptions extends GivenOptions<typeof RANKING_OPTIONS> {
  /** Stages `read documents`, `encode documents`, `index documents`, `encode queries` and `search`. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Settings of {@link retrieve}. */
export interface DenseRetrieveOptions extends RetrieveOptions, GivenOptions<typeof DENSE_OPTIONS> {
  /** Token ids of all queries and all documents, by row. Default: computed. */
  tokens?: { readonly queries?: TokenStore; readonly documents?: TokenStore } | undefined;
  /**
   * Embeddings of all documents by row: those that `readVectors` returned, or f32[N, D]. Default: computed. The
   * space of an array is unknown; that of stored vectors must be the retriever's.
   */
  documentEmbeddings?: Float32Array | StoredVectors | undefined;
}

/** Settings of {@link retrieveLexical}. */
export interface LexicalRetrieveOptions
  extends RetrieveOptions,
    GivenOptions<typeof LEXICAL_OPTIONS>,
    Pick<Bm25Options, 'tokenize'> {}

/** Options of `retrieve` that are no values. */
export const DENSE_CALLER_OPTIONS = [
  'tokens',
  'documentEmbeddings',
  'onProgress',
] as const satisfies readonly (keyof DenseRetrieveOptions)[];

/** Options of `retrieveLexical` that are no values. */
export const LEXICAL_CALLER_OPTIONS = [
  'tokenize',
  'onProgress',
] as const satisfies readonly (keyof LexicalRetrieveOptions)[];

const TOP_K = 100;
/** Most bytes of embeddings that are made at once for a search. */
const BLOCK_BYTES = 2 ** 29;
const PROGRESS_QUERIES = 256;

/**
 * Selects the queries of a split that have judgements.
 *
 * @param options.limitQueries  maximum number of queries, for a quick look; default all. They are evenly
 *   spaced over the split, because neighbours are alike (such as the questions on one document)
 * @throws DataError when the split does not exist
 * @throws UndriftError when the split has no judged query
 */
export function retrievalTask(
  data: RetrievalData,
  split: string,
  options: { limitQueries?: number | undefined } = {},
): RetrievalTask {
  checkOptions({ limitQueries: LIMIT_QUERIES }, options);
  const { limitQueries = Number.POSITIVE_INFINITY } = options;
  const all = [...data.qrels(split)].filter(([, grades]) => grades.size > 0);
  const stride = Math.max(1, Math.floor(all.length / limitQueries));
  const judged = all.filter((_, i) => i % stride === 0).slice(0, limitQueries);
  if (judged.length === 0) {
    throw new UndriftError(`split "${split}" of ${data.name} has no judged query`, {
      help: `splits present: ${data.splits.join(', ') || 'none'}`,
    });
  }
  const queryRows = Uint32Array.from(judged, ([id]) => data.queries.row(id)!);
  return { split, qrels: new Map(judged), queryRows };
}

/**
 * Answers the queries of a task by exact search over the embeddings of all documents.
 *
 * Embeddings that are not given are computed, in blocks of 512 MiB if they take more: of each block, the best documents are kept.
 * Token ids that are not given take memory while a block is encoded.
 *
 * @returns the `topK` best documents of each query, best first; equal scores by descending id, as the metrics order them
 * @throws UsageError for an unknown option, for a value out of range, and for stored vectors of another space, side or corpus
 * @throws ShapeError when the given embeddings do not fit the corpus
 */
export async function retrieve(
  retriever: Retriever,
  data: RetrievalData,
  task: RetrievalTask,
  options: DenseRetrieveOptions = {},
): Promise<Run> {
  checkOptions(DENSE_OPTIONS, options, DENSE_CALLER_OPTIONS);
  const { queryRows } = task;
  const compute: ComputeOptions = {
    ...(options.device && { device: options.device }),
    ...(options.threads && { threads: options.threads }),
  };
  const given = options.documentEmbeddings;
  const stored = given instanceof Float32Array ? undefined : given;
  if (stored) checkStored(stored, { retriever, corpus: data.corpus, side: 'document' });
  const D = retriever.dimension;
  const blockRows = Math.floor(BLOCK_BYTES / (4 * D));
  const fits = given !== undefined || data.corpus.size <= blockRows;
  const documents =
    stored?.vectors ??
    (given as Float32Array | undefined) ??
    (fits
      ? await encodeCorpus(retriever, 'document', data.corpus, {
          ...compute,
          tokens: options.tokens?.documents,
          onProgress: options.onProgress,
        })
      : undefined);
  if (documents && documents.length !== data.corpus.size * D) {
    throw new ShapeError(
      `${data.corpus.size} documents of dimension ${D} need ${data.corpus.size * D} numbers, got ${documents.length}`,
      { help: 'the embeddings come from another model or another corpus' },
    );
  }
  const queries = await encodeCorpus(retriever, 'query', data.queries, {
    ...compute,
    tokens: options.tokens?.queries,
    rows: queryRows,
    onProgress: options.onProgress,
  });
  const wanted = depth(options);
  if (!documents) {
    const found = await searchInBlocks(retriever, data.corpus, queries, {
      ...compute,
      k: wanted,
      blockRows,
      tokens: options.tokens?.documents,
      onProgress: options.onProgress,
    });
    return toRun(data, task, options, (i) => found[i]!);
  }
  // The space of stored vectors has been found to be the retriever's. An id of its own would take a hash of all weights.
  const space = stored?.embeddingSpace;
  const index = ExactIndex.create(documents, D, { ...compute, embeddingSpace: space });
  try {
    const { rows, scores, k } = await index.search(queries, wanted, {
      ties: idOrder(data.corpus),
      embeddingSpace: space,
      onProgress: options.onProgress,
    });
    return toRun(data, task, options, (i) => ({
      rows: rows.subarray(i * k, (i + 1) * k),
      scores: scores.subarray(i * k, (i + 1) * k),
    }));
  } finally {
    await index.dispose();
  }
}

/**
 * Answers the queries of a task by shared words: with BM25 (default k1 0.9, b 0.4) or with TF-IDF, which has no
 * constants. Documents that share no term with a query are not returned for it.
 *
 * @throws UsageError for an unknown option, for a value out of range, and for an option of the other ranker
 */
export async function retrieveLexical(
  ranker: LexicalRanker,
  data: RetrievalData,
  task: RetrievalTask,
  options: LexicalRetrieveOptions = {},
): Promise<Run> {
  checkOptions(LEXICAL_OPTIONS, options, LEXICAL_CALLER_OPTIONS);
  const { queryRows } = task;
  const { onProgress } = options;
  const index = buildLexicalIndex(ranker, data.corpus, options);
  const wanted = depth(options);
  const ties = idOrder(data.corpus);
  const results: RankedRows[] = [];
  for (const row of queryRows) {
    results.push(index.search(data.queries.text(row), wanted, { ties }));
    if (results.length % PROGRESS_QUERIES !== 0 && results.length !== queryRows.length) continue;
    onProgress?.({ stage: 'search', done: results.length, total: queryRows.length, unit: 'queries' });
    // The search is one long computation; this lets signals and timers run.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return toRun(data, task, options, (i) => results[i]!);
}

/** Builds the index of BM25 or TF-IDF over a corpus. */
export function buildLexicalIndex(
  ranker: LexicalRanker,
  corpus: Corpus,
  options: LexicalRetrieveOptions = {},
): InvertedIndex {
  const { topK: _, dropSameId: __, onProgress, ...own } = options;
  const index = buildLexical(ranker, corpus.size, (row) => corpus.text(row), { ...own, onProgress });
  onProgress?.({ stage: 'index documents', done: corpus.size, total: corpus.size, unit: 'texts' });
  return index;
}

/** Number of results to ask an index for: one more if one may be dropped. */
const depth = ({ topK = TOP_K, dropSameId = false }: RetrieveOptions): number => topK + (dropSameId ? 1 : 0);

function toRun(
  data: RetrievalData,
  { queryRows }: RetrievalTask,
  { topK = TOP_K, dropSameId = false }: RetrieveOptions,
  resultOf: (i: number) => { rows: Int32Array; scores: Float32Array },
): Run {
  const run = new Map<string, readonly ScoredDocument[]>();
  for (const [i, queryRow] of queryRows.entries()) {
    const queryId = data.queries.id(queryRow);
    const { rows, scores } = resultOf(i);
    const documents = Array.from(rows, (row, rank) => ({ docId: data.corpus.id(row), score: scores[rank]! }));
    const kept = dropSameId ? documents.filter(({ docId }) => docId !== queryId) : documents;
    run.set(queryId, rankDocuments(kept.slice(0, topK)));
  }
  return run;
}
