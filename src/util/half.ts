/**
 * Half-precision numbers, stored as 16 bits in a `Uint16Array` (Node 20 has no `Float16Array`).
 *
 *     f16   1 sign, 5 exponent, 10 fraction bits   largest 65504, about 3 decimal digits (IEEE 754 binary16)
 *     bf16  1 sign, 8 exponent,  7 fraction bits   range of f32, about 2 decimal digits (the upper half of an f32)
 *
 * Conversion to half precision rounds to nearest, ties to even, as NumPy, PyTorch and the hardware do.
 * Subnormals and infinities are kept, and a NaN stays a NaN. Conversion to f32 is exact. All functions write
 * into `out` where it is given.
 */

/** Converts f32 numbers to f16 bits. Magnitudes of 65520 and above become infinity. */
export function f32ToF16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const sign = (b >>> 16) & 0x8000;
    const magnitude = b & 0x7fffffff;
    // 0x38800000 is 2^-14, the smallest normal f16; 0x477ff000 is 65520, the smallest f32 that rounds to infinity.
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000) {
      const rebiased = magnitude - (112 << 23);
      out[i] = sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
    } else if (magnitude < 0x38800000) {
      out[i] = sign | subnormalF16(magnitude);
    } else if (magnitude <= 0x7f800000) {
      out[i] = sign | 0x7c00;
    } else {
      out[i] = sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
    }
  }
  return out;
}

/** Converts f16 bits to f32 numbers. */
export function f16ToF32(halves: Uint16Array, out = new Float32Array(halves.length)): Float32Array {
  table ??= f16Table();
  const bits = bitsOf(out);
  for (let i = 0; i < halves.length; i++) bits[i] = table[halves[i]!]!;
  return out;
}

/** Converts f32 numbers to bf16 bits. */
export function f32ToBf16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    // Rounding would carry a NaN with a small payload into infinity, so a NaN is truncated instead.
    out[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** Converts bf16 bits to f32 numbers. */
export function bf16ToF32(halves: Uint16Array, out = new Float32Array(halves.length)): Float32Array {
  const bits = bitsOf(out);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return out;
}

/** f16 bits of |x| < 2^-14 from the f32 bits of |x|: x / 2^-24, rounded to nearest even. */
function subnormalF16(magnitude: number): number {
  const shift = 126 - (magnitude >>> 23);
  // Magnitudes below 2^-25 round to zero, which includes the subnormals of f32.
  if (shift > 24) return 0;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const quotient = fraction >>> shift;
  const remainder = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return remainder > half || (remainder === half && (quotient & 1) === 1) ? quotient + 1 : quotient;
}

/** Lookup table from each of the 65,536 f16 bit patterns to its f32 bits, built on first use. */
let table: Uint32Array | undefined;

function f16Table(): Uint32Array {
  const bits = new Uint32Array(65536);
  const values = new Float32Array(bits.buffer);
  for (let half = 0; half < 65536; half++) {
    const sign = half & 0x8000;
    const exponent = (half >>> 10) & 31;
    const fraction = half & 0x3ff;
    if (exponent === 31) bits[half] = (sign << 16) | 0x7f800000 | (fraction << 13);
    else if (exponent > 0) bits[half] = (sign << 16) | ((exponent + 112) << 23) | (fraction << 13);
    else values[half] = (sign ? -1 : 1) * fraction * 2 ** -24;
  }
  return bits;
}

/** Views f32 numbers as their bits. Reading them as JavaScript numbers could change the payload of a NaN. */
function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
