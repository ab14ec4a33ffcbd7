import { describe, expect, it } from 'vitest';
import { evaluate, f32, i64, numbers } from '../../test/evaluate.ts';
import { gradcheck } from '../../test/gradcheck.ts';
import { backward } from '../grad/backward.ts';
import type { Graph } from '../graph/graph.ts';
import { add, concat, gather, mul, reshape, square, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { normal, rngKey } from '../util/rng.ts';
import { attention, attentionBias, causalBias, localBias } from './attention.ts';
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

describe('attention with fewer key heads, causal, local', () => {
  const [B, T, S, H, G] = [2, 5, 3, 4, 2];
  const query = random('query', [B * T, H * S]);
  const key = random('key', [B * T, G * S]);
  const value = random('value', [B * T, G * S]);
  const mask = f32([B, T], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
  const options = { batch: B, tokens: T, heads: H, site: 'a' };

  it('each key head serves consecutive query heads', async () => {
    const { grouped, repeated } = await evaluate({ query, key, value, mask }, (t) => {
      const bias = attentionBias(t.mask!);
      // Keys and values repeated to four heads: 0, 0, 1, 1.
      const twice = (x: Tensor) => {
        const heads = reshape(x, [B * T, G, 1, S]);
        return reshape(concat([heads, heads], 2), [B * T, H * S]);
      };
      return {
        grouped: attention(t.query!, t.key!, t.value!, { ...options, keyHeads: G, bias }),
        repeated: attention(t.query!, twice(t.key!), twice(t.value!), { ...options, bias }),
      };
    });
    const found = numbers(grouped);
    for (const [i, expected] of numbers(repeated).entries()) expect(found[i]).toBeCloseTo(expected, 5);
    expect(Math.max(...found.map(Math.abs))).toBeGreaterThan(0.3);
  });

  /** Returns whether the result at place i depends on the token at place j of the first text. */
  async function sees(biasOf: (graph: Graph, mask: Tensor) => Tensor): Promise<boolean[][]> {
    const run = async (keys: HostTensor, values: HostTensor) => {
      const inputs = { query, key: keys, value: values, mask };
      const { y } = await evaluate(inputs, (t, graph) => ({
        y: attention(t.query!, t.key!, t.value!, { ...options, keyHeads: G, bias: biasOf(graph, t.mask!) }),
      }));
      return numbers(y).slice(0, T * H * S);
    };
    const before = await run(key, value);
    const columns: boolean[][] = [];
    for (let j = 0; j < T; j++) {
      const changed = ({ data }: HostTensor) =>
        f32(
          [B * T, G * S],
          (data as Float32Array).map((x, i) => (Math.floor(i / (G * S)) === j ? x + 1 : x)),
        );
      const after = await run(changed(key), changed(value));
      const differs = (i: number) =>
        after.slice(i * H * S, (i + 1) * H * S).some((x, k) => x !== before[i * H * S + k]);
      columns.push(Array.from({ length: T }, (_, i) => differs(i)));
    }
    return Array.from({ length: T }, (_, i) => columns.map((column) => column[i]!));
  }
  const expected = (is: (i: number, j: number) => boolean) =>
    Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => is(i, j)));

  it('causal: a token sees itself and the tokens before it', async () => {
    const seen = await sees((graph, mask) => add(attentionBias(mask), causalBias(graph, T)));
    expect(seen).toEqual(expected((i, j) => j <= i));
  });

  it.each([0, 1, 2, 4])('local: a token sees tokens at most %d places away', async (reach) => {
    const seen = await sees((graph, mask) => add(attentionBias(mask), localBias(graph, T, reach)));
    expect(seen).toEqual(expected((i, j) => Math.abs(i - j) <= reach));
  });

  it('has the gradient of finite differences, causal and prepared', async () => {
    const rows = (heads: number) => ({ shape: [4, heads * S] });
    await gradcheck({ query: rows(H), key: rows(G), value: rows(G) }, ({ query, key, value }) => {
      const { graph } = query!;
      const mask = graph.constant('f32', [2, 2], Float32Array.of(1, 1, 1, 0));
      return attention(query!, key!, value!, {
        batch: 2,
        tokens: 2,
        heads: H,
        keyHeads: G,
        bias: add(attentionBias(mask), causalBias(graph, 2)),
        prepare: (heads, of) => (of === 'query' ? square(heads) : heads),
        site: 'a',
      });
    });
  });
});
