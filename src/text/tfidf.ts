import { checkOptions, type GivenOptions } from '../util/option-table.ts';
import { TERM_OPTIONS } from './bm25-options.ts';
import { INDEXING_NAMES, type IndexingOptions, tokenizerFor } from './indexing-options.ts';
import { InvertedIndex } from './inverted-index.ts';
import { collectPostings, type TermPostings } from './term-postings.ts';

/** Settings of a TF-IDF index. */
export interface TfIdfOptions extends GivenOptions<typeof TERM_OPTIONS>, IndexingOptions {}

/**
 * TF-IDF index, which ranks by cosines as scikit-learn's `TfidfVectorizer` does by default. Over N documents:
 *
 *     w_t(x) = tf_t(x) · (ln((1 + N) / (1 + df_t)) + 1)
 *     score(q, d) = Σ_t w_t(q) · w_t(d) / (‖w(q)‖ · ‖w(d)‖)
 *
 * Terms that no document has are left out of the query's norm. Only documents that share a term with the query
 * are returned. Equal scores are ordered by row, lower first, unless the search is given another order.
 *
 * Terms are those of BM25, {@link bm25Terms}. Those of scikit-learn have at least two characters, and keep
 * underscores: give `tokenize` for equal scores.
 */
export class TfIdf extends InvertedIndex {
  private constructor(postings: TermPostings, tokenize: (text: string) => readonly string[]) {
    const { termIds, lengths, terms, frequencies, rowEnds } = postings;
    const N = lengths.length;
    super(postings, tokenize, (documentsOf) => {
      const inverseDocumentFrequency = new Float64Array(termIds.size);
      for (let t = 0; t < termIds.size; t++) {
        inverseDocumentFrequency[t] = Math.log((1 + N) / (1 + documentsOf(t))) + 1;
      }
      const norms = new Float64Array(N);
      for (let row = 0, p = 0; row < N; row++) {
        let sum = 0;
        for (const end = rowEnds[row]!; p < end; p++) {
          sum += (frequencies[p]! * inverseDocumentFrequency[terms[p]!]!) ** 2;
        }
        norms[row] = Math.sqrt(sum);
      }
      return {
        document: (term, tf, row) => (tf * inverseDocumentFrequency[term]!) / norms[row]!,
        query(known) {
          for (const term of known) term.weight *= inverseDocumentFrequency[term.term]!;
          const norm = Math.sqrt(known.reduce((sum, { weight }) => sum + weight ** 2, 0));
          for (const term of known) term.weight /= norm;
        },
      };
    });
  }

  /**
   * Builds an index of `count` documents. `textOf` is called once per row, in row order, and the texts are
   * not kept.
   *
   * @throws UsageError for an unknown option
   */
  static build(count: number, textOf: (row: number) => string, options: TfIdfOptions = {}): TfIdf {
    checkOptions(TERM_OPTIONS, options, INDEXING_NAMES);
    const tokenize = tokenizerFor(options);
    return new TfIdf(collectPostings(count, textOf, tokenize, options.onProgress), tokenize);
  }
}
