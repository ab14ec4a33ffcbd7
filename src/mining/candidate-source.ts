import type { RetrievalData } from '../data/retrieval-data.ts';
import { type DuplicateMap, duplicateMap, type SideTexts, TextIdentity } from '../data/text-identity.ts';
import { type Run, rankDocuments } from '../eval/ranking.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { encodeUnlessStored, type StoredEmbeddings } from '../models/retriever/stored-embeddings.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { buildLexical, type LexicalOptions, type LexicalRanker } from '../text/lexical-rankers.ts';
import type { TokenStore } from '../text/token-store.ts';
import { DataError, UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { Ranking } from './candidate-filter.ts';

/** Ranker of documents for the Q queries of a mining task, numbered 0 … Q − 1. */
export interface CandidateSource {
  /** Number of queries Q. */
  readonly queries: number;
  /**
   * Ranks documents for queries `start` … `end` − 1; equal scores are ordered by ascending row.
   *
   * @param depth  number of documents wanted for a query. The ranking may be longer, and is shorter if no
   *   more documents are found
   * @param onProgress  called with the number of queries of this call that are answered
   * @returns the ranking of each of these queries, by its number
   */
  search(
    start: number,
    end: number,
    depth: (query: number) => number,
    onProgress?: (progress: Progress) => void,
  ): Promise<(query: number) => Ranking>;
  /** Documents that this ranker cannot tell apart. */
  readonly sameDocuments: DuplicateMap;
  /** Queries that this ranker cannot tell apart, by number. */
  readonly sameQueries: DuplicateMap;
  /** Memory of the index, in bytes. */
  readonly bytes: number;
  /** Frees the index. */
  dispose(): Promise<void>;
}

/** Texts of the documents and queries of a source. A query goes by its number, not by its row in the query corpus. */
export type SourceTexts = SideTexts;

/** Number of queries after which a search lets signals and timers run. */
const QUERIES_PER_TURN = 64;

/**
 * Ranks all documents by BM25 or TF-IDF. A document that shares no term with a query is not found for it.
 *
 * Takes 8 bytes of memory for each pair of term and document, and a dictionary of the terms.
 */
export function lexicalCandidates(
  ranker: LexicalRanker,
  texts: SourceTexts,
  options: LexicalOptions = {},
): CandidateSource {
  const { documents: total } = texts;
  const index = buildLexical(ranker, total, texts.document, options);
  options.onProgress?.({ stage: 'index documents', done: total, total, unit: 'texts' });
  return {
    queries: texts.queries,
    async search(start, end, depth, onProgress) {
      const found: Ranking[] = [];
      for (let query = start; query < end; query++) {
        found.push(index.search(texts.query(query), depth(query)));
        if (found.length % QUERIES_PER_TURN !== 0 && query !== end - 1) continue;
        onProgress?.({ stage: 'search', done: found.length, total: end - start, unit: 'queries' });
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
 * Ranks all documents by exact search with a retriever's current weights. Texts truncated to equal tokens
 * count as the same.
 *
 * All N documents are embedded when the source is made, queries when they are searched for. Takes memory for
 * f32[N, D].
 *
 * @param queries.tokens  token ids of the query corpus
 * @param queries.rows  rows of the Q queries in `queries.tokens`
 * @param documents  token ids of the N documents
 * @param options.stored  embeddings of documents by the retriever's weights, which are read instead
 * @param options.onEncodes  called with the number of documents that are embedded
 */
export async function denseCandidates(
  retriever: Retriever,
  queries: { readonly tokens: TokenStore; readonly rows: Uint32Array },
  documents: TokenStore,
  options: ComputeOptions & {
    onProgress?: ((progress: Progress) => void) | undefined;
    stored?: StoredEmbeddings | undefined;
    onEncodes?: (count: number) => void;
  } = {},
): Promise<CandidateSource> {
  const { onProgress, stored, onEncodes = () => {}, ...compute } = options;
  const all = Uint32Array.from({ length: documents.rows }, (_, row) => row);
  const embeddings = await encodeUnlessStored(
    retriever,
    { store: documents, rows: all },
    {
      ...compute,
      stored,
      onEncodes,
      onProgress: (progress) => onProgress?.({ ...progress, stage: 'encode documents' }),
    },
  );
  const index = ExactIndex.create(embeddings, retriever.dimension, compute);
  return {
    queries: queries.rows.length,
    async search(start, end, depth, onProgress) {
      let deepest = 1;
      for (let query = start; query < end; query++) deepest = Math.max(deepest, depth(query));
      // Every number of results is a program of its own; rounding up to powers of two keeps them few.
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
 * Takes the rankings from a run file of another program. Rankings are only as deep as the run.
 *
 * @param queryRows  rows of the query corpus of the Q queries
 * @param options.file  name of the run file, for errors
 * @throws DataError for a document that is not in the corpus
 * @throws UsageError when the run has none of the queries
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
    search: async (start, end, _depth, onProgress) => {
      onProgress?.({ stage: 'search', done: end - start, total: end - start, unit: 'queries' });
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

/** Finds documents and queries of the same text. */
function sameTexts(texts: SourceTexts): Pick<CandidateSource, 'sameDocuments' | 'sameQueries'> {
  const identity = identityOf(texts);
  return {
    sameDocuments: (document) => identity.copies(document),
    sameQueries: (query) => identity.twins(query),
  };
}

const identities = new WeakMap<SourceTexts, TextIdentity>();

/** Returns the identity of some texts, which is made once. */
export function identityOf(texts: SourceTexts): TextIdentity {
  const identity = identities.get(texts) ?? new TextIdentity(texts);
  identities.set(texts, identity);
  return identity;
}
