import { expect, it } from 'vitest';
import { type Run, sharedBest } from './ranking.ts';

const run = (rankings: Record<string, string>): Run =>
  new Map(
    Object.entries(rankings).map(([query, ids]) => [
      query,
      [...ids].map((docId, i) => ({ docId, score: -i })),
    ]),
  );

it('counts the best documents that two runs share, whatever their order', () => {
  const one = run({ q: 'abcd', r: 'xy' });
  expect(sharedBest(one, run({ q: 'badc', r: 'xy' }), 2)).toBe(1);
  expect(sharedBest(one, run({ q: 'acbd', r: 'zx' }), 2)).toBe(0.5);
  expect(sharedBest(one, run({ q: 'abcd' }), 4)).toBe(0.5);
  expect(sharedBest(run({}), one, 4)).toBe(0);
});
