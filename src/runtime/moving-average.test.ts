import { afterAll, describe, expect, it } from 'vitest';
import { normal, rngKey } from '../util/rng.ts';
import { float32, hostTensor } from './host-tensor.ts';
import { MovingAverage } from './moving-average.ts';

/** Shapes of a model: short vectors, which are updated together, a scalar, and a table of several pieces. */
const SHAPES = { bias: [7], scale: [], 'table.weight': [300, 1100] };

const weightsOf = (number: number) =>
  Object.fromEntries(
    Object.entries(SHAPES).map(([name, dims]) => {
      const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
      normal(rngKey(1, number, name), data);
      return [name, hostTensor('f32', dims, data)];
    }),
  );

const averages: MovingAverage[] = [];
const create = async (...given: Parameters<typeof MovingAverage.create>) => {
  const average = await MovingAverage.create(...given);
  averages.push(average);
  return average;
};
afterAll(async () => {
  for (const average of averages) await average.dispose();
});

describe('MovingAverage', () => {
  it('follows the weights: m θ̄ + (1 − m) θ, every row of every tensor', async () => {
    const live = weightsOf(0);
    const average = await create(live, 0.9, { threads: 1 });
    const expected = Object.fromEntries(
      Object.entries(live).map(([name, tensor]) => [name, Float64Array.from(float32(tensor))]),
    );
    for (const number of [1, 2, 3]) {
      for (const [name, { data }] of Object.entries(weightsOf(number))) {
        float32(live[name]).set(data as Float32Array);
        const own = expected[name]!;
        for (let i = 0; i < own.length; i++) own[i] = 0.9 * own[i]! + 0.1 * Number(data[i]);
      }
      await average.update();
    }
    for (const [name, own] of Object.entries(expected)) {
      const found = float32(average.weights[name]);
      const largest = own.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i]!)), 0);
      expect(largest, name).toBeLessThan(1e-6);
      expect(float32(live[name])[0], `${name} itself stays`).toBe(float32(weightsOf(3)[name])[0]);
    }
  });

  it('starts where the weights are, and stays while they stay, to the bit', async () => {
    const live = weightsOf(0);
    const average = await create(live, 0.999, { threads: 1 });
    await average.update();
    for (const [name, { data }] of Object.entries(live)) {
      expect(Buffer.compare(bytes(average.weights[name]!.data), bytes(data)), name).toBe(0);
    }
  });

  it('without momentum it is the weights', async () => {
    const live = weightsOf(0);
    const average = await create(live, 0, { threads: 1 });
    for (const [name, { data }] of Object.entries(weightsOf(1)))
      float32(live[name]).set(data as Float32Array);
    await average.update();
    expect(bytes(average.weights['table.weight']!.data).equals(bytes(live['table.weight']!.data))).toBe(true);
  });

  it('goes on from what it was, and refuses what does not fit', async () => {
    const live = weightsOf(0);
    const [whole, parts] = [await create(live, 0.5), await create(live, 0.5)];
    float32(live.bias).fill(1);
    await whole.update();
    parts.restore(whole.weights);
    float32(live.bias).fill(2);
    await whole.update();
    await parts.update();
    expect(parts.weights.bias!.data).toEqual(whole.weights.bias!.data);
    expect(() =>
      parts.restore({ ...whole.weights, bias: hostTensor('f32', [1], Float32Array.of(0)) }),
    ).toThrow(/no tensor "bias" of 7 elements/);
    for (const momentum of [1, -0.1, Number.NaN]) {
      await expect(MovingAverage.create(live, momentum)).rejects.toThrow(/at least 0 and below 1/);
    }
  });
});

const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
