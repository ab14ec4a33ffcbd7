import type { Progress } from '../util/progress.ts';
import { ownString } from './own-string.ts';
import { TermIds } from './term-ids.ts';

/** Terms of N documents, in the order of the documents. V is the number of distinct terms, P that of postings. */
export interface TermPostings {
  /** Numbers of the terms, 0 … V − 1. */
  readonly termIds: TermIds;
  /** Terms of each document, counted with repetition, u32[N]. */
  readonly lengths: Uint32Array;
  /** Distinct terms of document 0, then of document 1, …, u32[≥ P]; document r ends at `rowEnds[r]`. */
  readonly terms: Uint32Array;
  /** Occurrences of each of these terms in its document, u32[≥ P]. */
  readonly frequencies: Uint32Array;
  /** End of each document in `terms` and `frequencies`, f64[N]. */
  readonly rowEnds: Float64Array;
}

/** Counts the terms of each document. `textOf` is called once per row, in row order. */
export function collectPostings(
  count: number,
  textOf: (row: number) => string,
  tokenize: (text: string) => readonly string[],
  onProgress: ((progress: Progress) => void) | undefined,
): TermPostings {
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
