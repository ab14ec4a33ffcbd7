import { describe, expect, it } from 'vitest';
import { evaluate, f32, i64, numbers } from '../../test/evaluate.ts';
import { backward } from '../grad/backward.ts';
import { gather, mul, reshape, square, sum } from '../graph/ops.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { normal, rngKey } from '../util/rng.ts';
import { attention, attentionBias } from './attention.ts';
import { linear } from './layers.ts';
import { embeddingParameters, linearParameters } from './parameters.ts';

function random(name: string, dims: readonly number[]): HostTensor {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  normal(rngKey(9, 0, name), data);
  return hostTensor('f32', dims, data);
}

describe('attention', () => {
  const [B, T, D, V] = [2, 4, 6, 10];
  const specs = [
    embeddingParameters('words', V, D, { deviation: 1 }),
    ...['query', 'key', 'value'].flatMap((name) => linearParameters(`a.${name}`, D, D)),
  ];
  const weights = Object.fromEntries(specs.map(({ name, shape }) => [name, random(name, shape)]));

  /** Attention over embedded ids, and the gradient of a weighted sum of its results at real tokens. */
  async function attend(ids: readonly number[], mask: readonly number[], heads = 2) {
    const inputs = { ids: i64([B, T], ids), mask: f32([B, T], mask), ...weights };
    return evaluate(inputs, ({ ids, mask, ...own }) => {
      const p = (name: string) => own[name]!;
      const x = reshape(gather(p('words.weight'), ids!), [B * T, D]);
      const [q, k, v] = ['query', 'key', 'value'].map((name) => linear(x, p, `a.${name}`));
      const y = attention(q!, k!, v!, { batch: B, tokens: T, heads, bias: attentionBias(mask!), site: 'a' });
      const real = mul(y, reshape(mask!, [B * T, 1]));
      return { y: real, dWords: backward(sum(square(real)), [p('words.weight')])[0]! };
    });
  }

  it('equals the formula, written out', async () => {
    const ids = [1, 2, 3, 4, 5, 6, 7, 8];
    const heads = 2;
    const { y } = await attend(ids, [1, 1, 1, 1, 1, 1, 0, 0], heads);
    const weight = (name: string) => numbers(weights[name]);
    const project = (name: string) =>
      ids.map((id) =>
        Array.from({ length: D }, (_, o) => {
          const row = weight('words.weight').slice(id * D, (id + 1) * D);
          return row.reduce(
            (s, v, i) => s + v * weight(`a.${name}.weight`)[o * D + i]!,
            weight(`a.${name}.bias`)[o]!,
          );
        }),
      );
    const [q, k, v] = ['query', 'key', 'value'].map(project) as [number[][], number[][], number[][]];
    const size = D / heads;
    for (let position = 0; position < B * T; position++) {
      const text = Math.floor(position / T);
      const real = text === 0 ? T : 2;
      if (position % T >= real) continue;
      for (let column = 0; column < D; column++) {
        const from = Math.floor(column / size) * size;
        const exps = Array.from({ length: real }, (_, t) => {
          let dot = 0;
          for (let i = from; i < from + size; i++) dot += q[position]![i]! * k[text * T + t]![i]!;
          return Math.exp(dot / Math.sqrt(size));
        });
        const total = exps.reduce((a, b) => a + b);
        const expected = exps.reduce((s, e, t) => s + (e / total) * v[text * T + t]![column]!, 0);
        expect(numbers(y)[position * D + column], `[${position}, ${column}]`).toBeCloseTo(expected, 4);
      }
    }
  });

  it('ignores padding: other ids there change neither the results nor the gradients', async () => {
    const mask = [1, 1, 1, 0, 1, 1, 0, 0];
    const a = await attend([1, 2, 3, 0, 4, 5, 0, 0], mask);
    const b = await attend([1, 2, 3, 9, 4, 5, 8, 9], mask);
    expect(numbers(b.y)).toEqual(numbers(a.y));
    expect(numbers(b.dWords)).toEqual(numbers(a.dWords));
    const rows = (words: number[]) => numbers(a.dWords).filter((_, i) => words.includes(Math.floor(i / D)));
    expect(rows([0, 8, 9]).every((g) => g === 0)).toBe(true);
    expect(Math.max(...rows([1, 2, 3, 4, 5]).map(Math.abs))).toBeGreaterThan(1e-2);
  });

  it('a text does not see its neighbours in the batch', async () => {
    const mask = [1, 1, 1, 1, 1, 1, 1, 1];
    const a = numbers((await attend([1, 2, 3, 4, 5, 6, 7, 8], mask)).y);
    const b = numbers((await attend([1, 2, 3, 4, 9, 9, 9, 9], mask)).y);
    expect(b.slice(0, T * D)).toEqual(a.slice(0, T * D));
    expect(b.slice(T * D)).not.toEqual(a.slice(T * D));
  });
});
