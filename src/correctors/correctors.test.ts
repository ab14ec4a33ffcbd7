import { afterEach, describe, expect, it } from 'vitest';
import { mapRows, orthogonal, product, randomNumbers, unit, unitRows } from '../../test/planted-drift.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { f16ToF32, f32ToF16 } from '../util/half.ts';
import { squaredDistance } from '../util/vector-rows.ts';
import { CORRECTOR_KINDS, type Corrector, type CorrectorKind } from './corrector.ts';
import type { CorrectorOptions } from './corrector-options.ts';
import { createCorrector } from './create-corrector.ts';

const D = 12;
const compute = { threads: 1 };
const made: Corrector[] = [];
afterEach(async () => {
  for (const corrector of made.splice(0)) await corrector.dispose();
});

async function create(kind: CorrectorKind, options: Partial<CorrectorOptions> = {}): Promise<Corrector> {
  const corrector = await createCorrector(kind, { dimension: D, compute, ...options });
  made.push(corrector);
  return corrector;
}
const rowsOf = (data: Float32Array<ArrayBuffer>, width = D): HostTensor =>
  hostTensor('f32', [data.length / width, width], data);
const meanDistance = (a: Float32Array, b: Float32Array, width = D): number =>
  squaredDistance(a, b) / (a.length / width);
/** Drift that is nearly affine, with a bend. */
const bent = (x: Float32Array): Float32Array =>
  mapRows(x, D, (row) => row.map((v, j) => v + 0.4 * Math.tanh(3 * row[(j + 1) % D]!) + 0.05 * (j % 3)));

const stale = unitRows(600, D, 'stale');
const test = unitRows(200, D, 'test');
const ages = Int32Array.from({ length: 600 }, (_, i) => i % 50);
const batchOf = (fresh: (x: Float32Array) => Float32Array, from = 0, rows = 300) => {
  const part = stale.slice(from * D, (from + rows) * D);
  return { stale: part, fresh: fresh(part), ages: ages.slice(from, from + rows) };
};

describe.each(CORRECTOR_KINDS)('corrector %s', (kind) => {
  it('is the identity at first', async () => {
    const corrector = await create(kind);
    const corrected = await corrector.correct(rowsOf(test));
    for (const [i, value] of corrected.entries()) expect(Math.abs(value - test[i]!)).toBeLessThan(2e-7);
  });

  it('reduces the error on unseen rows, which keep unit norm', async () => {
    const corrector = await create(kind, { learningRate: 1e-2 });
    for (let step = 1; step <= 60; step++) await corrector.learn(batchOf(bent), step);
    const corrected = await corrector.correct(rowsOf(test));
    const [before, after] = [meanDistance(test, bent(test)), meanDistance(corrected, bent(test))];
    if (kind === 'identity') expect(after).toBeCloseTo(before, 6);
    else expect(after).toBeLessThan(0.95 * before);
    for (let i = 0; i < corrected.length; i += D)
      expect(Math.hypot(...corrected.subarray(i, i + D))).toBeCloseTo(1, 5);
  });

  it('continues from a saved state to the bit, in learning and correcting', async () => {
    const options = { refitEvery: 3, reservoir: 450, seed: 5 };
    const [a, b] = [await create(kind, options), await create(kind, options)];
    for (let step = 1; step <= 4; step++) await a.learn(batchOf(bent, step * 20), step);
    const saved = Object.fromEntries(
      Object.entries(a.state()).map(([name, { dtype, dims, data }]) => [
        name,
        { dtype, dims, data: data.slice() },
      ]),
    );
    await b.learn(batchOf(bent, 200), 1);
    await b.restore(saved);
    expect(await b.correct(rowsOf(test))).toEqual(await a.correct(rowsOf(test)));
    for (let step = 5; step <= 7; step++) {
      const batch = batchOf(bent, step * 30);
      expect(await b.learn(batch, step)).toEqual(await a.learn(batch, step));
    }
    expect(await b.correct(rowsOf(test))).toEqual(await a.correct(rowsOf(test)));
    expect(b.state()).toEqual(a.state());
  });

  it('goes back to the identity with the state that it had at first', async () => {
    const corrector = await create(kind);
    const first = Object.fromEntries(
      Object.entries(corrector.state()).map(([name, tensor]) => [
        name,
        { ...tensor, data: tensor.data.slice() },
      ]),
    );
    await corrector.learn(batchOf(bent), 1);
    await corrector.restore(first);
    const corrected = await corrector.correct(rowsOf(test));
    expect(meanDistance(corrected, test)).toBeLessThan(1e-12);
  });

  it('treats f16 rows as their values in f32, and writes to the given array', async () => {
    const corrector = await create(kind);
    await corrector.learn(batchOf(bent), 1);
    const half = f32ToF16(test);
    const f16 = hostTensor('f16', [200, D], half as Uint16Array<ArrayBuffer>);
    const into = new Float32Array(200 * D);
    expect(await corrector.correct(f16, { into })).toBe(into);
    const values = f16ToF32(half) as Float32Array<ArrayBuffer>;
    expect(into).toEqual(await corrector.correct(rowsOf(values)));
  });

  it('accepts zero rows, and more rows than a piece', async () => {
    const corrector = await create(kind, { hidden: 2 ** 18 });
    expect((await corrector.correct(rowsOf(new Float32Array(0)))).length).toBe(0);
    if (kind !== 'mlp') return;
    const few = test.slice(0, 5 * D);
    expect(meanDistance(await corrector.correct(rowsOf(few)), few)).toBeLessThan(1e-12);
    // One row a piece: a run of eight, and three of one.
    const more = test.slice(0, 11 * D);
    expect(meanDistance(await corrector.correct(rowsOf(more)), more)).toBeLessThan(1e-12);
  });

  it('says which sizes do not fit, and what is not finite', async () => {
    const corrector = await create(kind);
    const broken = test.slice();
    broken[77] = Number.NaN;
    await expect(corrector.correct(rowsOf(broken))).rejects.toThrow('not finite');
    await expect(corrector.correct(rowsOf(test, 24))).rejects.toThrow('rows must be [rows, 12]');
    await expect(corrector.correct(rowsOf(test), { into: new Float32Array(5) })).rejects.toThrow(
      'into has 5',
    );
    await expect(corrector.correct(hostTensor('i32', [1, D], new Int32Array(D)))).rejects.toThrow('f16');
    const batch = batchOf(bent);
    const fresh = batch.fresh.subarray(1);
    await expect(corrector.learn({ ...batch, fresh }, 1)).rejects.toThrow('fresh ones');
    const notFinite = { ...batch, stale: batch.stale.map((x, i) => (i === 9 ? Number.NaN : x)) };
    await expect(corrector.learn(notFinite, 1)).rejects.toThrow('the stale embeddings');
    // No part of the invalid batch was kept.
    expect(meanDistance(await corrector.correct(rowsOf(test)), test)).toBeLessThan(1e-12);
  });
});

describe('options', () => {
  it.each([
    ['mlp', { hidden: 0 }, 'hidden should be a whole number from 1 to 1,048,576, found 0'],
    ['ridge', { ridge: 0 }, 'ridge should be a number above 0, found 0'],
    ['low-rank', { rank: 13 }, 'rank should be at most the dimension, 12, found 13'],
    ['mlp', { ages: 1.5 }, 'ages should be a whole number of at least 1, found 1.5'],
    ['mean-shift', { toDimension: 8 }, 'cannot become ones of 8'],
    ['low-rank', { toDimension: 8 }, 'cannot become ones of 8'],
    ['identity', { toDimension: 8 }, 'cannot become ones of 8'],
  ] as const)('%s %o: %s', async (kind, options, message) => {
    await expect(create(kind, options)).rejects.toThrow(message);
  });
});

/** Learns once and gives the error on rows that were not seen. */
async function recovered(
  kind: CorrectorKind,
  fresh: (x: Float32Array) => Float32Array,
  options: Partial<CorrectorOptions> = {},
): Promise<number> {
  const corrector = await create(kind, { ridge: 1e-4, ...options });
  await corrector.learn(batchOf(fresh, 0, 600), 1);
  return meanDistance(await corrector.correct(rowsOf(test)), fresh(test));
}

describe('closed forms recover a planted map', () => {
  const shift = randomNumbers(D, 'shift').map((x) => 0.1 * x);
  // Unit length again after a shift, so that a shift of the means is only nearly the planted one.
  it('mean-shift: a translation', async () => {
    const moved = (x: Float32Array) => mapRows(x, D, (row) => row.map((v, i) => v + shift[i]!));
    expect(await recovered('mean-shift', moved)).toBeLessThan(0.03 * meanDistance(test, moved(test)));
  });

  it('procrustes: a rotation', async () => {
    const rotation = orthogonal(D, D, 'rotation');
    const error = await recovered('procrustes', (x) => mapRows(x, D, (row) => product(rotation, row)));
    expect(error).toBeLessThan(1e-8);
  });

  it('procrustes keeps directions unchanged for which there is no evidence', async () => {
    const corrector = await create('procrustes');
    const one = new Float32Array(D);
    one[0] = 1;
    await corrector.learn({ stale: one, fresh: one }, 1);
    expect(meanDistance(await corrector.correct(rowsOf(test)), test)).toBeLessThan(1e-6);
  });

  it('ridge: an affine map, up to the bend by unit length', async () => {
    const matrix = randomNumbers(D * D, 'affine').map((x) => 0.05 * x);
    const affine = (x: Float32Array) =>
      mapRows(x, D, (row) => product(matrix, row).map((v, i) => v + row[i]! + 0.3 * shift[i]!));
    expect(await recovered('ridge', affine)).toBeLessThan(0.02 * meanDistance(test, affine(test)));
  });

  it('low-rank: a change of rank 2, which rank 1 cannot undo', async () => {
    const axes = orthogonal(2, D, 'axes');
    const changed = (x: Float32Array) =>
      mapRows(x, D, (row) => {
        const [a = 0, b = 0] = product(axes, row);
        return row.map((v, i) => v + 0.5 * a * axes[D + i]! - 0.4 * b * axes[i]!);
      });
    const stays = meanDistance(test, changed(test));
    expect(await recovered('low-rank', changed, { rank: 2 })).toBeLessThan(0.02 * stays);
    expect(await recovered('low-rank', changed, { rank: 1 })).toBeGreaterThan(0.1 * stays);
  });

  it('ridge stays near the identity with few pairs', async () => {
    const corrector = await create('ridge', { ridge: 1e3 });
    await corrector.learn(batchOf(bent, 0, 4), 1);
    const weight = corrector.state()['map/weight']!.data as Float32Array;
    const change = weight.map((v, i) => v - (i % (D + 1) === 0 ? 1 : 0));
    expect(Math.hypot(...change)).toBeLessThan(0.05);
  });
});

describe('mlp', () => {
  const queries = unitRows(16, D, 'queries').map((x) => 20 * x);

  it('follows a non-linear drift that ridge cannot', async () => {
    const turned = (x: Float32Array) =>
      mapRows(x, D, (row) => row.map((v, j) => v + 2 * row[(j + 1) % D]! * row[(j + 2) % D]!));
    const error = { ridge: 0, mlp: 0 };
    for (const kind of ['ridge', 'mlp'] as const) {
      const corrector = await create(kind, { hidden: 64, learningRate: 1e-2, loss: 'regression' });
      for (let step = 1; step <= 150; step++) await corrector.learn(batchOf(turned, 0, 600), step);
      error[kind] = meanDistance(await corrector.correct(rowsOf(test)), turned(test));
    }
    expect(error.mlp).toBeLessThan(0.6 * error.ridge);
  });

  it.each(['regression', 'kl', 'both'] as const)('learns by %s', async (loss) => {
    const corrector = await create('mlp', { loss, learningRate: 1e-2 });
    const figures: Record<string, number>[] = [];
    for (let step = 1; step <= 60; step++)
      figures.push(await corrector.learn({ ...batchOf(bent), queries }, step));
    const name = loss === 'regression' ? 'correctorError' : 'correctorKl';
    expect(figures.at(-1)![name]).toBeLessThan(0.3 * figures[0]![name]!);
  });

  it('the loss kl needs queries', async () => {
    const corrector = await create('mlp', { loss: 'kl' });
    await expect(corrector.learn(batchOf(bent), 1)).rejects.toThrow('needs queries');
  });

  it('leaves rows of age 0 where they are, and moves old ones further than young ones', async () => {
    const corrector = await create('mlp', { ages: 1000, learningRate: 1e-2, depth: 2 });
    const drift = ({ ages, stale }: ReturnType<typeof batchOf>) => {
      const full = bent(stale);
      const out = stale.map((v, i) => v + (full[i]! - v) * (ages[Math.floor(i / D)]! / 50));
      return { stale, ages, fresh: unit(out, D) };
    };
    for (let step = 1; step <= 120; step++) await corrector.learn(drift(batchOf(bent, 0, 600)), step);
    const at = async (age: number) =>
      await corrector.correct(rowsOf(test), { ages: new Int32Array(200).fill(age) });
    expect(meanDistance(await at(0), test)).toBeLessThan(1e-12);
    const moved = [meanDistance(await at(2), test), meanDistance(await at(40), test)];
    expect(moved[1]).toBeGreaterThan(3 * moved[0]!);
    expect(meanDistance(await at(45), bent(test))).toBeLessThan(0.3 * meanDistance(test, bent(test)));
    await expect(corrector.correct(rowsOf(test))).rejects.toThrow('as many ages');
  });

  it('same seed, same bits; another seed, others', async () => {
    const run = async (seed: number) => {
      const corrector = await create('mlp', { seed });
      for (let step = 1; step <= 3; step++) await corrector.learn({ ...batchOf(bent), queries }, step);
      return await corrector.correct(rowsOf(test));
    };
    const first = await run(1);
    expect(await run(1)).toEqual(first);
    expect(await run(2)).not.toEqual(first);
  });
});

describe('between models of different dimension', () => {
  const matrix = orthogonal(8, D, 'projection');
  const other = (x: Float32Array) =>
    mapRows(x, D, (row) => product(matrix, row).map((v) => v + 0.3 * Math.abs(v)));

  it.each(['ridge', 'procrustes', 'mlp'] as const)('%s fits, saves and comes back', async (kind) => {
    const sizes = { toDimension: 8, learningRate: 1e-2 };
    const corrector = await create(kind, sizes);
    await expect(corrector.correct(rowsOf(test))).rejects.toThrow('nothing has been fitted');
    for (let step = 1; step <= 100; step++) await corrector.learn(batchOf(other, 0, 600), step);
    const corrected = await corrector.correct(rowsOf(test));
    expect(corrected.length).toBe(200 * 8);
    const error = meanDistance(corrected, other(test), 8);
    expect(error).toBeLessThan({ ridge: 0.12, procrustes: 0.16, mlp: 0.06 }[kind]);
    const again = await create(kind, sizes);
    await again.restore(corrector.state());
    expect(await again.correct(rowsOf(test))).toEqual(corrected);
  });
});
