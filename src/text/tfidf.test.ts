import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TfIdf, type TfIdfOptions } from './tfidf.ts';

/** Cosines of scikit-learn's TfidfVectorizer, by `tools/reference/tfidf_golden.py`. */
const golden = JSON.parse(readFileSync(new URL('./fixtures/tfidf.json', import.meta.url), 'utf8')) as {
  documents: string[];
  queries: string[];
  terms: string[][];
  cosines: number[][];
};

/** Terms of scikit-learn's default pattern `(?u)\b\w\w+\b`; a word character of Python is a letter, a number or _. */
const pythonWords = (text: string): readonly string[] =>
  text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];

const build = (docs: readonly string[], options: TfIdfOptions = {}) =>
  TfIdf.build(docs.length, (row) => docs[row]!, options);

describe('TfIdf', () => {
  it('has the cosines of scikit-learn, given the terms of scikit-learn', () => {
    expect(golden.documents.map(pythonWords)).toEqual(golden.terms);
    const index = build(golden.documents, { tokenize: pythonWords });
    for (const [q, query] of golden.queries.entries()) {
      const { rows, scores } = index.search(query, golden.documents.length);
      const found = new Array<number>(golden.documents.length).fill(0);
      for (const [i, row] of rows.entries()) found[row] = scores[i]!;
      for (const [row, cosine] of golden.cosines[q]!.entries()) expect(found[row]).toBeCloseTo(cosine, 6);
      // Descending scores; equal ones by ascending row, unless another order is given.
      const order = [...rows].sort((x, y) => found[y]! - found[x]! || x - y);
      expect([...rows]).toEqual(order);
      const reversed = index.search(query, golden.documents.length, { ties: (x, y) => y - x });
      expect([...reversed.rows]).toEqual([...rows].sort((x, y) => found[y]! - found[x]! || y - x));
      // A shorter list is the head of a longer one.
      expect(index.search(query, 2).rows).toEqual(rows.slice(0, 2));
    }
  });

  it('agrees with two documents computed by hand, with terms of its own', () => {
    // "a" is in both documents (idf 1), "b" in one (idf ln(3/2) + 1).
    const idf = Math.log(3 / 2) + 1;
    const index = build(['a b', 'A']);
    const { rows, scores } = index.search('b a', 5);
    expect([...rows]).toEqual([0, 1]);
    expect(scores[0]).toBeCloseTo(1, 6);
    expect(scores[1]).toBeCloseTo(1 / Math.hypot(1, idf), 6);
    expect([...build(['running', 'walk'], { stem: true }).search('runs', 5).rows]).toEqual([0]);
  });

  it('takes no constants of BM25', () => {
    expect(() => build(['a'], { k1: 1 } as object)).toThrow('unknown option "k1"');
    expect(() => build(['a'], { stem: true, tokenize: pythonWords })).toThrow(
      'stem has no meaning with tokenize',
    );
    expect(build([]).search('a', 3).rows.length).toBe(0);
  });
});
