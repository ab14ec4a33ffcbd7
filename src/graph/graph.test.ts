import { describe, expect, it } from 'vitest';
import { ShapeError } from '../util/errors.ts';
import { Graph } from './graph.ts';
import * as ops from './ops.ts';
import { printGraph } from './print.ts';
import type { Tensor } from './tensor.ts';

describe('shape errors', () => {
  const graph = new Graph('g');
  const x = graph.input('x', 'f32', ['batch', 3]);
  const y = graph.input('y', 'f32', ['batch', 4]);
  const z = graph.input('z', 'f32', [2, 3, 4]);
  const row = graph.input('row', 'f32', [3]);
  const ids = graph.input('ids', 'i64', ['batch']);
  const queries = graph.input('queries', 'f32', ['queries', 3]);
  const long = graph.input('long', 'f32', [4]);

  it('name both tensors, and the file and line where each was made', () => {
    const doubled = ops.mul(x, 2);
    const message = (() => {
      try {
        ops.add(doubled, y);
      } catch (error) {
        return (error as Error).message;
      }
      return '';
    })();
    expect(message).toMatch(
      /^Add: mul f32\[batch, 3\] \(made at graph\.test\.ts:\d+\) and y f32\[batch, 4\] \(made at graph\.test\.ts:\d+\) differ in axis -1: 3 against 4/,
    );
    const lines = [...message.matchAll(/test\.ts:(\d+)/g)].map((match) => Number(match[1]));
    expect(lines[0]).toBeGreaterThan(lines[1]!);
  });

  it.each<[string, () => unknown, RegExp]>([
    ['unknown sizes', () => ops.add(x, queries), /batch against queries/],
    ['dtypes', () => ops.add(x, ids), /x f32.* and ids i64.* have different dtypes\n.*cast/],
    ['integers', () => ops.exp(ids), /Exp: ids i64\[batch\] .* must hold floating-point numbers/],
    [
      'inner sizes',
      () => ops.matmul(x, y, { transA: false }),
      /the inner sizes 3 and batch differ: x .* times y/,
    ],
    ['ranks', () => ops.matmul(x, z), /x f32\[batch, 3\].* and z f32\[2, 3, 4\].* must have the same rank/],
    ['bias', () => ops.gemm(x, y, row, { transA: true }), /the bias row f32\[3\].* must have shape \[4\]/],
    [
      'elements',
      () => ops.reshape(x, ['batch', 4]),
      /x .* does not have the number of elements of \[batch, 4\]/,
    ],
    ['axis', () => ops.softmax(x, 2), /axis 2 is outside x .*\n.*axes run from -2 to 1/],
    ['order', () => ops.transpose(x, [0, 0]), /\[0,0\] is no order of the 2 axes of x/],
    ['concat', () => ops.concat([x, y], 0), /concat along axis 0: x .* and y .* differ in another axis/],
    ['split', () => ops.split(x, [1, 1], 1), /sizes \[1,1\] do not add up to axis 1 of x/],
    ['slice', () => ops.slice(x, { axis: 1, start: 2, length: 2 }), /2 \+ 2 runs past axis 1 of x/],
    ['expand', () => ops.expand(x, ['batch', 6]), /x .* differ in axis -1: 3 against 6/],
    ['shrink', () => ops.expand(x, ['batch', 1]), /expand: x .* can not become \[batch, 1\]/],
    ['norm', () => ops.layerNorm(x, { scale: row, bias: long }), /long f32\[4\].* must have shape \[3\]/],
    ['index dtype', () => ops.gather(x, y), /gather: y f32.* must be i64/],
    ['index shape', () => ops.scatterAdd(x, ids, x), /scatterAdd: ids .* must match x .* in all axes but 0/],
    ['top-k', () => ops.topK(x, { k: 4 }), /k = 4 is more than axis 1 of x/],
    ['condition', () => ops.where(x, 1, 2), /Where: x f32.* must be bool/],
  ])('%s', (_, build, message) => {
    expect(build).toThrow(ShapeError);
    expect(build).toThrow(message);
  });

  it('a tensor of another graph is refused', () => {
    const other = new Graph('elsewhere').input('other', 'f32', ['batch', 3]);
    expect(() => ops.add(x, other)).toThrow(
      /other .* belongs to graph "elsewhere", not to "g"\n.*feed the value/,
    );
  });

  it('names of inputs, outputs and constants are used once', () => {
    const own = new Graph('own');
    const a = own.input('a', 'f32', [2]);
    own.output('result', a);
    expect(() => own.input('a', 'f32', [2])).toThrow('input "a" exists already');
    expect(() => own.output('result', a)).toThrow('"result" exists already');
    expect(() => own.output('a', a)).toThrow('"a" exists already');
  });
});

describe('scopes', () => {
  it('prefix the names made inside, also after an error', () => {
    const graph = new Graph('g');
    const x = graph.input('x', 'f32', [2]);
    const names: string[] = [];
    const note = (tensor: Tensor) => names.push(tensor.name);
    graph.scope('encoder', () => {
      note(ops.exp(x));
      graph.scope('layer.0', () => {
        note(ops.exp(x));
        note(ops.exp(x));
        note(graph.input('w', 'f32', [2]));
      });
      note(ops.exp(x));
    });
    expect(() =>
      graph.scope('broken', () => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    note(ops.exp(x));
    expect(names).toEqual([
      'encoder/exp',
      'encoder/layer.0/exp',
      'encoder/layer.0/exp_1',
      'encoder/layer.0/w',
      'encoder/exp_1',
      'exp',
    ]);
    expect(graph.scope('s', () => 7)).toBe(7);
  });
});

describe('printGraph', () => {
  it('writes one line a value', () => {
    const graph = new Graph('g');
    const x = graph.input('x', 'f32', ['batch', 4]);
    const w = graph.input('w', 'f32', [2, 4]);
    const y = graph.scope('layer', () => ops.relu(ops.matmul(x, w, { transB: true })));
    const { values } = ops.topK(y, { k: 1 });
    graph.output('loss', ops.mean(ops.mul(values, 2)));
    expect(printGraph(graph)).toBe(`input x f32[batch, 4]
input w f32[2, 4]
layer/matmul f32[batch, 2] = MatMul(x, w) {transB: true, alpha: 1}
layer/relu f32[batch, 2] = Relu(layer/matmul)
topk f32[batch, 1], topk:1 i64[batch, 1] = TopK(layer/relu) {axis: 1, k: 1, largest: true}
mul f32[batch, 1] = Mul(topk, constant)
reducemean f32[] = ReduceMean(mul) {axes: [0,1]}
output loss = reducemean
`);
  });
});
