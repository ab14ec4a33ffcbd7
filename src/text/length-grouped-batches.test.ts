import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { sharedData } from '../../test/shared-data.ts';
import { UsageError } from '../util/errors.ts';
import { lengthGroupedBatches } from './length-grouped-batches.ts';
import { TokenStore } from './token-store.ts';
import { Tokenizer } from './tokenizer.ts';

/** Numbers in [0, 1) from a linear congruential generator. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function shuffled(count: number, random: () => number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Share of padding among the positions of the batches. */
function paddingRatio(lengths: ArrayLike<number>, batches: ArrayLike<number>[]): number {
  let positions = 0;
  let tokens = 0;
  for (const batch of batches) {
    const each = Array.from(batch, (row) => lengths[row]!);
    positions += each.length * Math.max(...each);
    tokens += each.reduce((sum, length) => sum + length, 0);
  }
  return 1 - tokens / positions;
}

function inOrder(order: Uint32Array, batchSize: number): Uint32Array[] {
  return Array.from({ length: Math.ceil(order.length / batchSize) }, (_, i) =>
    order.subarray(i * batchSize, (i + 1) * batchSize),
  );
}

describe('lengthGroupedBatches', () => {
  const random = randomNumbers(3);
  // Log-normal lengths, as those of paragraphs.
  const lengths = Int32Array.from({ length: 5003 }, () => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return Math.max(3, Math.round(Math.exp(4.5 + 0.6 * normal)));
  });
  const order = shuffled(lengths.length, random);

  it('holds every row once, in batches of the size asked for', () => {
    const batches = lengthGroupedBatches(lengths, order, { batchSize: 32 });
    expect(batches.flatMap((batch) => Array.from(batch)).sort((x, y) => x - y)).toEqual(
      Array.from(lengths.keys()),
    );
    expect(batches.map((batch) => batch.length).sort((x, y) => x - y)).toEqual([11, ...Array(156).fill(32)]);
  });

  it('pads little where batches in shuffled order pad much', () => {
    expect(paddingRatio(lengths, inOrder(order, 32))).toBeGreaterThan(0.5);
    expect(paddingRatio(lengths, lengthGroupedBatches(lengths, order, { batchSize: 32 }))).toBeLessThan(0.12);
  });

  it('is the same for the same permutation, and another for another', () => {
    const once = lengthGroupedBatches(lengths, order, { batchSize: 32 });
    expect(lengthGroupedBatches(lengths, order.slice(), { batchSize: 32 })).toEqual(once);
    const other = lengthGroupedBatches(lengths, shuffled(lengths.length, random), { batchSize: 32 });
    expect(other).not.toEqual(once);
  });

  it('is not ordered by length, and mixes within windows only', () => {
    const batches = lengthGroupedBatches(lengths, order, { batchSize: 32, windowBatches: 50 });
    const longest = batches
      .slice(0, 50)
      .map((batch) => Math.max(...Array.from(batch, (row) => lengths[row]!)));
    const rises = longest.slice(1).filter((length, i) => length > longest[i]!).length;
    expect(rises).toBeGreaterThan(12);
    expect(rises).toBeLessThan(37);
    const first = batches.slice(0, 50).flatMap((batch) => Array.from(batch));
    expect(first.sort((x, y) => x - y)).toEqual(Array.from(order.subarray(0, 1600)).sort((x, y) => x - y));
  });

  it('can leave out the rows that do not fill a batch', () => {
    const batches = lengthGroupedBatches(lengths, order, { batchSize: 32, dropLast: true });
    expect(batches.every((batch) => batch.length === 32)).toBe(true);
    const left = new Set(order.subarray(0, 156 * 32));
    expect(batches.every((batch) => batch.every((row) => left.has(row)))).toBe(true);
    expect(lengthGroupedBatches([], new Uint32Array(0), { batchSize: 4 })).toEqual([]);
  });

  it('refuses sizes below one and unknown rows', () => {
    expect(() => lengthGroupedBatches(lengths, order, { batchSize: 0 })).toThrow(UsageError);
    expect(() => lengthGroupedBatches(lengths, order, { batchSize: 4, windowBatches: 0 })).toThrow(
      'windowBatches',
    );
    expect(() => lengthGroupedBatches([1, 2], Uint32Array.of(0, 2), { batchSize: 4 })).toThrow(
      'row 2 of the order',
    );
  });

  const [fairytales, bert] = [sharedData('fairytaleqa'), sharedData('tokenizers/bert-base-uncased')];
  it.skipIf(fairytales === undefined || bert === undefined)(
    'pads less than 15 % of real text (skipped without ../shared/data)',
    () => {
      const lines = gunzipSync(readFileSync(join(fairytales!, 'corpus.jsonl.gz')))
        .toString()
        .trim()
        .split('\n');
      const textOf = (row: number) => (JSON.parse(lines[row]!) as { text: string }).text;
      const tokenizer = Tokenizer.fromFile(join(bert!, 'tokenizer.json'));
      const store = TokenStore.build(tokenizer, lines.length, textOf, { maxTokens: 512 });
      const rows = shuffled(store.rows, random);
      expect(paddingRatio(store.lengths, inOrder(rows, 32))).toBeGreaterThan(0.4);
      expect(
        paddingRatio(store.lengths, lengthGroupedBatches(store.lengths, rows, { batchSize: 32 })),
      ).toBeLessThan(0.05);
    },
  );
});
