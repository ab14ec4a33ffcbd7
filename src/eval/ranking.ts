import { UndriftError } from '../util/errors.ts';

/** Retrieved document with its score; higher is better. */
export interface ScoredDocument {
  readonly docId: string;
  readonly score: number;
}

/** Retrieved documents by query id, in any order: the scores alone decide the ranking. */
export type Run = ReadonlyMap<string, readonly ScoredDocument[]>;

/**
 * Ranks documents as trec_eval 9 does: by descending score *as float32*, ties by descending document id in
 * UTF-8 byte order.
 *
 * Two scores that are equal as float32 are a tie, whatever the order in which they were returned. A rank
 * column is ignored. (trec_eval 10, of 2026, compares doubles and is otherwise the same.)
 *
 * @returns the array itself if it already is in this order, otherwise a sorted copy
 * @throws UndriftError for a NaN score
 */
export function rankDocuments(documents: readonly ScoredDocument[]): readonly ScoredDocument[] {
  const count = documents.length;
  const scores = new Float32Array(count);
  let sorted = true;
  for (let i = 0; i < count; i++) {
    const { docId, score } = documents[i]!;
    if (Number.isNaN(score)) {
      throw new UndriftError(`the score of document "${docId}" is not a number`, {
        help: 'NaN scores come from a model that diverged or from a division by a zero norm',
      });
    }
    scores[i] = score;
    if (i > 0 && sorted) {
      const previous = scores[i - 1]!;
      const current = scores[i]!;
      sorted =
        previous > current || (previous === current && compareUtf8(documents[i - 1]!.docId, docId) > 0);
    }
  }
  if (sorted) return documents;
  const order = Array.from({ length: count }, (_, i) => i);
  order.sort((a, b) => {
    const x = scores[a]!;
    const y = scores[b]!;
    if (x !== y) return x > y ? -1 : 1;
    return compareUtf8(documents[b]!.docId, documents[a]!.docId);
  });
  return order.map((i) => documents[i]!);
}

/**
 * Compares two strings as C's `strcmp` compares their UTF-8 bytes, which is code-point order.
 *
 * JavaScript's `<` compares UTF-16 units, which puts surrogates (code points above U+FFFF) before
 * U+E000…U+FFFF. Swapping these two ranges gives code-point order.
 *
 * @returns a negative number, 0 or a positive number, as for `Array.prototype.sort`
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return codePointRank(x) - codePointRank(y);
  }
  return a.length - b.length;
}

function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Computes the mean share of each query's best documents of one run that are among as many best of another, from 0 to 1. */
export function sharedBest(run: Run, other: Run, depth: number): number {
  let sum = 0;
  for (const [query, documents] of run) {
    const others = new Set((other.get(query) ?? []).slice(0, depth).map(({ docId }) => docId));
    const best = documents.slice(0, depth);
    sum += best.filter(({ docId }) => others.has(docId)).length / Math.max(1, best.length);
  }
  return sum / Math.max(1, run.size);
}
