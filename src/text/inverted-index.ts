import { COMMON_RANGES } from '../util/common-options.ts';
import { checkOption } from '../util/option-table.ts';
import { RowHeap, type RowOrder } from './row-heap.ts';
import type { TermIds } from './term-ids.ts';
import type { TermPostings } from './term-postings.ts';

/** Ranked result of one query, best first: `scores[i]` belongs to corpus row `rows[i]`. */
export interface RankedRows {
  /** Corpus rows, best first, at most k. */
  rows: Int32Array;
  /** Scores of the rows, descending. */
  scores: Float32Array;
}

/** Known term of a query. */
export interface QueryTerm {
  /** Number of the term. */
  readonly term: number;
  /** Factor of the weights that the term has in documents. At first the occurrences in the query. */
  weight: number;
}

/** Weights by which an index scores documents: score(q, d) = Σ over terms of query weight · document weight. */
export interface Weighting {
  /** Weight > 0 of a term in the document `row`, by its frequency there. */
  document(term: number, frequency: number, row: number): number;
  /** Sets the weights > 0 of a query's terms, in place. Default: their occurrences. */
  query?(terms: readonly QueryTerm[]): void;
}

/** Index of documents by their terms, from which {@link Bm25} and {@link TfIdf} are made. */
export abstract class InvertedIndex {
  /** Number of documents N. */
  readonly rows: number;
  readonly #tokenize: (text: string) => readonly string[];
  readonly #weighting: Weighting;
  readonly #termIds: TermIds;
  /** Postings in compressed sparse rows: term t owns [offsets[t], offsets[t + 1]), ascending by document row. */
  readonly #offsets: Uint32Array;
  readonly #postingRows: Uint32Array;
  readonly #impacts: Float32Array;
  readonly #maxImpacts: Float32Array;
  /**
   * Running scores of one query, float32[N]; all zero between queries. `#touched` lists the rows with a
   * score.
   */
  readonly #scores: Float32Array;
  readonly #touched: Uint32Array;

  /**
   * @param tokenize  splits queries into terms, as the documents were split
   * @param weighting  makes the weights from the number of documents of each term
   */
  protected constructor(
    postings: TermPostings,
    tokenize: (text: string) => readonly string[],
    weighting: (documentsOf: (term: number) => number) => Weighting,
  ) {
    const { termIds, lengths, terms, frequencies, rowEnds } = postings;
    const N = lengths.length;
    const V = termIds.size;
    this.rows = N;
    this.#tokenize = tokenize;
    this.#termIds = termIds;

    const offsets = new Uint32Array(V + 1);
    const P = N === 0 ? 0 : rowEnds[N - 1]!;
    for (let p = 0; p < P; p++) offsets[terms[p]! + 1]! += 1;
    for (let t = 0; t < V; t++) offsets[t + 1]! += offsets[t]!;
    this.#weighting = weighting((term) => offsets[term + 1]! - offsets[term]!);

    // Documents come in row order, so every term's postings end up sorted by row.
    const next = offsets.slice(0, V);
    const postingRows = new Uint32Array(P);
    const impacts = new Float32Array(P);
    const maxImpacts = new Float32Array(V);
    for (let row = 0, p = 0; row < N; row++) {
      for (const end = rowEnds[row]!; p < end; p++) {
        const term = terms[p]!;
        const at = next[term]!;
        next[term] = at + 1;
        postingRows[at] = row;
        impacts[at] = this.#weighting.document(term, frequencies[p]!, row);
        if (impacts[at]! > maxImpacts[term]!) maxImpacts[term] = impacts[at]!;
      }
    }
    this.#offsets = offsets;
    this.#postingRows = postingRows;
    this.#impacts = impacts;
    this.#maxImpacts = maxImpacts;
    this.#scores = new Float32Array(N);
    this.#touched = new Uint32Array(N);
  }

  /** Number of distinct terms. */
  get terms(): number {
    return this.#termIds.size;
  }

  /** Number of (term, document) pairs. */
  get postings(): number {
    return this.#postingRows.length;
  }

  /** Bytes of the typed arrays (the term dictionary not counted). */
  get bytes(): number {
    return 8 * this.postings + 8 * this.terms + 8 * this.rows;
  }

  /**
   * Finds the `topK` best rows of a query, by descending score.
   *
   * @param options.ties  order of rows with equal scores, which also decides which of them are cut; default
   *   ascending
   * @throws UsageError when `topK` is not a whole number ≥ 1
   */
  search(query: string, topK: number, options: { ties?: RowOrder | undefined } = {}): RankedRows {
    checkOption('topK', COMMON_RANGES.topK, topK);
    const offsets = this.#offsets;
    const postingRows = this.#postingRows;
    const impacts = this.#impacts;
    const scores = this.#scores;
    const touched = this.#touched;
    const k = Math.min(topK, this.rows);
    const best = new RowHeap(k, options.ties);

    const terms = this.#queryTerms(query);
    // reach[i]: the most that terms i, i + 1, … can add to the score of a document.
    const reach = new Float64Array(terms.length + 1);
    for (let i = terms.length - 1; i >= 0; i--) reach[i] = reach[i + 1]! + terms[i]!.bound;
    // Float32 sums are rounded: n additions err by less than n · 2⁻²⁴ of the sum. Thresholds are lowered by
    // twice that.
    const slack = 1 - (terms.length + 2) * 2 ** -23;

    let touchedCount = 0;
    let i = 0;
    for (; i < terms.length; i++) {
      const { term, weight } = terms[i]!;
      const start = offsets[term]!;
      const end = offsets[term + 1]!;
      // Finding the threshold costs a pass over the touched rows, which pays off only before a longer posting
      // list.
      if (touchedCount >= k && end - start > touchedCount) {
        best.fill(scores, touched, touchedCount);
        if (reach[i]! < best.worstScore * slack) break;
      }
      for (let p = start; p < end; p++) {
        const row = postingRows[p]!;
        if (scores[row] === 0) touched[touchedCount++] = row;
        scores[row]! += impacts[p]! * weight;
      }
    }

    if (i === terms.length) best.fill(scores, touched, touchedCount);
    else this.#finish(terms, i, reach, slack, touchedCount, best);
    for (let j = 0; j < touchedCount; j++) scores[touched[j]!] = 0;
    return best.take();
  }

  /** Runs {@link search} for each query and returns the results in the order of the queries. */
  searchMany(queries: readonly string[], topK: number): RankedRows[] {
    return queries.map((query) => this.search(query, topK));
  }

  /** Looks up the query's known terms, in descending order of their largest possible contribution. */
  #queryTerms(query: string): BoundedTerm[] {
    const counts = new Map<number, number>();
    for (const word of this.#tokenize(query)) {
      const term = this.#termIds.get(word);
      if (term !== undefined) counts.set(term, (counts.get(term) ?? 0) + 1);
    }
    const terms = Array.from(counts, ([term, weight]) => ({ term, weight, bound: 0 }));
    this.#weighting.query?.(terms);
    for (const known of terms) known.bound = this.#maxImpacts[known.term]! * known.weight;
    return terms.sort((x, y) => y.bound - x.bound || x.term - y.term);
  }

  /**
   * Adds terms `from`, `from + 1`, … to the touched rows that can still enter the top k. `best` holds the
   * present top k.
   */
  #finish(
    terms: readonly BoundedTerm[],
    from: number,
    reach: Float64Array,
    slack: number,
    touchedCount: number,
    best: RowHeap,
  ): void {
    const scores = this.#scores;
    const postingRows = this.#postingRows;
    const impacts = this.#impacts;
    const hasChance = (row: number, i: number) => scores[row]! + reach[i]! >= best.worstScore * slack;
    const candidates = this.#touched.slice(0, touchedCount).filter((row) => hasChance(row, from));
    candidates.sort();
    let candidateCount = candidates.length;
    for (let i = from; i < terms.length; i++) {
      const { term, weight } = terms[i]!;
      let low = this.#offsets[term]!;
      const end = this.#offsets[term + 1]!;
      if (end - low < 16 * candidateCount) {
        for (let p = low; p < end; p++) {
          const row = postingRows[p]!;
          if (scores[row] !== 0) scores[row]! += impacts[p]! * weight;
        }
      } else {
        for (let c = 0; c < candidateCount && low < end; c++) {
          const row = candidates[c]!;
          // Galloping search: candidates ascend, so each search starts where the last one ended.
          let high = low;
          for (let step = 1; high < end && postingRows[high]! < row; step *= 2) {
            low = high + 1;
            high += step;
          }
          if (high > end) high = end;
          while (low < high) {
            const middle = (low + high) >>> 1;
            if (postingRows[middle]! < row) low = middle + 1;
            else high = middle;
          }
          if (low < end && postingRows[low] === row) scores[row]! += impacts[low]! * weight;
        }
      }
      // The threshold has risen and the remaining terms can add less: drop candidates that can no longer win.
      best.fill(scores, candidates, candidateCount);
      let kept = 0;
      for (let c = 0; c < candidateCount; c++) {
        if (hasChance(candidates[c]!, i + 1)) candidates[kept++] = candidates[c]!;
      }
      candidateCount = kept;
    }
  }
}

interface BoundedTerm extends QueryTerm {
  /** Largest score that the term can add to a document. */
  bound: number;
}
