import { describe, expect, it } from 'vitest';
import { permutation, randomInts, rngKey } from '../util/rng.ts';
import { findPositions } from './find-slots.ts';

describe('findPositions', () => {
  it.each([
    { length: 1, values: 1 },
    { length: 5, values: 40 },
    { length: 3000, values: 7 },
    { length: 3000, values: 10_000 },
  ])('agrees with indexOf: $values values in $length', ({ length, values }) => {
    const array = Int32Array.from(permutation(rngKey(1, length, 'array'), 2 * length).subarray(0, length));
    for (let n = 0; n < length; n += 3) array[n] = -1;
    const wanted = new Int32Array(values);
    randomInts(rngKey(1, values, 'values'), 2 * length, wanted);
    expect([...findPositions(array, wanted)]).toEqual([...wanted].map((value) => array.indexOf(value)));
  });

  it('finds values whose hashes are neighbours, and large ones', () => {
    // Multiples of the inverse of the hash's factor fall into one place after the other.
    const inverse = 0x144cbc89;
    const values = Array.from({ length: 100 }, (_, i) => Math.imul(inverse, i) >>> 1);
    const array = Int32Array.from([-1, 2 ** 31 - 1, ...values.slice(1), 0]);
    const wanted = [0, 2 ** 31 - 1, ...values.slice(1), 12_345];
    expect([...findPositions(array, wanted)]).toEqual(wanted.map((value) => array.indexOf(value)));
  });

  it('of no values is empty', () => {
    expect(findPositions(Int32Array.of(1, 2), [])).toHaveLength(0);
    expect([...findPositions(new Int32Array(0), [3])]).toEqual([-1]);
  });
});
