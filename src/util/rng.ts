import { UsageError } from './errors.ts';

/**
 * Key of one sequence of reproducible random numbers. Each number depends on (seed, step, purpose, index)
 * only.
 *
 * The generator has no state to save. A resumed run draws the same numbers as an uninterrupted one, gradient
 * caching can draw the same dropout masks twice, and any slice of a sequence can be made alone (`offset`) or
 * on another thread.
 *
 * The bits come from Philox4x32-10: ten rounds of multiply-and-swap turn a 128-bit counter and a 64-bit key
 * into 128 random bits (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * They are set to
 *
 *     key     = seed (64 bits)
 *     counter = [block (64 bits), step (32 bits), hash of purpose (32 bits)]
 *
 * Two sequences with different seeds or steps therefore never share a counter under one key.
 */
export interface RngKey {
  /** Lower 32 bits of the seed, as a signed integer. */
  readonly seedLow: number;
  /** Upper 21 bits of the 53-bit seed. */
  readonly seedHigh: number;
  /** Step of the run. */
  readonly step: number;
  /** 32-bit hash of the name of the purpose. */
  readonly purpose: number;
}

/**
 * Makes the key of a random sequence for one purpose ("dropout/layer-3", "gumbel") in one step of a run.
 *
 * @param seed integer in [0, 2^53)
 * @param step integer in [0, 2^32)
 * @throws UsageError if seed or step is out of range.
 */
export function rngKey(seed: number, step: number, purpose: string): RngKey {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UsageError(`seed must be an integer from 0 to 2^53 - 1, found ${seed}`);
  }
  if (!Number.isInteger(step) || step < 0 || step >= 2 ** 32) {
    throw new UsageError(`the step of a random key must be an integer from 0 to 2^32 - 1, found ${step}`);
  }
  return { seedLow: seed | 0, seedHigh: Math.floor(seed / 2 ** 32), step: step | 0, purpose: fnv1a(purpose) };
}

/**
 * Fills `out` with uniform random numbers of the open interval (0, 1), which are odd multiples of 2^-24.
 *
 * `out[j]` is number `offset + j` of the sequence.
 */
export function uniform(key: RngKey, out: Float32Array, offset = 0): void {
  // (k + 1/2) 2^-23 with 23 random bits k. With 24 bits the largest number would round to 1 in float32.
  eachWord(key, offset, out.length, (words, first, begin, end) => {
    for (let j = begin; j < end; j++) out[j] = ((words[first + j - begin]! >>> 9) + 0.5) * 2 ** -23;
  });
}

/**
 * Fills `out` with standard normal random numbers `z = Φ⁻¹(u)`, with |z| ≤ 6.4.
 *
 * `out[j]` is number `offset + j` of the sequence. Inversion takes one random word per number, so number i
 * depends on i alone. It is also faster than the Box-Muller method.
 */
export function normal(key: RngKey, out: Float32Array, offset = 0): void {
  eachWord(key, offset, out.length, (words, first, begin, end) => {
    for (let j = begin; j < end; j++) out[j] = normalQuantile((words[first + j - begin]! + 0.5) * 2 ** -32);
  });
}

/**
 * Fills `out` with random integers of [0, bound), each equally likely.
 *
 * `out[j]` is number `offset + j` of the sequence.
 *
 * @param bound integer in [1, 2^32], at most 2^31 for an `Int32Array`
 * @throws UsageError if `bound` is out of range.
 */
export function randomInts(key: RngKey, bound: number, out: Uint32Array | Int32Array, offset = 0): void {
  const limit = out instanceof Int32Array ? 2 ** 31 : 2 ** 32;
  if (!Number.isInteger(bound) || bound < 1 || bound > limit) {
    throw new UsageError(
      `the bound of random integers must be an integer from 1 to ${limit}, found ${bound}`,
    );
  }
  eachWord(key, offset, out.length, (words, first, begin, end) => {
    for (let j = begin; j < end; j++) {
      out[j] = boundedInt(key, offset + j, bound, words[first + j - begin]!);
    }
  });
}

/**
 * Returns a random order of the integers 0 … n-1, in which all n! orders are equally likely (Fisher-Yates).
 *
 * @param n integer in [0, 2^32)
 * @throws UsageError if `n` is out of range.
 */
export function permutation(key: RngKey, n: number): Uint32Array {
  if (!Number.isInteger(n) || n < 0 || n >= 2 ** 32) {
    throw new UsageError(`the length of a permutation must be an integer from 0 to 2^32 - 1, found ${n}`);
  }
  const order = new Uint32Array(n);
  eachWord(key, 0, n, (words, first, begin, end) => {
    // "Inside-out" shuffle: element i goes to a random place among the first i + 1; its occupant moves to place i.
    for (let i = begin; i < end; i++) {
      const place = boundedInt(key, i, i + 1, words[first + i - begin]!);
      order[i] = order[place]!;
      order[place] = i;
    }
  });
  return order;
}

/**
 * Computes one block of Philox4x32-10: 128 random bits from `counter` and `key`, as four 32-bit words.
 *
 * The words are written to `out[position]` … `out[position + 3]`.
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array,
  position = 0,
): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(c0, 0xd2511f53);
    const low0 = Math.imul(c0, 0xd2511f53);
    const high1 = multiplyHigh(c2, 0xcd9e8d57);
    const low1 = Math.imul(c2, 0xcd9e8d57);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[position] = c0;
  out[position + 1] = c1;
  out[position + 2] = c2;
  out[position + 3] = c3;
}

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit integers, from four 16-bit products. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const cross = Math.imul(aLow, bHigh);
  const carry = ((middle & 0xffff) + (cross & 0xffff)) >>> 16;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (cross >>> 16) + carry) | 0;
}

/** Number of random words made at a time. They fit into the first-level cache. */
const chunkWords = 1024;
const scratch = new Uint32Array(chunkWords);

/**
 * Calls `use(words, first, begin, end)` for consecutive parts [begin, end) of [0, count).
 *
 * The random words of a part are `words[first]`, `words[first + 1]`, …: the numbers `offset + begin`, … of
 * the sequence.
 */
function eachWord(
  key: RngKey,
  offset: number,
  count: number,
  use: (words: Uint32Array, first: number, begin: number, end: number) => void,
): void {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new UsageError(`the offset into a random sequence must be an integer from 0, found ${offset}`);
  }
  const seed = [key.seedLow, key.seedHigh] as const;
  let block = Math.floor(offset / 4);
  let first = offset % 4;
  for (let begin = 0; begin < count; ) {
    const end = Math.min(count, begin + chunkWords - first);
    for (let i = 0; i < first + end - begin; i += 4, block++) {
      philox4x32([block | 0, (block / 2 ** 32) | 0, key.step, key.purpose], seed, scratch, i);
    }
    use(scratch, first, begin, end);
    begin = end;
    first = 0;
  }
}

/**
 * Uniform integer of [0, bound) from a random word: the upper word of `word · bound`.
 *
 * The result is uniform because the `2^32 mod bound` surplus products are rejected (Lemire: "Fast random
 * integer generation in an interval", ACM TOMACS 2019). Replacements for rejected words come from blocks that
 * no sequence uses (top bit of the block number set), so number `index` depends on `index` alone.
 */
function boundedInt(key: RngKey, index: number, bound: number, word: number): number {
  if (bound === 2 ** 32) return word;
  if (Math.imul(word, bound) >>> 0 >= bound) return multiplyHigh(word, bound) >>> 0;
  const surplus = 2 ** 32 % bound;
  if (Math.imul(word, bound) >>> 0 >= surplus) return multiplyHigh(word, bound) >>> 0;
  const spare = new Uint32Array(4);
  for (let attempt = 0; ; attempt++) {
    // `index` has at most 53 bits. Its upper 21 stand in the second word, below 10 bits of attempt and the top bit.
    const blockHigh = 0x80000000 | ((attempt & 0x3ff) << 21) | Math.floor(index / 2 ** 32);
    philox4x32([index | 0, blockHigh, key.step, key.purpose], [key.seedLow, key.seedHigh], spare);
    for (const candidate of spare) {
      if (Math.imul(candidate, bound) >>> 0 >= surplus) return multiplyHigh(candidate, bound) >>> 0;
    }
  }
}

/**
 * Inverse of the standard normal distribution function, to about 1e-16, for p in [1e-11, 1 - 1e-11].
 *
 * Uses two of the three rational approximations of algorithm AS 241 (Wichura, Applied Statistics 37, 1988).
 * The third one is for p below e^-25.
 */
function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(centreNumerator, r)) / polynomial(centreDenominator, r);
  }
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p)) - 1.6;
  const z = polynomial(tailNumerator, r) / polynomial(tailDenominator, r);
  return q < 0 ? -z : z;
}

/** Coefficients of AS 241, highest power first. */
const centreNumerator = [
  2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946,
  1971.5909503065513, 133.14166789178438, 3.3871328727963665,
];
const centreDenominator = [
  5226.495278852546, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751,
  687.1870074920579, 42.31333070160091, 1,
];
const tailNumerator = [
  0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045,
  5.769497221460691, 4.630337846156546, 1.4234371107496835,
];
const tailDenominator = [
  1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851,
  1.6763848301838038, 2.053191626637759, 1,
];

/** Evaluates the polynomial of degree 7 with coefficients `c`, highest power first, by Horner's rule. */
function polynomial(c: readonly number[], x: number): number {
  const upper = ((c[0]! * x + c[1]!) * x + c[2]!) * x + c[3]!;
  return (((upper * x + c[4]!) * x + c[5]!) * x + c[6]!) * x + c[7]!;
}

/** 32-bit FNV-1a hash of the UTF-8 bytes of a text. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
