import { type DuplicateMap, duplicateMap } from '../cache/masks.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { type Run, rankDocuments } from '../eval/ranking.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { Bm25, type Bm25Options } from '../text/bm25.ts';
import type { TokenStore } from '../text/token-store.ts';
import { DataError, UsageError } from '../util/errors.ts';
import type { Ranking } from './candidate-filter.ts';

/** Who ranks the documents for the Q queries that are mined for, numbered 0 … Q − 1. */
export interface CandidateSource {
  /** Q. */
  readonly queries: number;
  /**
   * The best documents of queries `start` … `end` − 1, equal scores by ascending row.
   *
   * @param depth  documents wanted for a query; more may come, and less where there are no more
   * @param onProgress  queries of these answered so far
   */
  search(
    start: number,
    end: number,
    depth: (query: number) => number,
    onProgress?: (done: number) => void,
  ): Promise<(query: number) => Ranking>;
  /** Documents that are the same to this ranker. */
  readonly sameDocuments: DuplicateMap;
  /** Queries that are the same to it, by their numbers. */
  readonly sameQueries: DuplicateMap;
  /** Bytes of the index. */
  readonly bytes: number;
  dispose(): Promise<void>;
}

/** How far the making of a source has come, in texts. */
export type SourceProgress = (
  stage: 'read documents' | 'encode documents' | 'index documents',
  done: number,
  total: number,
) => void;

/** The texts that a source ranks. */
export interface SourceTexts {
  /** N. */
  readonly documents: number;
  readonly document: (row: number) => string;
  /** Q. */
  readonly queries: number;
  /** By number, not by row of a corpus of queries. */
  readonly query: (query: number) => string;
}

/** Queries after which a search lets signals and timers have their turn. */
const QUERIES_PER_TURN = 64;

/**
 * BM25 over all documents. What shares no term with a query is not found for it.
 *
 * Memory: 8 bytes for each pair of term and document, and the dictionary of terms.
 */
export function bm25Candidates(
  texts: SourceTexts,
  options: Omit<Bm25Options, 'onProgress'> & { onProgress?: SourceProgress | undefined } = {},
): CandidateSource {
  const { onProgress, ...bm25 } = options;
  const report = (done: number) => onProgress?.('index documents', done, texts.documents);
  const index = Bm25.build(texts.documents, texts.document, { ...bm25, onProgress: report });
  report(texts.documents);
  return {
    queries: texts.queries,
    async search(start, end, depth, onProgress) {
      const found: Ranking[] = [];
      for (let query = start; query < end; query++) {
        found.push(index.search(texts.query(query), depth(query)));
        if (found.length % QUERIES_PER_TURN !== 0 && query !== end - 1) continue;
        onProgress?.(found.length);
        await new Promise((resolve) => setImmediate(resolve));
      }
      return (query) => found[query - start]!;
    },
    ...sameTexts(texts),
    bytes: index.bytes,
    dispose: async () => {},
  };
}

/**
 * Exact search with a retriever's weights as they are now. Texts that are cut to the same tokens are the same to it.
 *
 * Cost: N documents embedded when it is made, each query when it is searched for. Memory: f32[N, D].
 *
 * @param queries.rows  rows of the store of the Q queries
 */
export async function denseCandidates(
  retriever: Retriever,
  queries: { readonly tokens: TokenStore; readonly rows: Uint32Array },
  documents: TokenStore,
  options: ComputeOptions & { onProgress?: SourceProgress | undefined } = {},
): Promise<CandidateSource> {
  const { onProgress, ...compute } = options;
  const embeddings = await retriever.encodeTokens('document', documents, {
    ...compute,
    onProgress: (done) => onProgress?.('encode documents', done, documents.rows),
  });
  const index = ExactIndex.create(embeddings, retriever.dimension, compute);
  return {
    queries: queries.rows.length,
    async search(start, end, depth, onProgress) {
      let deepest = 1;
      for (let query = start; query < end; query++) deepest = Math.max(deepest, depth(query));
      // Each number of results is a program of its own: few of them will do.
      const wanted = 2 ** Math.ceil(Math.log2(deepest));
      const vectors = await retriever.encodeTokens('query', queries.tokens, {
        ...compute,
        rows: queries.rows.subarray(start, end),
      });
      const { rows, scores, k } = await index.search(vectors, wanted, { onProgress });
      return (query) => ({
        rows: rows.subarray((query - start) * k, (query - start + 1) * k),
        scores: scores.subarray((query - start) * k, (query - start + 1) * k),
      });
    },
    sameDocuments: duplicateMap(documents),
    sameQueries: duplicateMap({
      rows: queries.rows.length,
      tokens: (query) => queries.tokens.tokens(queries.rows[query]!),
    }),
    bytes: embeddings.byteLength,
    dispose: () => index.dispose(),
  };
}

/**
 * The results of another program, as a run file holds them: no deeper than they are.
 *
 * @param queryRows  rows of the query corpus of the Q queries
 * @throws DataError for a document that the corpus does not have; UsageError where the run knows none of the queries
 */
export function runCandidates(
  run: Run,
  data: RetrievalData,
  queryRows: ArrayLike<number>,
  options: { file: string },
): CandidateSource {
  const { file } = options;
  const ids = Array.from(queryRows, (row) => data.queries.id(row));
  if (!ids.some((id) => run.has(id))) {
    throw new UsageError(`${file} has results for none of the ${ids.length} queries`, {
      help: 'is it a run of another split, or of another data set?',
    });
  }
  const rankings = ids.map((id): Ranking => {
    const ranked = rankDocuments(run.get(id) ?? []);
    const rows = Int32Array.from(ranked, ({ docId }) => {
      const row = data.corpus.row(docId);
      if (row !== undefined) return row;
      throw new DataError(`document "${docId}" of query "${id}" is not among the documents of ${data.name}`, {
        file,
        help: 'mine from a run over the same corpus',
      });
    });
    return { rows, scores: Float64Array.from(ranked, ({ score }) => score) };
  });
  return {
    queries: ids.length,
    search: async (_start, end, _depth, onProgress) => {
      onProgress?.(end - _start);
      return (query) => rankings[query]!;
    },
    ...sameTexts({
      documents: data.corpus.size,
      document: (row) => data.corpus.text(row),
      queries: ids.length,
      query: (query) => data.queries.text(queryRows[query]!),
    }),
    bytes: rankings.reduce((sum, { rows }) => sum + 12 * rows.length, 0),
    dispose: async () => {},
  };
}

/** Texts that are equal. */
function sameTexts(texts: SourceTexts): Pick<CandidateSource, 'sameDocuments' | 'sameQueries'> {
  const equal = (rows: number, textOf: (row: number) => string) =>
    duplicateMap({ rows, tokens: (row) => Buffer.from(textOf(row)) });
  return {
    sameDocuments: equal(texts.documents, texts.document),
    sameQueries: equal(texts.queries, texts.query),
  };
}
