import { expect, it } from 'vitest';
import { PackedWindows } from '../../text/packed-windows.ts';
import { TokenStore } from '../../text/token-store.ts';
import { WindowBatches } from './window-batches.ts';

const lengths = Int32Array.from({ length: 53 }, (_, i) => 1 + ((i * 11) % 23));
const total = lengths.reduce((a, b) => a + b, 0);
const store = TokenStore.of(
  lengths,
  Int32Array.from({ length: total }, (_, i) => 10 + i),
);
const windows = new PackedWindows(store, { window: 8, start: 1, end: 2 });
const batches = (seed: number) => new WindowBatches(windows, { batchSize: 4, seed });
const tokens = ({ ids }: { readonly ids: Int32Array }) => [...ids].filter((id) => id >= 10);

it('every epoch trains on every token, in an order of its own', () => {
  const { perEpoch } = batches(1);
  expect(perEpoch).toBe(Math.ceil(windows.count / 4));
  const source = batches(1);
  const epochs = [0, 1, 2].map((epoch) =>
    Array.from({ length: perEpoch }, (_, i) => source.batch(epoch * perEpoch + i)),
  );
  for (const epoch of epochs) {
    expect(new Set(epoch.flatMap(tokens)).size).toBe(total);
    expect(epoch.reduce((sum, each) => sum + each.predictions, 0)).toBe(windows.predictions);
  }
  expect(epochs[0]!.map(tokens)).not.toEqual(epochs[1]!.map(tokens));
});

it('a batch depends on seed and number alone', () => {
  const forward = batches(7);
  const all = Array.from({ length: 3 * forward.perEpoch }, (_, i) => forward.batch(i));
  for (const number of [2 * forward.perEpoch + 1, 0, forward.perEpoch - 1, forward.perEpoch])
    expect(batches(7).batch(number)).toEqual(all[number]);
  expect(batches(8).batch(0)).not.toEqual(all[0]);
});
