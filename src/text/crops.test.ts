import { describe, expect, it } from 'vitest';
import { type CropOptions, Crops, LEAST_DOCUMENT_TOKENS } from './crops.ts';
import { TokenStore } from './token-store.ts';

const FRAMES = {
  query: { before: Int32Array.of(1001, 1002), after: Int32Array.of(1003), room: 40 },
  document: { before: Int32Array.of(1001), after: Int32Array.of(1003), room: 60 },
};
const OPTIONS: CropOptions = {
  task: 'independent',
  minRatio: 0.1,
  maxRatio: 0.5,
  window: 100,
  deleteRatio: 0,
  removeRatio: 1,
};

/** Documents whose tokens are their places, from 0; every tenth ends a sentence. */
const LENGTHS = Int32Array.of(LEAST_DOCUMENT_TOKENS, 20, 100, 400);
const store = TokenStore.of(
  LENGTHS,
  Int32Array.from([...LENGTHS].flatMap((length) => Array.from({ length }, (_, i) => i))),
);
const sentenceEnds = Uint8Array.from({ length: 400 }, (_, token) => (token % 10 === 9 ? 1 : 0));
const crops = (options: Partial<CropOptions> = {}, { seed = 1, frames = FRAMES } = {}) =>
  new Crops(store, { frames, options: { ...OPTIONS, ...options }, seed, sentenceEnds });

const ROWS = Int32Array.from({ length: 200 }, (_, i) => i % LENGTHS.length);

/** Tokens inside the frames, row by row, once the frames were found whole. */
function inside(side: keyof typeof FRAMES, tokens: TokenStore): number[][] {
  const { before, after, room } = FRAMES[side];
  return Array.from({ length: tokens.rows }, (_, i) => {
    const all = [...tokens.tokens(i)];
    expect(all.slice(0, before.length)).toEqual([...before]);
    expect(all.slice(all.length - after.length)).toEqual([...after]);
    const own = all.slice(before.length, all.length - after.length);
    expect(own.length).toBeGreaterThan(0);
    expect(own.length).toBeLessThanOrEqual(room);
    return own;
  });
}

const isRun = (tokens: number[]) => tokens.every((token, i) => token === tokens[0]! + i);
const all = (from: Crops, draw = 0) => {
  const { queries, documents } = from.cut(ROWS, draw);
  return { queries: inside('query', queries), documents: inside('document', documents) };
};

describe('independent crops', () => {
  it('are spans of the document, of lengths that the shares allow, all over it', () => {
    const { queries, documents } = all(crops());
    for (const [side, spans] of [
      [FRAMES.query, queries],
      [FRAMES.document, documents],
    ] as const) {
      for (const [i, span] of spans.entries()) {
        const size = Math.min(100, LENGTHS[ROWS[i]!]!);
        expect(isRun(span)).toBe(true);
        expect(span.at(-1)).toBeLessThan(LENGTHS[ROWS[i]!]!);
        expect(span.length).toBeGreaterThanOrEqual(Math.max(4, 0.1 * size));
        expect(span.length).toBeLessThanOrEqual(Math.min(side.room, Math.max(4, 0.5 * size)));
      }
      // The longest document has its window anywhere.
      const long = spans.filter((_, i) => ROWS[i] === 3);
      expect(Math.min(...long.map((span) => span[0]!))).toBeLessThan(60);
      expect(Math.max(...long.map((span) => span.at(-1)!))).toBeGreaterThan(340);
      const lengths = long.map((span) => span.length);
      expect(Math.max(...lengths) - Math.min(...lengths)).toBeGreaterThan(20);
    }
    for (const [i, query] of queries.entries()) {
      const both = [...query, ...documents[i]!];
      expect(Math.max(...both) - Math.min(...both)).toBeLessThan(100);
    }
  });

  it('delete tokens at the rate asked for, and never all', () => {
    const kept = (deleteRatio: number) =>
      all(crops({ deleteRatio })).documents.reduce((sum, { length }) => sum + length, 0);
    const whole = kept(0);
    expect(kept(0.3) / whole).toBeGreaterThan(0.66);
    expect(kept(0.3) / whole).toBeLessThan(0.74);
    for (const span of all(crops({ deleteRatio: 0.3 })).queries)
      expect(span.every((token, i) => i === 0 || token > span[i - 1]!)).toBe(true);
    expect(all(crops({ deleteRatio: 0.999 })).queries.every(({ length }) => length > 0)).toBe(true);
  });

  it('differ from draw to draw and from seed to seed, and can be repeated', () => {
    const first = all(crops());
    expect(all(crops())).toEqual(first);
    for (const other of [all(crops(), 1), all(crops({}, { seed: 2 }))]) {
      const same = other.queries.filter((span, i) => span.join() === first.queries[i]!.join());
      // Documents of the least length have few spans.
      expect(same.length).toBeLessThan(40);
    }
  });

  it('fit where there is hardly room', () => {
    const narrow = { ...FRAMES.query, room: 1 };
    for (const task of ['independent', 'inverse-cloze'] as const) {
      const { queries, documents } = crops({ task }, { frames: { query: narrow, document: narrow } }).cut(
        ROWS,
        0,
      );
      for (const side of [queries, documents])
        expect([...side.lengths].every((n) => n === 3 || n === 4)).toBe(true);
    }
  });
});

describe('the inverse cloze task', () => {
  const task = 'inverse-cloze';

  it('takes a sentence, and its text without it', () => {
    const { queries, documents } = all(crops({ task }));
    for (const [i, query] of queries.entries()) {
      const length = LENGTHS[ROWS[i]!]!;
      const size = Math.min(FRAMES.document.room, length);
      expect(isRun(query)).toBe(true);
      expect(documents[i]!.some((token) => query.includes(token))).toBe(false);
      const both = [...query, ...documents[i]!].sort((a, b) => a - b);
      expect(isRun(both)).toBe(true);
      expect(both).toHaveLength(size);
      // A sentence that fits into the window and the shares is taken whole.
      const whole = query[0]! % 10 === 0 && query.length === 10;
      const atEdge = query[0] === both[0] || query.at(-1) === both.at(-1);
      if (length > 20) expect(whole || atEdge).toBe(true);
    }
    const wholes = queries.filter((query) => query[0]! % 10 === 0 && query.length === 10);
    expect(wholes.length).toBeGreaterThan(60);
  });

  it('keeps the sentence in the document at the rate asked for', () => {
    const { queries, documents } = all(crops({ task, removeRatio: 0.7 }));
    const removed = queries.filter((query, i) => !documents[i]!.includes(query[0]!)).length;
    expect(removed / queries.length).toBeGreaterThan(0.6);
    expect(removed / queries.length).toBeLessThan(0.8);
  });

  it('takes a part of a sentence that is too long', () => {
    const { queries } = all(crops({ task, minRatio: 0.05, maxRatio: 0.1 }));
    const parts = queries.filter((_, i) => LENGTHS[ROWS[i]!]! >= 100);
    for (const { length } of parts) expect([4, 5, 6]).toContain(length);
    // Only the ends of a window hold less of a sentence.
    expect(parts.filter(({ length }) => length === 6).length).toBeGreaterThan(0.7 * parts.length);
  });
});
