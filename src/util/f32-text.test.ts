import { expect, it } from 'vitest';
import { f32Text } from './f32-text.ts';
import { normal, rngKey, uniform } from './rng.ts';

it('gives numbers that are read as the same bits', () => {
  const values = new Float32Array(20_000);
  normal(rngKey(1, 0, 'text'), values, 0);
  const exponents = new Float32Array(10_000);
  uniform(rngKey(1, 0, 'exponents'), exponents);
  for (const [i, x] of exponents.entries()) values[i] = values[i]! * 2 ** (250 * (x - 0.5));
  values.set([0, -0, 2 ** -149, -(2 ** -126), 3.4028234663852886e38, 1 / 3, 16_777_216]);
  const read = Float32Array.from(JSON.parse(`[${Array.from(values, f32Text)}]`));
  expect(Buffer.from(read.buffer).equals(Buffer.from(values.buffer))).toBe(true);
  expect([0.1, -0, 1e-45].map((value) => f32Text(Math.fround(value)))).toEqual([
    '0.1',
    '-0',
    '1.40129846e-45',
  ]);
});
