import { describe, expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { PackedWindows, type PackingOptions, type WindowBatch } from './packed-windows.ts';
import { TokenStore } from './token-store.ts';

const START = 1;
const END = 2;

/** Documents whose tokens all differ: token t of document d is 100 (d + 1) + t. */
function store(lengths: readonly number[]): TokenStore {
  const tokens = lengths.flatMap((length, d) => Array.from({ length }, (_, t) => 100 * (d + 1) + t));
  return TokenStore.of(Int32Array.from(lengths), Int32Array.from(tokens));
}

/** Pairs of a predicted token and the tokens that it may see, by the places of the batch. */
function predictions({ ids, documents, mask, batch, tokens }: WindowBatch): [number, number[]][] {
  const found: [number, number[]][] = [];
  for (let place = 0; place < batch * tokens; place++) {
    // A token is predicted from the one before it in its piece.
    const isFirst = place % tokens === 0 || documents[place] !== documents[place - 1];
    if (isFirst || mask[place] === 0) continue;
    const row = Math.floor(place / tokens) * tokens;
    const seen = [...ids.subarray(row, place)].filter((_, i) => documents[row + i] === documents[place]);
    found.push([ids[place]!, seen]);
  }
  return found;
}

describe('packed windows', () => {
  const lengths = [0, 3, 30, 1, 8, 7, 6, 0, 2, 2, 2, 16, 15, 14];
  it.each<[string, PackingOptions]>([
    ['start and end tokens', { window: 8, start: START, end: END }],
    ['without sharing', { window: 8, start: START, end: END, share: false }],
    ['no start token', { window: 8, end: END }],
    ['neither', { window: 5 }],
    ['windows of two tokens', { window: 2, start: START, end: END }],
  ])('predict every token once, after tokens of its own document alone: %s', (_, options) => {
    const documents = store(lengths);
    const windows = new PackedWindows(documents, options);
    const all = Array.from({ length: windows.count }, (_, i) => windows.batch([i]));
    const found = all.flatMap(predictions);
    const before = options.start === undefined ? [] : [options.start];
    const after = options.end === undefined ? [] : [options.end];
    const expected: number[] = [];
    for (let row = 0; row < documents.rows; row++) {
      const sequence = [...before, ...documents.tokens(row), ...after];
      expected.push(...sequence.slice(1));
    }
    const sorted = (list: number[]) => [...list].sort((a, b) => a - b);
    expect(sorted(found.map(([token]) => token))).toEqual(sorted(expected));
    expect(windows.predictions).toBe(expected.length);
    for (const [token, seen] of found) {
      expect(seen.length).toBeGreaterThan(0);
      const own = seen.filter((each) => each >= 100).map((each) => Math.floor(each / 100));
      // All seen tokens belong to one document, that of the token, and stand right before it.
      expect(new Set(token >= 100 ? [...own, Math.floor(token / 100)] : own).size).toBeLessThan(2);
      if (token >= 100 && seen.at(-1)! >= 100) expect(seen.at(-1)).toBe(token - 1);
      if (token >= 100 && seen.at(-1)! < 100) expect([seen, token % 100]).toEqual([[START], 0]);
    }
    for (const { tokens } of all) expect(tokens).toBeLessThanOrEqual(options.window);
    // Rows and positions name each token: the sequence of the document has it there.
    const sequences = lengths.map((_, row) => [...before, ...documents.tokens(row), ...after]);
    for (const { ids, mask, rows, positions } of all) {
      for (const [place, row] of rows.entries()) {
        if (mask[place] === 0) expect(row).toBe(-1);
        else expect(ids[place]).toBe(sequences[row]![positions[place]!]);
      }
    }
  });

  it('cut long documents with one token in common, and share windows among short ones', () => {
    const windows = new PackedWindows(store([9, 2, 1]), { window: 8, start: START, end: END });
    expect([...windows.lengths]).toEqual([8, 8, 3]);
    const { ids, documents, mask, predictions } = windows.batch([0, 1, 2]);
    expect([...ids.subarray(0, 8)]).toEqual([START, 100, 101, 102, 103, 104, 105, 106]);
    // The rest of the first document, and the whole second one.
    expect([...ids.subarray(8, 16)]).toEqual([106, 107, 108, END, START, 200, 201, END]);
    expect([...documents.subarray(8, 16)]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    expect(predictions).toBe(7 + 6 + 2);
    expect([...ids.subarray(16)]).toEqual([START, 300, END, 0, 0, 0, 0, 0]);
    expect([...mask.subarray(16)]).toEqual([1, 1, 1, 0, 0, 0, 0, 0]);
  });

  it('can be made of some documents', () => {
    const windows = new PackedWindows(store([3, 2, 1]), { window: 8, end: END, rows: [2, 0] });
    expect([...windows.batch([0]).ids]).toEqual([300, END, 100, 101, 102, END]);
    expect(windows.predictions).toBe(4);
  });

  it('fill nearly all places of many documents', () => {
    const many = Array.from({ length: 2000 }, (_, i) => 1 + ((i * 7919) % 61));
    const windows = new PackedWindows(store(many), { window: 64, start: START, end: END });
    const total = windows.lengths.reduce((a, b) => a + b, 0);
    expect(total / (64 * windows.count)).toBeGreaterThan(0.98);
  });

  it('are none of documents without tokens', () => {
    const windows = new PackedWindows(store([0, 0]), { window: 8, start: START });
    expect([windows.count, windows.predictions]).toEqual([0, 0]);
    expect(() => new PackedWindows(store([1]), { window: 1 })).toThrow(UsageError);
  });
});
