import { describe, expect, it } from 'vitest';
import { evaluate, f32 } from '../../test/evaluate.ts';
import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { normal, rngKey } from '../util/rng.ts';
import { neighbourGateParameters, neighbourGates } from './neighbour-gate.ts';

const [C, K, D] = [4, 2, 8];
const SPECS = neighbourGateParameters('gate', { hidden: D, heads: 2, headSize: 4 });
const random = (name: string, shape: readonly number[], scale = 1): HostTensor => {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  normal(rngKey(3, 0, name), data);
  return hostTensor(
    'f32',
    shape,
    data.map((each) => scale * each),
  );
};
/** Chunks of one text: each comes after those before it. */
const EARLIER = f32(
  [C, C],
  Array.from({ length: C * C }, (_, at) => Number(at % C < Math.floor(at / C))),
);
const WEIGHTS = Object.fromEntries(
  SPECS.map(({ name, shape }) => [name, random(name, shape, name === 'gate.weight' ? 40 : 1)]),
);
const POOLED = random('pooled', [C, K, D]);
// The second neighbour of chunk 1 is absent.
const VALID = f32([C, K], [1, 1, 1, 0, 1, 1, 1, 1]);

async function gatesOf(
  {
    pooled = POOLED,
    valid = VALID,
    weights = WEIGHTS,
  }: Partial<Record<'pooled' | 'valid', HostTensor>> & {
    weights?: Record<string, HostTensor>;
  } = {},
  known = 0,
): Promise<number[]> {
  const rows = (x: HostTensor, from: number, to: number) => {
    const size = x.data.length / C;
    return f32([to - from, ...x.dims.slice(1)], float32(x).subarray(from * size, to * size));
  };
  const inputs = {
    ...weights,
    pooled: rows(pooled, known, C),
    valid: rows(valid, known, C),
    earlier: rows(EARLIER, known, C),
    ...(known > 0 && { pastPooled: rows(pooled, 0, known), pastValid: rows(valid, 0, known) }),
  };
  const { gates } = await evaluate(inputs, (t) => ({
    gates: neighbourGates(
      {
        ...{ pooled: t.pooled!, valid: t.valid!, earlier: t.earlier! },
        past: known > 0 ? { pooled: t.pastPooled!, valid: t.pastValid! } : undefined,
      },
      (name) => t[name]!,
      'gate',
      { heads: 2, floor: 0.1 },
    ),
  }));
  return [...float32(gates)];
}
const changed = (at: number) => {
  const data = float32(POOLED).slice();
  for (let d = 0; d < D; d++) data[at * D + d]! += 1;
  return hostTensor('f32', POOLED.dims, data);
};

describe('gates of neighbours', () => {
  it('lie between the floor and 1, and are 1/2 before training', async () => {
    const gates = await gatesOf();
    for (const gate of gates) {
      expect(gate).toBeGreaterThanOrEqual(Math.fround(0.1));
      expect(gate).toBeLessThanOrEqual(1);
    }
    expect(gates).toContain(Math.fround(0.1));
    expect(Math.max(...gates)).toBeGreaterThan(0.5);
    const fresh = { ...WEIGHTS, 'gate.weight': hostTensor('f32', [D], new Float32Array(D)) };
    expect(await gatesOf({ weights: fresh })).toEqual(new Array(C * K).fill(0.5));
  });

  it('depend on the neighbour itself, on better ones and on those of earlier chunks, and on no absent one', async () => {
    // With small weights neither the floor nor the attention hides a dependence.
    const small = Object.fromEntries(SPECS.map(({ name, shape }) => [name, random(name, shape, 0.5)]));
    const before = await gatesOf({ weights: small });
    for (let at = 0; at < C * K; at++) {
      const after = await gatesOf({ weights: small, pooled: changed(at) });
      const moved = after.map((gate, i) => (gate === before[i] ? -1 : i)).filter((i) => i >= 0);
      const isAbsent = float32(VALID)[at] === 0;
      expect(moved).toEqual(isAbsent ? [at] : Array.from({ length: C * K - at }, (_, i) => at + i));
    }
  });

  it.each([1, 2, 3])('are those of one pass where %i chunks were read before', async (known) => {
    const whole = await gatesOf();
    const found = await gatesOf({}, known);
    for (const [i, gate] of found.entries()) expect(gate).toBeCloseTo(whole[known * K + i]!, 6);
  });
});
