import { expect, it } from 'vitest';
import { evaluate, f32, i64, numbers } from '../../test/evaluate.ts';
import { backward } from '../grad/backward.ts';
import { Graph } from '../graph/graph.ts';
import { add, matmul, mul, square, sum, unsqueeze } from '../graph/ops.ts';
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

/** Two batches: three texts of two tokens, and two texts of five tokens, one of them padded. */
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

/** Packing of batch b. Its last two places are padding. */
const PACKING = {
  'b/places': i64([8], [0, 1, 2, 3, 4, 5, 6, 7]),
  'b/slots': i64([10], [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]),
  'b/kept': f32([10], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
};

/** Layer over some of the batches, with the sum of squares of its results and the gradient of its weight. */
function layer(
  names: readonly ('a' | 'b')[],
  t: Record<string, Tensor>,
  { dropoutRatio, packed = false }: { dropoutRatio: number; packed?: boolean },
) {
  const packing = { places: t['b/places']!, slots: t['b/slots']!, kept: t['b/kept']! };
  const rows = new TextRows(
    names.map((name) => ({
      ids: t[`${name}/ids`]!,
      dropoutKeys: t[`${name}/keys`]!,
      ...(packed && name === 'b' && { packing }),
    })),
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
  const losses = texts.map((each, i) => sum(square(mul(each, unsqueeze(t[`${names[i]}/mask`]!, 2)))));
  return { texts, loss: losses.reduce((a, b) => add(a, b)) };
}

it.each([0, 0.4])('joined batches give the results of each batch alone, dropout %s', async (dropoutRatio) => {
  const results = await evaluate(INPUTS, (t) => {
    const together = layer(['a', 'b'], t, { dropoutRatio });
    const [a, b] = [layer(['a'], t, { dropoutRatio }), layer(['b'], t, { dropoutRatio })];
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

it.each([0, 0.4])('leaving out padding does not change the results, dropout %s', async (dropoutRatio) => {
  const results = await evaluate({ ...INPUTS, ...PACKING }, (t) => {
    const [padded, packed] = [false, true].map((packed) => layer(['a', 'b'], t, { dropoutRatio, packed }));
    const targets = [t.weight!, t['b/x']!];
    const [d1, x1] = backward(padded!.loss, targets);
    const [d2, x2] = backward(packed!.loss, targets);
    return { b1: padded!.texts[1]!, b2: packed!.texts[1]!, d1: d1!, d2: d2!, x1: x1!, x2: x2! };
  });
  for (const name of ['b', 'd', 'x']) {
    const expected = numbers(results[`${name}1`]);
    const most = 1e-6 * Math.max(...expected.map(Math.abs));
    for (const [i, value] of numbers(results[`${name}2`]).entries()) {
      // Results at padding do not matter, but must be 0 where padding is packed away.
      if (name === 'b' && i >= 8 * D) expect(value).toBe(0);
      else expect(Math.abs(value - expected[i]!)).toBeLessThan(most);
    }
  }
});

it('requires keys for dropout', () => {
  const graph = new Graph('rows');
  const rows = new TextRows([{ ids: graph.input('ids', 'i64', ['B', 'T']) }], { dropoutRatio: 0.1 });
  const x = unsqueeze(graph.input('x', 'f32', [D]), 0);
  expect(() => rows.dropout(x, 'site')).toThrow('dropout needs keys for every batch');
});
