import { expect, it } from 'vitest';
import { readerAgreement } from './reader-agreement.ts';

it('compares two distributions over the candidates of each query', () => {
  const queries = [
    // P = (3/4, 1/4), Q = (1/4, 3/4).
    { retriever: [0.1 * Math.log(3), 0], reader: [-2, -2 + 0.5 * Math.log(3)] },
    // A single candidate.
    { retriever: [0.3], reader: [-1] },
  ];
  const found = readerAgreement(queries, { temperature: 0.1, readerTemperature: 0.5 });
  const own = -2 + 0.25 * 0.5 * Math.log(3);
  expect(found.expectedScore).toBeCloseTo((own - 1) / 2, 12);
  expect(found.teacherAgreement).toBe(0.5);
  expect(found.teacherDivergence).toBeCloseTo((0.25 * Math.log(1 / 3) + 0.75 * Math.log(3)) / 2, 12);
  const entropy = -(0.25 * Math.log(0.25) + 0.75 * Math.log(0.75)) / Math.log(2);
  expect(found.teacherEntropy).toBeCloseTo(entropy / 2, 12);
});

it('is finite for scores far apart', () => {
  const queries = [{ retriever: [1000, -1000, 3], reader: [-900, -1, -5000] }];
  const found = readerAgreement(queries, { temperature: 0.01, readerTemperature: 0.01 });
  for (const value of Object.values(found)) expect(Number.isFinite(value)).toBe(true);
  expect(found.expectedScore).toBe(-900);
});
