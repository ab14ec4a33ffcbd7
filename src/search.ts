/**
 * Search over vectors (exact, by brute force) and over words (BM25, TF-IDF).
 *
 *     import { Bm25, ExactIndex } from 'undrift/search';
 *
 * @module undrift/search
 */
export { ExactIndex, type ExactIndexOptions } from './search/exact-search.ts';
export type { SearchIndex, SearchOptions, SearchResult } from './search/search-index.ts';
export { Bm25, type Bm25Options } from './text/bm25.ts';
export { bm25Terms, type TermOptions } from './text/index-terms.ts';
export type { IndexingOptions } from './text/indexing-options.ts';
export { InvertedIndex, type QueryTerm, type RankedRows, type Weighting } from './text/inverted-index.ts';
export type { RowOrder } from './text/row-heap.ts';
export type { TermIds } from './text/term-ids.ts';
export type { TermPostings } from './text/term-postings.ts';
export { TfIdf, type TfIdfOptions } from './text/tfidf.ts';
