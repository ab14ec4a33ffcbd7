import { COMMON_RANGES } from '../util/common-options.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOption, checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { BM25_OPTIONS, TERM_OPTIONS } from './bm25-options.ts';
import { termsOf } from './index-terms.ts';
import { ownString } from './own-string.ts';
import { RowHeap, type RowOrder } from './row-heap.ts';
import { TermIds } from './term-ids.ts';

/** Settings of a BM25 index. */
export interface Bm25Options extends GivenOptions<typeof BM25_OPTIONS> {
  /** Splits a text into index terms; used for documents and queries alike. Default {@link bm25Terms}. */
  tokenize?: ((text: string) => readonly string[]) | undefined;
  /** Called after every 1,024th document. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Options that are no values. */
const CALLER_OPTIONS = ['tokenize', 'onProgress'] as const satisfies readonly (keyof Bm25Options)[];

const TERM_NAMES = Object.keys(TERM_OPTIONS) as (keyof typeof TERM_OPTIONS)[];

/** Ranked result of one query, best first: `scores[i]` belongs to corpus row `rows[i]`. */
export interface Bm25Result {
  /** Corpus rows, best first, at most k. */
  rows: Int32Array;
  /** Scores of the rows, descending. */
  scores: Float32Array;
}

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
 * BM25S). A query adds up short lists of float32 impacts, starting with the terms of the largest possible
 * impact. Once the remaining terms cannot lift an unseen document into the top k, only documents that can
 * still win are looked up in the remaining, long lists (MaxScore; Turtle and Flood 1995). This pruning
 * changes no score and no rank.
 */
export class Bm25 {
  /** Saturation of the term frequency. */
  readonly k1: number;
  /** Strength of the length normalisation. */
  readonly b: number;
  /** Number of documents N. */
  readonly rows: number;
  /** Mean number of terms of a document. */
  readonly averageLength: number;
  readonly #tokenize: (text: string) => readonly string[];
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

  private constructor(
    postings: Postings,
    tokenize: (text: string) => readonly string[],
    k1: number,
    b: number,
  ) {
    const { termIds, lengths, terms, frequencies, rowEnds } = postings;
    const N = lengths.length;
    const V = termIds.size;
    this.k1 = k1;
    this.b = b;
    this.rows = N;
    this.#tokenize = tokenize;
    this.#termIds = termIds;
    this.averageLength = N === 0 ? 0 : lengths.reduce((sum, length) => sum + length, 0) / N;

    const offsets = new Uint32Array(V + 1);
    const P = N === 0 ? 0 : rowEnds[N - 1]!;
    for (let p = 0; p < P; p++) offsets[terms[p]! + 1]! += 1;
    for (let t = 0; t < V; t++) offsets[t + 1]! += offsets[t]!;

    const inverseDocumentFrequency = new Float64Array(V);
    for (let t = 0; t < V; t++) {
      const df = offsets[t + 1]! - offsets[t]!;
      inverseDocumentFrequency[t] = Math.log(1 + (N - df + 0.5) / (df + 0.5));
    }

    // Documents come in row order, so every term's postings end up sorted by row.
    const next = offsets.slice(0, V);
    const postingRows = new Uint32Array(P);
    const impacts = new Float32Array(P);
    const maxImpacts = new Float32Array(V);
    for (let row = 0, p = 0; row < N; row++) {
      const norm = k1 * (1 - b + (b * lengths[row]!) / this.averageLength);
      for (const end = rowEnds[row]!; p < end; p++) {
        const term = terms[p]!;
        const tf = frequencies[p]!;
        const at = next[term]!;
        next[term] = at + 1;
        postingRows[at] = row;
        impacts[at] = inverseDocumentFrequency[term]! * (tf / (tf + norm));
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

  /**
   * Builds an index of `count` documents. `textOf` is called once per row, in row order, and the texts are
   * not kept.
   *
   * @throws UsageError for an unknown option, and when k1 or b is out of range
   */
  static build(count: number, textOf: (row: number) => string, options: Bm25Options = {}): Bm25 {
    checkOptions(BM25_OPTIONS, options, CALLER_OPTIONS);
    const { k1, b, ...terms } = optionValues(BM25_OPTIONS, { ...options });
    const { tokenize = termsOf(terms), onProgress } = options;
    for (const name of TERM_NAMES) {
      if (options.tokenize === undefined || terms[name] === TERM_OPTIONS[name].default) continue;
      throw new UsageError(`${option(name)} has no meaning with tokenize`, {
        help: `call bm25Terms(text, { ${name} }) in your own function`,
      });
    }
    return new Bm25(collectPostings(count, textOf, tokenize, onProgress), tokenize, k1, b);
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
  search(query: string, topK: number, options: { ties?: RowOrder | undefined } = {}): Bm25Result {
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
  searchMany(queries: readonly string[], topK: number): Bm25Result[] {
    return queries.map((query) => this.search(query, topK));
  }

  /** Looks up the query's known terms, in descending order of their largest possible contribution. */
  #queryTerms(query: string): QueryTerm[] {
    const weights = new Map<number, number>();
    for (const word of this.#tokenize(query)) {
      const term = this.#termIds.get(word);
      if (term !== undefined) weights.set(term, (weights.get(term) ?? 0) + 1);
    }
    return Array.from(weights, ([term, weight]) => ({
      term,
      weight,
      bound: this.#maxImpacts[term]! * weight,
    })).sort((x, y) => y.bound - x.bound || x.term - y.term);
  }

  /**
   * Adds terms `from`, `from + 1`, … to the touched rows that can still enter the top k. `best` holds the
   * present top k.
   */
  #finish(
    terms: readonly QueryTerm[],
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

interface QueryTerm {
  term: number;
  /** Occurrences in the query. */
  weight: number;
  /** Largest score that the term can add to a document. */
  bound: number;
}

interface Postings {
  termIds: TermIds;
  /** Terms of each document, counted with repetition. */
  lengths: Uint32Array;
  /** Distinct terms of document 0, then of document 1, …; document r ends at rowEnds[r]. */
  terms: Uint32Array;
  frequencies: Uint32Array;
  rowEnds: Float64Array;
}

function collectPostings(
  count: number,
  textOf: (row: number) => string,
  tokenize: (text: string) => readonly string[],
  onProgress: ((progress: Progress) => void) | undefined,
): Postings {
  const termIds = new TermIds();
  const lengths = new Uint32Array(count);
  const rowEnds = new Float64Array(count);
  let terms = new Uint32Array(1 << 16);
  let frequencies = new Uint32Array(1 << 16);
  /**
   * Position of each term's last posting; out of date when it lies before the start of the current document.
   */
  let lastAt = new Float64Array(1 << 16).fill(-1);
  let size = 0;
  for (let row = 0; row < count; row++) {
    const words = tokenize(textOf(row));
    lengths[row] = words.length;
    const start = size;
    if (size + words.length > terms.length) {
      const capacity = Math.max(2 * terms.length, size + words.length);
      terms = grown(terms, new Uint32Array(capacity));
      frequencies = grown(frequencies, new Uint32Array(capacity));
    }
    for (const word of words) {
      let term = termIds.get(word);
      if (term === undefined) {
        term = termIds.add(ownString(word));
        if (term >= lastAt.length) lastAt = grown(lastAt, new Float64Array(2 * lastAt.length).fill(-1));
      }
      const at = lastAt[term]!;
      if (at >= start) {
        frequencies[at]! += 1;
      } else {
        lastAt[term] = size;
        terms[size] = term;
        frequencies[size++] = 1;
      }
    }
    rowEnds[row] = size;
    if ((row + 1) % 1024 === 0)
      onProgress?.({ stage: 'index documents', done: row + 1, total: count, unit: 'texts' });
  }
  return { termIds, lengths, terms, frequencies, rowEnds };
}

function grown<A extends Uint32Array | Float64Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
