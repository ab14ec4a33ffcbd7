import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { damage } from '../../test/damage.ts';
import { DataError } from '../util/errors.ts';
import { decodeModel } from './decode.ts';
import { encodeModel } from './encode.ts';

it.each(['raw.onnx', 'typed.onnx'])('damaged bytes of %s are read or refused with a DataError', (name) => {
  const bytes = readFileSync(new URL(`fixtures/${name}`, import.meta.url));
  let refused = 0;
  for (let index = 0; index < 5000; index++) {
    const damaged = damage(bytes, index);
    try {
      // A model that is accepted must be complete, so that it can be encoded again.
      encodeModel(decodeModel(damaged, name));
    } catch (error) {
      if (!(error instanceof DataError)) throw new Error(`case ${index}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(1000);
  expect(refused).toBeLessThan(5000);
});
