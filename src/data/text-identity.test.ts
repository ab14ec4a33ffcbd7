import { describe, expect, it } from 'vitest';
import { comparableText, TextIdentity } from './text-identity.ts';

const identity = (documents: readonly string[], queries: readonly string[]) =>
  new TextIdentity({
    documents: documents.length,
    document: (row) => documents[row]!,
    queries: queries.length,
    query: (row) => queries[row]!,
  });

describe('comparableText', () => {
  it.each([
    ['Paris is  big\nand\told ', 'paris is big and old'],
    ['PARIS\u00a0IS\u3000BIG\u0085', 'Paris is big'],
    ['Cafe\u0301', 'CAFÉ'],
    ['Straße', 'STRASSE'],
    ['ΟΔΟΣ', 'οδοσ'],
    ['ﬁne', 'FINE'],
    ['İstanbul', 'i\u0307stanbul'],
  ])('is equal for %j and %j', (a, b) => {
    expect(comparableText(a)).toBe(comparableText(b));
    expect(comparableText(a)).not.toBe('');
  });

  it.each([
    ['C', 'C++'],
    ['isi', 'ısı'],
    ['no where', 'nowhere'],
    ['resume', 'résumé'],
  ])('differs for %j and %j', (a, b) => {
    expect(comparableText(a)).not.toBe(comparableText(b));
  });
});

describe('TextIdentity', () => {
  const texts = identity(
    ['git reset', 'ls', 'Git  Reset', 'undo it', 'git revert', 'other'],
    ['undo it?', 'list', 'Undo it', 'UNDO IT', 'undo it?'],
  );

  it('finds copies, twins, and documents with the text of a query', () => {
    expect([0, 1, 2, 3].map((row) => texts.copies(row))).toEqual([[0, 2], [], [0, 2], []]);
    expect([0, 1, 2, 3, 4].map((row) => texts.twins(row))).toEqual([[0, 4], [], [2, 3], [2, 3], [0, 4]]);
    expect([0, 1, 2, 3, 4].map((row) => texts.ownDocuments(row))).toEqual([[], [], [3], [3], []]);
  });

  it('lists as right answers those of all queries of the text, their copies, and the own text', () => {
    const positives = [[0], [1], [5], [], [4]].map((rows) => Int32Array.from(rows));
    const right = texts.rightAnswers((query) => positives[query]!);
    expect([0, 1, 2, 3, 4].map((query) => [...right(query)])).toEqual([
      [0, 2, 4],
      [1],
      [3, 5],
      [3, 5],
      [0, 2, 4],
    ]);
    // No list is made anew where nothing is repeated.
    expect(right(1)).toBe(positives[1]);
  });

  it('takes texts of equal tokens for the same, side by side', () => {
    const tokens = (rows: readonly number[][]) => ({
      rows: rows.length,
      tokens: (row: number) => rows[row]!,
    });
    const found = new TextIdentity(
      {
        documents: 4,
        document: (row) => ['a', 'b', 'B', 'c'][row]!,
        queries: 3,
        query: (row) => ['c', 'd', 'e'][row]!,
      },
      { documents: tokens([[1], [2], [3], [1]]), queries: tokens([[1], [9], [9]]) },
    );
    expect([0, 1, 2, 3].map((row) => found.copies(row))).toEqual([
      [0, 3],
      [1, 2],
      [1, 2],
      [0, 3],
    ]);
    expect(found.ownDocuments(0)).toEqual([0, 3]);
    expect(found.twins(1)).toEqual([1, 2]);
    expect(found.ownDocuments(1)).toEqual([]);
  });
});
