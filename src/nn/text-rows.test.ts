import { expect, it } from 'vitest';
import { evaluate, f32, i64, numbers } from '../../test/evaluate.ts';
import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { add, matmul, square, sum, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { normal, rngKey } from '../util/rng.ts';
import { attentionBias } from './attention.ts';
import { TextRows } from './text-rows.ts';

const D = 4;

function random(name: string, dims: readonly number[]) {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  normal(rngKey(9, 0, name), data);
  return hostTensor('f32', dims, data);
}

/** Two batches of other sizes: three texts of two tokens, and two of five, one of them padded. */
const INPUTS = {
  'a/ids': i64([3, 2], Array(6).fill(0)),
  'a/x': random('a', [3, 2, D]),
  'a/mask': f32([3, 2], Array(6).fill(1)),
  'a/keys': hostTensor('u32', [3], Uint32Array.of(7, 8, 9)),
  'b/ids': i64([2, 5], Array(10).fill(0)),
  'b/x': random('b', [2, 5, D]),
  'b/mask': f32([2, 5], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
  'b/keys': hostTensor('u32', [2], Uint32Array.of(10, 11)),
  weight: random('weight', [D, D]),
};

/** A layer over some of the batches, the square sum of what it gives, and the gradient of its weight. */
function layer(names: readonly ('a' | 'b')[], t: Record<string, Tensor>, dropoutRatio: number) {
  const rows = new TextRows(
    names.map((name) => ({ ids: t[`${name}/ids`]!, dropoutKeys: t[`${name}/keys`]! })),
    { dropoutRatio },
  );
  const x = rows.join(names.map((name) => t[`${name}/x`]!));
  const y = matmul(x, t.weight!);
  const attended = rows.attention([y, x, y], (i) => ({
    heads: 2,
    bias: attentionBias(t[`${names[i]}/mask`]!),
    site: 'attention',
  }));
  const texts = rows.split(rows.dropout(attended, 'output'));
  const losses = texts.map((each) => sum(square(each)));
  return { texts, loss: losses.reduce((a, b) => add(a, b)) };
}

it.each([0, 0.4])('batches together give what each gives by itself, dropout %s', async (dropoutRatio) => {
  const results = await evaluate(INPUTS, (t) => {
    const together = layer(['a', 'b'], t, dropoutRatio);
    const [a, b] = [layer(['a'], t, dropoutRatio), layer(['b'], t, dropoutRatio)];
    const loss = add(a.loss, b.loss);
    return {
      ...{ a1: together.texts[0]!, b1: together.texts[1]!, a2: a.texts[0]!, b2: b.texts[0]! },
      ...{ d1: backward(together.loss, [t.weight!])[0]!, d2: backward(loss, [t.weight!])[0]! },
    };
  });
  expect(results.a1!.dims).toEqual([3, 2, D]);
  expect(results.b1!.dims).toEqual([2, 5, D]);
  for (const name of ['a', 'b', 'd']) {
    const expected = numbers(results[`${name}2`]);
    const most = 1e-6 * Math.max(...expected.map(Math.abs));
    for (const [i, value] of numbers(results[`${name}1`]).entries()) {
      expect(Math.abs(value - expected[i]!)).toBeLessThan(most);
    }
  }
  const dropped = numbers(results.b1).filter((value) => value === 0).length;
  expect(dropped > 0).toBe(dropoutRatio > 0);
});

it('asks for keys where something is dropped', () => {
  const graph = new Graph('rows');
  const rows = new TextRows([{ ids: graph.input('ids', 'i64', ['B', 'T']) }], { dropoutRatio: 0.1 });
  const x = unsqueeze(graph.input('x', 'f32', [D]), 0);
  expect(() => rows.dropout(x, 'site')).toThrow('dropout needs keys for every batch');
});
