import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from './half.ts';

const allHalves = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Value of a 16-bit float by its definition. */
function definedValue(half: number, exponentBits: number, fractionBits: number): number {
  const sign = half >> 15 ? -1 : 1;
  const exponent = (half >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (half & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1 + fraction) * 2 ** (exponent - bias) : sign * fraction * 2 ** (1 - bias);
}

const formats = [
  { name: 'f16', exponentBits: 5, fractionBits: 10, widen: f16ToF32, narrow: f32ToF16, infinity: 0x7c00 },
  { name: 'bf16', exponentBits: 8, fractionBits: 7, widen: bf16ToF32, narrow: f32ToBf16, infinity: 0x7f80 },
];

describe.each(formats)('$name', ({ exponentBits, fractionBits, widen, narrow, infinity }) => {
  it('all 65,536 values widen to their definition', () => {
    const wide = widen(allHalves);
    const expected = Float32Array.from(allHalves, (half) => definedValue(half, exponentBits, fractionBits));
    expect(wide.findIndex((x, i) => !Object.is(x, expected[i]))).toBe(-1);
  });

  it('all 65,536 values come back, NaN as quiet NaN of the same sign', () => {
    const back = narrow(widen(allHalves));
    const quiet = 1 << (fractionBits - 1);
    const wrong = allHalves.find((half) => {
      const isNan = (half & 0x7fff) > infinity;
      return back[half] !== (isNan ? half | quiet : half);
    });
    expect(wrong).toBeUndefined();
  });

  it('rounds to nearest, ties to even, between all neighbours of both signs', () => {
    const wide = widen(allHalves);
    /** Next value above the largest, if there were no infinity. Overflow starts half-way to it. */
    const beyond = wide[infinity - 1]! * 2 - wide[infinity - 2]!;
    for (const sign of [1, -1]) {
      const signBit = sign === 1 ? 0 : 0x8000;
      for (let half = 0; half < infinity; half++) {
        const middle = (wide[half]! + (half + 1 === infinity ? beyond : wide[half + 1]!)) / 2;
        const probes = new Float32Array(3);
        const bits = new Uint32Array(probes.buffer);
        probes.fill(sign * middle);
        bits[0]!--;
        bits[2]!++;
        const found = narrow(probes);
        if (
          found[0] !== (half | signBit) ||
          found[1] !== ((half + (half & 1)) | signBit) ||
          found[2] !== ((half + 1) | signBit)
        ) {
          throw new Error(`around ${sign * middle} (after ${half}): ${found}`);
        }
      }
    }
  });

  it('keeps zeros, infinities and tiny numbers', () => {
    const found = narrow(
      Float32Array.of(
        0,
        -0,
        1e-45,
        -1e-45,
        Number.POSITIVE_INFINITY,
        Number.NEGATIVE_INFINITY,
        3.4e38,
        -3.4e38,
      ),
    );
    const infinities = [infinity, infinity | 0x8000];
    expect([...found]).toEqual([0, 0x8000, 0, 0x8000, ...infinities, ...infinities]);
  });

  it('makes no infinity of a NaN with a small payload', () => {
    const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
    expect([...widen(narrow(nan))]).toEqual([Number.NaN, Number.NaN]);
  });

  it('writes into a given array', () => {
    const out = new Uint16Array(2);
    expect(narrow(Float32Array.of(1, -2), out)).toBe(out);
    const back = new Float32Array(2);
    expect(widen(out, back)).toBe(back);
    expect([...back]).toEqual([1, -2]);
  });
});
