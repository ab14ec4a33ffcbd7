import { expect, it } from 'vitest';
import { TextPieces } from './text-pieces.ts';
import { TokenStore } from './token-store.ts';

const texts = [[1, 50, 2, 3, 51, 52, 4], [5], [6, 53, 54, 55, 56, 57], [], [7, 8, 9, 10]];
const store = TokenStore.of(
  Int32Array.from(texts, ({ length }) => length),
  Int32Array.from(texts.flat()),
);
const continues = Uint8Array.from({ length: 60 }, (_, id) => (id >= 50 ? 1 : 0));
const piecesOf = (pieces: TextPieces) =>
  Array.from({ length: pieces.count }, (_, i) => [...pieces.tokens(i)]);

it('cuts texts before words, and longer words where a piece is full; every token is in one piece', () => {
  const pieces = new TextPieces(store, { most: 4, continues });
  expect(piecesOf(pieces)).toEqual([
    [1, 50, 2],
    [3, 51, 52, 4],
    [5],
    [6, 53, 54, 55],
    [56, 57],
    [7, 8, 9, 10],
  ]);
  expect([...pieces.rows]).toEqual([0, 0, 1, 2, 2, 4]);
  expect([...pieces.lengths]).toEqual([3, 4, 1, 4, 2, 4]);
  expect([0, 1, 2, 3, 4].map((i) => pieces.start(i))).toEqual([0, 3, 0, 0, 4]);
});

it('cuts the given rows only', () => {
  const pieces = new TextPieces(store, { most: 2, continues, rows: Int32Array.of(4, 1) });
  expect(piecesOf(pieces)).toEqual([[7, 8], [9, 10], [5]]);
});
