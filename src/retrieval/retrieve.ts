import type { Corpus } from '../data/corpus.ts';
import type { Qrels } from '../data/examples.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { Run, ScoredDocument } from '../eval/ranking.ts';
import type { Retriever, Side } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { Bm25, type Bm25Options } from '../text/bm25.ts';
import type { TokenStore } from '../text/token-store.ts';
import { ShapeError, UndriftError, UsageError } from '../util/errors.ts';

/** The judged queries of a split: what a retriever is asked, and what the answers are measured against. */
export interface RetrievalTask {
  readonly split: string;
  readonly qrels: Qrels;
  /** B rows of the query corpus, in the order of the qrels. */
  readonly queryRows: Uint32Array;
}

/** One kind of work of a retrieval, and how much of it is done. */
export interface RetrievalProgress {
  readonly stage: 'read documents' | 'encode documents' | 'encode queries' | 'index documents' | 'search';
  readonly done: number;
  /** Texts; queries in the stage `search`. */
  readonly total: number;
}

export interface RetrieveOptions {
  /** Documents for each query (100). */
  topK?: number | undefined;
  /**
   * Drop a document whose id is the query's own id, as BEIR's evaluation does: in ArguAna and Quora every query is itself a
   * document. Default false: elsewhere equal ids are a coincidence of two numberings, and dropping would hide true answers.
   */
  dropSameId?: boolean | undefined;
  onProgress?: ((progress: RetrievalProgress) => void) | undefined;
}

export interface DenseRetrieveOptions extends RetrieveOptions, ComputeOptions {
  /** Token ids of all queries and all documents by their rows, where they are at hand already. */
  tokens?: { readonly queries?: TokenStore; readonly documents?: TokenStore } | undefined;
  /** f32[N, D] of all documents by their rows, where they are at hand already. */
  documentEmbeddings?: Float32Array | undefined;
}

export interface Bm25RetrieveOptions extends RetrieveOptions, Pick<Bm25Options, 'k1' | 'b' | 'tokenize'> {}

const TOP_K = 100;
const PROGRESS_QUERIES = 256;

/**
 * The queries of a split that have judgements.
 *
 * @param options.limitQueries  at most so many, for a quick look: evenly spaced over the split, because neighbours are alike (the
 *   questions on one document) and the first ones would stand for themselves only
 * @throws DataError for an absent split; UndriftError for one without judgements
 */
export function retrievalTask(
  data: RetrievalData,
  split: string,
  { limitQueries = Number.POSITIVE_INFINITY }: { limitQueries?: number | undefined } = {},
): RetrievalTask {
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
 * What is not handed in is computed: N·D floats, and for the time of encoding the documents' token ids.
 *
 * @returns  for each query its `topK` best documents, best first
 */
export async function retrieve(
  retriever: Retriever,
  data: RetrievalData,
  task: RetrievalTask,
  options: DenseRetrieveOptions = {},
): Promise<Run> {
  const { queryRows } = task;
  const compute: ComputeOptions = {
    ...(options.device && { device: options.device }),
    ...(options.threads && { threads: options.threads }),
  };
  const documents =
    options.documentEmbeddings ??
    (await encodeCorpus(retriever, 'document', data.corpus, {
      ...compute,
      tokens: options.tokens?.documents,
      onProgress: options.onProgress,
    }));
  const D = retriever.dimension;
  if (documents.length !== data.corpus.size * D) {
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
  const index = ExactIndex.create(documents, D, compute);
  try {
    const wanted = depth(options);
    const { rows, scores, k } = await index.search(queries, wanted, {
      onProgress: (done) => options.onProgress?.({ stage: 'search', done, total: queryRows.length }),
    });
    return toRun(data, task, options, (i) => ({
      rows: rows.subarray(i * k, (i + 1) * k),
      scores: scores.subarray(i * k, (i + 1) * k),
    }));
  } finally {
    await index.dispose();
  }
}

/** Answers the queries of a task with BM25 (k1 0.9, b 0.4). Documents that share no term with a query are not returned for it. */
export async function retrieveBm25(
  data: RetrievalData,
  task: RetrievalTask,
  options: Bm25RetrieveOptions = {},
): Promise<Run> {
  const { queryRows } = task;
  const { onProgress } = options;
  const index = buildBm25(data.corpus, options);
  const wanted = depth(options);
  const results: ReturnType<Bm25['search']>[] = [];
  for (const row of queryRows) {
    results.push(index.search(data.queries.text(row), wanted));
    if (results.length % PROGRESS_QUERIES !== 0 && results.length !== queryRows.length) continue;
    onProgress?.({ stage: 'search', done: results.length, total: queryRows.length });
    // The search is one long computation: let signals and timers have their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return toRun(data, task, options, (i) => results[i]!);
}

/** A BM25 index over a corpus. */
export function buildBm25(corpus: Corpus, options: Bm25RetrieveOptions = {}): Bm25 {
  const { k1, b, tokenize, onProgress } = options;
  const report = (done: number) => onProgress?.({ stage: 'index documents', done, total: corpus.size });
  const index = Bm25.build(corpus.size, (row) => corpus.text(row), {
    ...(k1 !== undefined && { k1 }),
    ...(b !== undefined && { b }),
    ...(tokenize && { tokenize }),
    onProgress: report,
  });
  report(corpus.size);
  return index;
}

/**
 * Embeds the texts of a corpus, or some rows of it, as queries or as documents.
 *
 * @returns  f32[rows, D]
 */
export async function encodeCorpus(
  retriever: Retriever,
  side: Side,
  corpus: Corpus,
  options: ComputeOptions & {
    /** Token ids of the whole corpus. */
    tokens?: TokenStore | undefined;
    /** Default: all. */
    rows?: Uint32Array | undefined;
    onProgress?: ((progress: RetrievalProgress) => void) | undefined;
  } = {},
): Promise<Float32Array> {
  const { tokens, onProgress, device, threads } = options;
  const rows = options.rows ?? Uint32Array.from({ length: corpus.size }, (_, row) => row);
  if (tokens && tokens.rows !== corpus.size) {
    throw new UsageError(`the token store has ${tokens.rows} texts, the corpus ${corpus.size}`);
  }
  const report = (stage: RetrievalProgress['stage']) => (done: number) =>
    onProgress?.({ stage, done, total: rows.length });
  let store = tokens;
  if (!store) {
    // Only the texts that are wanted are read. A split's queries take no time worth a report.
    const onProgress = side === 'document' ? report('read documents') : () => {};
    store = retriever.tokenize(side, rows.length, (i) => corpus.text(rows[i]!), { onProgress });
    onProgress(rows.length);
  }
  return await retriever.encodeTokens(side, store, {
    ...(device && { device }),
    ...(threads && { threads }),
    ...(tokens && { rows }),
    onProgress: report(side === 'query' ? 'encode queries' : 'encode documents'),
  });
}

/** Results to ask an index for: one more where one may be dropped. */
const depth = ({ topK = TOP_K, dropSameId = false }: RetrieveOptions): number => topK + (dropSameId ? 1 : 0);

function toRun(
  data: RetrievalData,
  { queryRows }: RetrievalTask,
  { topK = TOP_K, dropSameId = false }: RetrieveOptions,
  resultOf: (i: number) => { rows: Int32Array; scores: Float32Array },
): Run {
  const run = new Map<string, ScoredDocument[]>();
  for (const [i, queryRow] of queryRows.entries()) {
    const queryId = data.queries.id(queryRow);
    const { rows, scores } = resultOf(i);
    const documents = Array.from(rows, (row, rank) => ({ docId: data.corpus.id(row), score: scores[rank]! }));
    const kept = dropSameId ? documents.filter(({ docId }) => docId !== queryId) : documents;
    run.set(queryId, kept.slice(0, topK));
  }
  return run;
}
