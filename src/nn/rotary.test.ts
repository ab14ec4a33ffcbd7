import { describe, expect, it } from 'vitest';
import { evaluate, f32, numbers } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { matmul } from '../graph/ops.ts';
import { normal, rngKey } from '../util/rng.ts';
import { rotaryFrequencies, rotaryTables, rotate } from './rotary.ts';

const [T, S] = [6, 4];
const plain = { rope_theta: 10_000, rope_scaling: null };

describe('rotaryFrequencies', () => {
  it('fall from 1 to almost 1/θ', () => {
    expect([...rotaryFrequencies(8, plain)]).toEqual([1, 0.1, 0.01, 0.001].map(Math.fround));
  });

  it('linear: all are divided', () => {
    const scaled = rotaryFrequencies(8, { ...plain, rope_scaling: { rope_type: 'linear', factor: 4 } });
    expect([...scaled]).toEqual([0.25, 0.025, 0.0025, 0.00025].map(Math.fround));
  });

  it('llama3: fast ones are kept, slow ones divided, and those between interpolated', () => {
    const scaling = { factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
    const [fast, middle, slow] = rotaryFrequencies(6, {
      rope_theta: 1000,
      rope_scaling: { rope_type: 'llama3', ...scaling, original_max_position_embeddings: 128 },
    });
    expect(fast).toBe(1);
    expect(slow).toBeCloseTo(0.01 / 8, 6);
    // 128 · 0.1 / 2π = 2.037 turns: 0.346 of the way from 1 to 4.
    const kept = ((128 * 0.1) / (2 * Math.PI) - 1) / 3;
    expect(middle).toBeCloseTo(0.1 * kept + (0.1 / 8) * (1 - kept), 6);
  });
});

describe('rotate', () => {
  const random = (name: string) => {
    const data = new Float32Array(T * S);
    normal(rngKey(3, 0, name), data);
    return f32([T, S], data);
  };

  it('turns the pair (i, i + S/2) by position times frequency', async () => {
    const x = random('x');
    const frequencies = rotaryFrequencies(S, { rope_theta: 100, rope_scaling: null });
    const { y } = await evaluate({ x }, ({ x }, graph) => ({
      y: rotate(x!, rotaryTables(graph, T, frequencies)),
    }));
    const [before, after] = [numbers(x), numbers(y)];
    for (let t = 0; t < T; t++) {
      for (const i of [0, 1]) {
        const angle = t * frequencies[i]!;
        const [a, b] = [before[t * S + i]!, before[t * S + i + S / 2]!];
        expect(after[t * S + i]).toBeCloseTo(a * Math.cos(angle) - b * Math.sin(angle), 5);
        expect(after[t * S + i + S / 2]).toBeCloseTo(b * Math.cos(angle) + a * Math.sin(angle), 5);
      }
    }
  });

  it('products depend on distances alone, also far out', async () => {
    const long = 5000;
    const repeated = (name: string) => {
      const data = new Float32Array(long * S);
      const row = random(name).data as Float32Array;
      for (let t = 0; t < long; t++) data.set(row.subarray(0, S), t * S);
      return f32([long, S], data);
    };
    const { y } = await evaluate({ q: repeated('q'), k: repeated('k') }, ({ q, k }, graph) => {
      const tables = rotaryTables(graph, long, rotaryFrequencies(S, plain));
      return { y: matmul(rotate(q!, tables), rotate(k!, tables), { transB: true }) };
    });
    const at = (i: number, j: number) => y!.data[i * long + j] as number;
    for (const [i, j] of [
      [7, 3],
      [4003, 3999],
      [4999, 4995],
    ] as const) {
      expect(at(i, j)).toBeCloseTo(at(4, 0), 3);
    }
    expect(Math.abs(at(4, 0) - at(5, 0))).toBeGreaterThan(1e-2);
  });

  it('has the gradient of finite differences', async () => {
    const inputs = { x: { shape: ['batch', 'tokens', S], dims: [2, 3, S] } };
    await gradcheck(inputs, ({ x }) =>
      rotate(x!, rotaryTables(x!.graph, 'tokens', rotaryFrequencies(S, plain))),
    );
  });
});
