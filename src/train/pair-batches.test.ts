import { expect, it } from 'vitest';
import type { TrainingExamples } from '../data/examples.ts';
import type { TokenStore } from '../text/token-store.ts';
import { Batches } from './pair-batches.ts';

const examples = (count: number): TrainingExamples => ({
  queryRows: Int32Array.from({ length: count }, (_, i) => i),
  positives: {
    offsets: Uint32Array.from({ length: count + 1 }, (_, i) => i),
    rows: Int32Array.from({ length: count }, (_, i) => i),
    grades: new Float32Array(count).fill(1),
  },
});
const make = (count: number, batchSize: number) =>
  new Batches(examples(count), {} as TokenStore, { batchSize, negativesPerQuery: 0, seed: 1 });

it.each([
  [
    1,
    2,
    /the data has only one training query, and a batch has at least 2\n {2}help: give more training data/,
  ],
  [1, 128, /only one training query/],
  [3, 4, /a batch of 4 is more than the 3 training queries\n.*batchSize: 2 or less/],
  [160, 500, /a batch of 500 is more than the 160 training queries\n.*batchSize: 64 or less/],
])('of %i queries in batches of %i: an error whose advice can be followed', (count, batchSize, message) => {
  expect(() => make(count, batchSize)).toThrow(message);
});

it('takes all queries as one batch', () => {
  expect(make(2, 2).perEpoch).toBe(1);
});
