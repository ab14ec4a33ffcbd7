import { randomInts, rngKey } from '../src/util/rng.ts';

/**
 * Makes a damaged copy of a file's bytes: number `index` of a reproducible series. A copy has one to three of
 * these faults: flipped bits, overwritten bytes, inflated integers, truncation, and lost, doubled or inserted
 * stretches.
 */
export function damage(bytes: Uint8Array, index: number): Uint8Array {
  const draws = new Uint32Array(16);
  randomInts(rngKey(1, index, 'damage'), 2 ** 32, draws);
  let next = 0;
  const below = (bound: number) => draws[next++]! % Math.max(1, bound);
  let result = Buffer.from(bytes);
  for (let times = 1 + below(3); times > 0; times--) {
    const at = below(result.length);
    const length = 1 + below(16);
    const kind = below(8);
    if (result.length === 0 || kind === 0) result[at]! ^= 1 << (length % 8);
    else if (kind === 1) result[at] = [0, 0x7f, 0x80, 0xff][length % 4]!;
    else if (kind === 2) result.subarray(at, at + length).fill(0xff);
    else if (kind === 3) result = Buffer.from(result.subarray(0, at));
    else if (kind === 4) result = Buffer.concat([result.subarray(0, at), result.subarray(at + length)]);
    else if (kind === 5) result = Buffer.concat([result.subarray(0, at + length), result.subarray(at)]);
    else if (kind === 6) result[at] = (result[at]! + length) & 0xff;
    else result = Buffer.concat([result.subarray(0, at), Buffer.alloc(length, '9'), result.subarray(at)]);
  }
  return result;
}
