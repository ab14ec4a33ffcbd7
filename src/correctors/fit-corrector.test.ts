import { expect, it } from 'vitest';
import { mapRows, randomNumbers, unit, unitRows } from '../../test/planted-drift.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { squaredDistance } from '../util/vector-rows.ts';
import type { CorrectorKind } from './corrector.ts';
import { errorSplit } from './error-split.ts';
import { type FitOptions, fitCorrector } from './fit-corrector.ts';

const D = 8;
const compute = { threads: 1 };
const turned = (x: Float32Array) =>
  mapRows(x, D, (row) =>
    row.map((v, j) => v + 0.3 * row[(j + 3) % D]! + 1.5 * row[(j + 1) % D]! * row[(j + 2) % D]!),
  );
const stale = unitRows(400, D, 'fit');
const pairs = { stale, fresh: turned(stale), queries: unitRows(200, D, 'queries').map((x) => 10 * x) };
const test = unitRows(300, D, 'unseen');

async function fit(kind: CorrectorKind, options: Partial<FitOptions> = {}, from = pairs) {
  const corrector = await fitCorrector(kind, from, { dimension: D, compute, ...options });
  try {
    return await corrector.correct(hostTensor('f32', [300, D], test));
  } finally {
    await corrector.dispose();
  }
}
const error = (corrected: Float32Array) => squaredDistance(corrected, turned(test)) / 300;

it('for non-linear drift, a fitted mlp has less error than ridge, and ridge less than no corrector', async () => {
  const errors = {
    identity: error(await fit('identity')),
    ridge: error(await fit('ridge')),
    mlp: error(await fit('mlp', { steps: 400, learningRate: 1e-2, hidden: 64 })),
  };
  expect(errors.mlp).toBeLessThan(0.6 * errors.ridge);
  expect(errors.ridge).toBeLessThan(errors.identity);
});

it('mlp keeps the parameters with the least held-out error; on noise, the initial ones', async () => {
  const from = unitRows(100, D, 'a');
  const noise = randomNumbers(100 * D, 'b');
  const fresh = unit(
    from.map((v, i) => v + 0.05 * noise[i]!),
    D,
  );
  // Updates of this size only do harm.
  const corrected = await fit(
    'mlp',
    { steps: 60, learningRate: 1, loss: 'kl' },
    { ...pairs, stale: from, fresh },
  );
  expect(squaredDistance(corrected, test)).toBeLessThan(1e-10);
});

it('same pairs, options and seed: same bits', async () => {
  const options = { steps: 20, batchSize: 64, seed: 3 };
  const first = await fit('mlp', options);
  expect(await fit('mlp', options)).toEqual(first);
  expect(await fit('mlp', { ...options, seed: 4 })).not.toEqual(first);
});

it('a closed form takes all pairs, not only the latest', async () => {
  expect(await fit('ridge', { reservoir: 10 })).toEqual(await fit('ridge'));
});

it('refuses a fit of no steps', async () => {
  await expect(fit('mlp', { steps: 0 })).rejects.toThrow(
    'steps should be a whole number of at least 1, found 0',
  );
});

it('splits an error into mean shift, linear part and rest', async () => {
  const rows = unitRows(2000, D, 'split');
  const part = { shift: 0.2, linear: 0.3, noise: 0.15 };
  const noise = randomNumbers(2000 * D, 'noise');
  const fresh = unit(
    rows.map((v, i) => {
      const j = i % D;
      const next = rows[i - j + ((j + 1) % D)]!;
      return v + (part.shift + part.linear * next * Math.sqrt(D) + part.noise * noise[i]!) / Math.sqrt(D);
    }),
    D,
  );
  const split = await errorSplit({ stale: rows, fresh }, { dimension: D, compute });
  expect(split.meanShiftRatio + split.linearRatio + split.restRatio).toBeCloseTo(1, 9);
  const total = part.shift ** 2 + part.linear ** 2 + part.noise ** 2;
  // Unit length bends it, and takes away what is along the embedding.
  expect(Math.abs(split.meanShiftRatio - part.shift ** 2 / total)).toBeLessThan(0.08);
  expect(Math.abs(split.linearRatio - part.linear ** 2 / total)).toBeLessThan(0.08);
  expect(Math.abs(split.restRatio - part.noise ** 2 / total)).toBeLessThan(0.08);
  await expect(errorSplit({ stale: rows, fresh: rows }, { dimension: D, compute })).rejects.toThrow(
    'nothing to split',
  );
});
