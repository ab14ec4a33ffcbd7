import { describe, expect, it } from 'vitest';
import { textWindows, windowsOf } from './text-windows.ts';

const ids = (n: number) => Int32Array.from({ length: n }, (_, i) => i);
const cut = (n: number, window: number, stride: number) =>
  [...windowsOf(ids(n), { window, stride }, 'd')].map((segment) => ({
    read: [...segment.ids],
    scored: [...segment.ids.subarray(segment.from)],
  }));

/** Straight form of the loop of transformers' page on perplexity: labels before the last `scored` tokens are hidden, then shifted. */
function asTransformers(n: number, window: number, stride: number) {
  const windows = [];
  for (let begin = 0, before = 0; begin < n; begin += stride) {
    const end = Math.min(begin + window, n);
    const read = [...ids(n).subarray(begin, end)];
    const labelled = read.slice(read.length - (end - before));
    windows.push({ read, scored: labelled.filter((token) => token !== begin) });
    before = end;
    if (end === n) break;
  }
  return windows.filter(({ scored }) => scored.length > 0);
}

describe('windowsOf', () => {
  it.each([
    [10, 4, 4],
    [10, 4, 2],
    [9, 4, 4],
    [8, 4, 4],
    [11, 5, 3],
    [11, 5, 1],
    [3, 5, 5],
    [2, 5, 2],
  ])('reads and scores what transformers does: %i tokens, window %i, stride %i', (n, window, stride) => {
    expect(cut(n, window, stride)).toEqual(asTransformers(n, window, stride));
  });

  it('scores every token but the first once where windows overlap', () => {
    expect(cut(23, 8, 3).flatMap(({ scored }) => scored)).toEqual([...ids(23).subarray(1)]);
  });

  it('scores nothing of a document without a context', () => {
    expect(cut(1, 4, 4)).toEqual([]);
    expect(cut(0, 4, 4)).toEqual([]);
  });
});

describe('textWindows', () => {
  it('fills in defaults by the model', () => {
    expect(textWindows({})).toEqual({ window: 1024, stride: 1024 });
    expect(textWindows({}, 512)).toEqual({ window: 512, stride: 512 });
    expect(textWindows({ window: 64 }, 512)).toEqual({ window: 64, stride: 64 });
  });

  it.each([
    [{ window: 1 }, 'window must be a whole number of at least 2, found 1'],
    [{ window: 600 }, 'window: 600 is more than the 512 tokens that the model reads'],
    [{ stride: 0 }, 'stride must be a whole number of at least 1, found 0'],
    [{ window: 8, stride: 9 }, 'stride: 9 is more than window: 8'],
  ])('refuses %j', (given, message) => {
    expect(() => textWindows(given, 512)).toThrow(message);
  });
});
