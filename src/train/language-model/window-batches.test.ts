import { describe, expect, it } from 'vitest';
import { PackedWindows } from '../../text/packed-windows.ts';
import { TokenStore } from '../../text/token-store.ts';
import {
  chainBatcher,
  consecutiveBatcher,
  documentGroups,
  groupBatcher,
  longBatcher,
  randomBatcher,
  type WindowBatcher,
} from './window-batcher.ts';
import { WindowBatches } from './window-batches.ts';

const lengths = Int32Array.from({ length: 53 }, (_, i) => 1 + ((i * 11) % 23));
const total = lengths.reduce((a, b) => a + b, 0);
const store = TokenStore.of(
  lengths,
  Int32Array.from({ length: total }, (_, i) => 10 + i),
);
const windows = new PackedWindows(store, { window: 8, start: 1, end: 2 });
const pieces = new PackedWindows(store, { window: 8, start: 1, end: 2, share: false });
const tokens = ({ ids }: { readonly ids: Int32Array }) => [...ids].filter((id) => id >= 10);

/** Neighbours of window i: windows i ± 7, i ± 14, … */
const K = 6;
const neighbours = {
  k: K,
  windows: Int32Array.from({ length: windows.count * K }, (_, at) => {
    const [i, n] = [Math.floor(at / K), at % K];
    const near = i + 7 * (n % 2 === 0 ? 1 : -1) * (1 + Math.floor(n / 2));
    return near >= 0 && near < windows.count ? near : -1;
  }),
};

const KINDS: Record<string, { windows: PackedWindows; batcher: (seed: number) => WindowBatcher }> = {
  random: { windows, batcher: (seed) => randomBatcher(windows.lengths, { batchSize: 4, seed }) },
  consecutive: {
    windows: pieces,
    batcher: (seed) => consecutiveBatcher(pieces.documentRows, { batchSize: 4, seed, run: 3 }),
  },
  chains: { windows, batcher: (seed) => chainBatcher(neighbours, { batchSize: 4, seed }) },
};

describe.each(Object.entries(KINDS))('batches: %s', (_, { windows, batcher }) => {
  const batches = (seed: number) => new WindowBatches(windows, batcher(seed));

  it('every epoch trains on every token, in an order of its own', () => {
    const { perEpoch } = batches(1);
    const source = batches(1);
    const epochs = [0, 1, 2].map((epoch) =>
      Array.from({ length: perEpoch }, (_, i) => source.batch(epoch * perEpoch + i)),
    );
    for (const epoch of epochs) {
      expect(new Set(epoch.flatMap(tokens)).size).toBe(total);
      expect(epoch.reduce((sum, each) => sum + each.predictions, 0)).toBe(windows.predictions);
      for (const { batch } of epoch) expect(batch).toBeLessThanOrEqual(4);
    }
    expect(epochs[0]!.map(tokens)).not.toEqual(epochs[1]!.map(tokens));
  });

  it('a batch depends on seed and number alone', () => {
    const forward = batches(7);
    const all = Array.from({ length: 3 * forward.perEpoch }, (_, i) => forward.batch(i));
    for (const number of [2 * forward.perEpoch + 1, 0, forward.perEpoch - 1, forward.perEpoch])
      expect(batches(7).batch(number)).toEqual(all[number]);
    expect(Array.from({ length: 5 }, (_, i) => batches(8).batch(i))).not.toEqual(all.slice(0, 5));
  });

  it('an epoch has equally many batches with any seed', () => {
    for (let seed = 0; seed < 10; seed++) {
      const made = batcher(seed);
      for (const epoch of [0, 1, 5]) {
        const found = made.batches(epoch);
        expect(found).toHaveLength(made.perEpoch);
        expect(found.flatMap((each) => Array.from(each)).sort((a, b) => a - b)).toEqual(
          Array.from({ length: windows.count }, (_, i) => i),
        );
      }
    }
  });
});

it('random batches are full, but for the last', () => {
  const { perEpoch } = randomBatcher(windows.lengths, { batchSize: 4, seed: 1 });
  expect(perEpoch).toBe(Math.ceil(windows.count / 4));
});

it.each([1, 2, 3, 4])('runs of %i consecutive windows stand in order in one batch', (run) => {
  const documents = pieces.documentRows;
  const first = (i: number) => documents.indexOf(documents[i]!);
  const batches = consecutiveBatcher(documents, { batchSize: 4, seed: 3, run }).batches(1);
  for (const batch of batches) {
    const list = Array.from(batch);
    for (const [at, window] of list.entries()) {
      // Window n of a document follows window n − 1, unless a run begins with it.
      if ((window - first(window)) % run !== 0) expect(list[at - 1]).toBe(window - 1);
    }
  }
});

describe('batches of long sequences', () => {
  // Sequences of 1 to 7 windows.
  const sizes = Array.from({ length: 23 }, (_, i) => 1 + ((i * 5) % 7));
  const sequences = sizes.flatMap((size, i) => new Array<number>(size).fill(10 + i));
  const batcher = longBatcher(sequences, { batchSize: 4, seed: 3 });

  it('have whole sequences with their windows in order, each once an epoch', () => {
    for (const epoch of [0, 1, 9]) {
      const found = batcher.batches(epoch);
      expect(found).toHaveLength(batcher.perEpoch);
      for (const batch of found) {
        const list = Array.from(batch);
        const rows = [...new Set(list.map((window) => sequences[window]!))];
        expect(rows.length).toBeLessThanOrEqual(4);
        const whole = rows.flatMap((row) =>
          [...sequences.keys()].filter((window) => sequences[window] === row),
        );
        expect(list).toEqual(whole);
      }
      const all = found.flatMap((each) => Array.from(each));
      expect(all.sort((a, b) => a - b)).toEqual([...sequences.keys()]);
    }
    expect(batcher.batches(0)).not.toEqual(batcher.batches(1));
  });

  it('depend on seed and epoch alone, and have sequences of similar length', () => {
    const again = longBatcher(sequences, { batchSize: 4, seed: 3 });
    expect(again.batches(5)).toEqual(batcher.batches(5));
    expect(longBatcher(sequences, { batchSize: 4, seed: 4 }).batches(5)).not.toEqual(batcher.batches(5));
    const spread = batcher.batches(0).map((batch) => {
      const own = [...new Set(Array.from(batch, (window) => sequences[window]! - 10))].map(
        (row) => sizes[row]!,
      );
      return Math.max(...own) - Math.min(...own);
    });
    expect(Math.max(...spread)).toBeLessThanOrEqual(3);
  });
});

it('a chain goes to the nearest window that is left, and jumps where there is none', () => {
  // Batches of all windows are one chain.
  const [chain] = chainBatcher(neighbours, { batchSize: windows.count, seed: 5 }).batches(0);
  const list = Array.from(chain!);
  let followed = 0;
  for (let at = 1; at < list.length; at++) {
    const used = new Set(list.slice(0, at));
    const own = neighbours.windows.subarray(list[at - 1]! * K, (list[at - 1]! + 1) * K);
    const nearest = [...own].find((each) => each >= 0 && !used.has(each));
    if (nearest === undefined) continue;
    expect(list[at]).toBe(nearest);
    followed += 1;
  }
  expect(followed).toBeGreaterThan(list.length / 2);
  expect(followed).toBeLessThan(list.length - 1);
});

describe('documentGroups', () => {
  it('cuts each document into groups of its own, as equal as possible, and leaves single windows out', () => {
    const documents = [0, 0, 0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3];
    expect(documentGroups(documents, 4)).toEqual([
      [0, 1],
      [2, 3, 4],
      [6, 7],
      [8, 9, 10],
      [11, 12, 13],
      [14, 15, 16],
    ]);
    expect(documentGroups([], 4)).toEqual([]);
  });

  it('gives every group once an epoch, in orders that differ', () => {
    const groups = documentGroups(
      Array.from({ length: 60 }, (_, i) => Math.floor(i / 3)),
      4,
    );
    const batcher = groupBatcher(groups, { seed: 1 });
    expect(batcher.perEpoch).toBe(20);
    const epochs = [0, 1].map((epoch) => batcher.batches(epoch).map((each) => [...Array.from(each)]));
    for (const each of epochs) expect([...each].sort((a, b) => a[0]! - b[0]!)).toEqual(groups);
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(batcher.batches(0).map((each) => [...Array.from(each)])).toEqual(epochs[0]);
    // Three groups a batch: the same order, and two groups in the last batch.
    const shared = groupBatcher(groups, { seed: 1, share: 3 });
    expect(shared.perEpoch).toBe(7);
    const together = shared.batches(0).map((each) => [...Array.from(each)]);
    expect(together.flat()).toEqual(epochs[0]!.flat());
    expect(together.map(({ length }) => length)).toEqual([9, 9, 9, 9, 9, 9, 6]);
  });
});
