/**
 * Search over vectors (exact, by brute force) and over words (BM25).
 *
 *     import { Bm25, ExactIndex } from 'undrift/search';
 *
 * @module undrift/search
 */
export { ExactIndex, type ExactIndexOptions } from './search/exact-search.ts';
export type { SearchIndex, SearchOptions, SearchResult } from './search/search-index.ts';
export { Bm25, type Bm25Options, type Bm25Result } from './text/bm25.ts';
export { bm25Terms, type TermOptions } from './text/index-terms.ts';
