import { checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import { BM25_OPTIONS } from './bm25-options.ts';
import { INDEXING_NAMES, type IndexingOptions, tokenizerFor } from './indexing-options.ts';
import { InvertedIndex } from './inverted-index.ts';
import { collectPostings, type TermPostings } from './term-postings.ts';

/** Settings of a BM25 index. */
export interface Bm25Options extends GivenOptions<typeof BM25_OPTIONS>, IndexingOptions {}

/**
 * BM25 index with Lucene's inverse document frequency. Over N documents:
 *
 *     score(q, d) = Σ_{t in q} ln(1 + (N − df_t + ½) / (df_t + ½)) · tf / (tf + k1·(1 − b + b·|d| / avgdl))
 *
 * A term that occurs twice in the query counts twice. Only documents that share a term with the query are
 * returned, so a result can hold fewer rows than asked for. Equal scores are ordered by row, lower first,
 * unless the search is given another order.
 *
 * Each summand depends on (t, d) only and is computed once, when the index is built (its "impact"; Lù 2024,
 * BM25S).
 */
export class Bm25 extends InvertedIndex {
  /** Saturation of the term frequency. */
  readonly k1: number;
  /** Strength of the length normalisation. */
  readonly b: number;
  /** Mean number of terms of a document. */
  readonly averageLength: number;

  private constructor(
    postings: TermPostings,
    tokenize: (text: string) => readonly string[],
    k1: number,
    b: number,
  ) {
    const { lengths, termIds } = postings;
    const N = lengths.length;
    const averageLength = N === 0 ? 0 : lengths.reduce((sum, length) => sum + length, 0) / N;
    super(postings, tokenize, (documentsOf) => {
      const inverseDocumentFrequency = new Float64Array(termIds.size);
      for (let t = 0; t < termIds.size; t++) {
        const df = documentsOf(t);
        inverseDocumentFrequency[t] = Math.log(1 + (N - df + 0.5) / (df + 0.5));
      }
      return {
        document(term, tf, row) {
          const norm = k1 * (1 - b + (b * lengths[row]!) / averageLength);
          return inverseDocumentFrequency[term]! * (tf / (tf + norm));
        },
      };
    });
    this.k1 = k1;
    this.b = b;
    this.averageLength = averageLength;
  }

  /**
   * Builds an index of `count` documents. `textOf` is called once per row, in row order, and the texts are
   * not kept.
   *
   * @throws UsageError for an unknown option, and when k1 or b is out of range
   */
  static build(count: number, textOf: (row: number) => string, options: Bm25Options = {}): Bm25 {
    checkOptions(BM25_OPTIONS, options, INDEXING_NAMES);
    const { k1, b } = optionValues(BM25_OPTIONS, { ...options });
    const tokenize = tokenizerFor(options);
    return new Bm25(collectPostings(count, textOf, tokenize, options.onProgress), tokenize, k1, b);
  }
}
