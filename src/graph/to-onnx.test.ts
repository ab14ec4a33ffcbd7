import { describe, expect, it } from 'vitest';
import { f32, i64, numbers } from '../../test/evaluate.ts';
import { backward } from '../grad/backward.ts';
import { Encoder } from '../models/retriever/encoder.ts';
import { declareParameters } from '../nn/parameters.ts';
import { decodeModel } from '../onnx/decode.ts';
import { encodeModel } from '../onnx/encode.ts';
import { Program } from '../runtime/program.ts';
import { Graph } from './graph.ts';
import type { LoweringOptions } from './onnx-writer.ts';
import * as ops from './ops.ts';
import { toOnnx } from './to-onnx.ts';

const opTypes = (graph: Graph) => toOnnx(graph).graph.nodes.map((node) => node.opType);

describe('toOnnx', () => {
  it('writes only what an output needs, each value before its use', () => {
    const graph = new Graph('g');
    const x = graph.input('x', 'f32', ['batch', 3]);
    ops.exp(ops.sin(x));
    graph.output('y', ops.tanh(ops.cos(x)));
    expect(opTypes(graph)).toEqual(['Cos', 'Tanh']);
    const made = new Set(['x']);
    for (const node of toOnnx(graph).graph.nodes) {
      for (const input of node.inputs) expect(made.has(input), `${node.opType} reads ${input}`).toBe(true);
      for (const output of node.outputs) made.add(output);
    }
    expect(made.has('y')).toBe(true);
  });

  it('one value may be several outputs, and an input or constant may be an output', async () => {
    const graph = new Graph('g');
    const x = graph.input('x', 'f32', [2]);
    const y = ops.exp(x);
    graph.output('once', y);
    graph.output('twice', y);
    graph.output('same', x);
    graph.output('one', graph.scalar(1));
    const program = await Program.compile(graph, { threads: 1 });
    const results = await program.run({ x: f32([2], [0, 1]) });
    expect(numbers(results.twice)).toEqual(numbers(results.once));
    expect(numbers(results.same)).toEqual([0, 1]);
    expect(numbers(results.one)).toEqual([1]);
    await program.dispose();
  });

  it('refuses a graph without outputs, and a dimension whose size no tensor has', () => {
    const graph = new Graph('empty');
    const x = graph.input('x', 'f32', ['a*b']);
    expect(() => toOnnx(graph)).toThrow('graph "empty" has no outputs');
    graph.output('y', ops.mul(x, ops.dimSize(graph, 'a')));
    expect(() => toOnnx(graph)).toThrow(
      /no tensor has the dimension "a" by itself.*\n.*declare an input with "a"/,
    );
  });

  it('the same graph built twice gives the same bytes, which read back to the same model', () => {
    const build = () => {
      const encoder = new Encoder({
        model: {
          model_type: 'bert',
          vocab_size: 20,
          hidden_size: 8,
          num_hidden_layers: 1,
          num_attention_heads: 2,
        },
        pooling: 'mean',
        normalize: true,
      });
      const graph = new Graph('twice');
      const { get, targets } = declareParameters(graph, encoder.specs);
      const ids = graph.input('ids', 'i64', ['batch', 'tokens']);
      const loss = ops.sum(
        encoder.embed(get, { ids, mask: graph.input('mask', 'f32', ['batch', 'tokens']) }),
      );
      graph.output('loss', loss);
      for (const [i, gradient] of backward(loss, [...targets.values()]).entries())
        graph.output(`g${i}`, gradient);
      return toOnnx(graph, { author: 'test' });
    };
    const bytes = encodeModel(build());
    expect(Buffer.compare(encodeModel(build()), bytes)).toBe(0);
    const read = decodeModel(bytes);
    expect(read.graph.nodes.length).toBeGreaterThan(100);
    expect(Buffer.compare(encodeModel(read), bytes)).toBe(0);
  });
});

describe('one program serves every size', () => {
  it.each([
    [0, 3],
    [1, 1],
    [1, 5],
    [4, 2],
    [64, 7],
  ])('batch %d of %d tokens', async (batch, tokens) => {
    const x = f32(
      [batch, tokens, 2],
      Array.from({ length: batch * tokens * 2 }, (_, i) => i % 11),
    );
    const program = await shared();
    const results = await program.run({ x });
    expect(results.flat!.dims).toEqual([batch * tokens, 2]);
    expect(results.padded!.dims).toEqual([batch, tokens + 3, 2]);
    expect(results.pairs!.dims).toEqual([batch, tokens, tokens]);
    expect(numbers(results.elements)).toEqual([2 * batch * tokens]);
    const values = numbers(x);
    const expected = Array.from({ length: batch }, (_, b) => {
      let total = 0;
      for (let t = 0; t < tokens; t++) total += values[(b * tokens + t) * 2]! * (b * tokens + t);
      return total;
    });
    expect(numbers(results.weighted)).toEqual(expected);
    expect(numbers(results.last)).toEqual(
      Array.from({ length: batch }, (_, b) =>
        values.slice(((b + 1) * tokens - 1) * 2, (b + 1) * tokens * 2),
      ).flat(),
    );
    // Gradient of a sum over all pairs of rows: each row occurs once per token, on both sides.
    const gradient = numbers(results.gradient);
    for (let b = 0; b < batch; b++) {
      for (let d = 0; d < 2; d++) {
        let sum = 0;
        for (let t = 0; t < tokens; t++) sum += values[(b * tokens + t) * 2 + d]!;
        for (let t = 0; t < tokens; t++) expect(gradient[(b * tokens + t) * 2 + d]).toBeCloseTo(2 * sum, 3);
      }
    }
  });

  let compiled: Promise<Program> | undefined;
  function shared(): Promise<Program> {
    if (compiled) return compiled;
    const graph = new Graph('sizes');
    const x = graph.input('x', 'f32', ['batch', 'tokens', 2]);
    const flat = ops.reshape(x, ['tokens*batch', 2]);
    graph.output('flat', flat);
    graph.output('padded', ops.concat([x, ops.fill(graph, 0, ['batch', 3, 2])], 1));
    const pairs = ops.matmul(x, x, { transB: true });
    graph.output('pairs', pairs);
    graph.output('elements', ops.dimSize(graph, '2*batch*tokens'));
    const place = ops.cast(ops.reshape(ops.range(graph, 'batch*tokens'), ['batch', 'tokens']), 'f32');
    const first = ops.squeeze(ops.slice(x, { axis: 2, start: 0, length: 1 }), 2);
    graph.output('weighted', ops.sum(ops.mul(first, place), { axes: 1 }));
    graph.output('last', ops.slice(x, { axis: 1, start: 'tokens-1', length: 1 }));
    graph.output('gradient', backward(ops.sum(pairs), [x])[0]!);
    compiled = Program.compile(graph, { threads: 1 });
    return compiled;
  }

  it('indices pick rows of a table of any size', async () => {
    const graph = new Graph('rows');
    const table = graph.input('table', 'f32', ['rows', 2]);
    const picked = ops.gather(table, graph.input('ids', 'i64', ['batch']));
    graph.output('picked', picked);
    graph.output('gradient', backward(ops.sum(picked), [table])[0]!);
    const program = await Program.compile(graph, { threads: 2 });
    for (const ids of [[], [1], [2, 0, 2, 2]]) {
      const results = await program.run({
        table: f32([3, 2], [0, 1, 2, 3, 4, 5]),
        ids: i64([ids.length], ids),
      });
      expect(numbers(results.picked)).toEqual(ids.flatMap((id) => [2 * id, 2 * id + 1]));
      const counts = [0, 1, 2].flatMap((row) => Array(2).fill(ids.filter((id) => id === row).length));
      expect(numbers(results.gradient)).toEqual(counts);
    }
    await program.dispose();
  });
});

describe('toOnnx for other providers', () => {
  function products(): Graph {
    const graph = new Graph('products');
    const a = graph.input('a', 'f32', ['h', 2, 'm']);
    const b = graph.input('b', 'f32', ['h', 3, 2]);
    const w = graph.input('w', 'f32', [3, 3]);
    const batched = ops.matmul(a, b, { transA: true, transB: true, alpha: 0.5 });
    const flat = ops.reshape(batched, ['h*m', 3]);
    graph.output('batched', batched);
    graph.output('flat', ops.mul(ops.matmul(flat, w), 3));
    graph.output('biased', ops.gemm(flat, w, graph.input('bias', 'f32', [3]), { transB: true }));
    graph.output('right', ops.matmul(a, ops.transpose(a, [0, 2, 1])));
    return graph;
  }
  const sines = (dims: number[]) =>
    f32(
      dims,
      Array.from({ length: dims.reduce((x, y) => x * y) }, (_, i) => Math.sin(i + 1)),
    );
  const feeds = { a: sines([2, 2, 4]), b: sines([2, 3, 2]), w: sines([3, 3]), bias: sines([3]) };

  it.each<[string, LoweringOptions, number]>([
    ['without FusedMatMul', { fusedMatMul: false }, 6],
    ['in f16', { products: 'f16' }, 2],
    ['in f16 without FusedMatMul', { products: 'f16', fusedMatMul: false }, 2],
  ])('%s: the same products', async (_, options, digits) => {
    const graph = products();
    const usual = await Program.compile(graph, { threads: 1 });
    const bytes = encodeModel(toOnnx(graph, {}, options));
    const other = await Program.load(graph, { bytes, hostNodes: [] }, { threads: 1 });
    const [expected, found] = [await usual.run(feeds), await other.run(feeds)];
    for (const [name, tensor] of Object.entries(expected)) {
      expect(found[name]!.dims).toEqual(tensor.dims);
      for (const [i, value] of numbers(tensor).entries()) {
        expect(found[name]!.data[i], `${name}[${i}]`).toBeCloseTo(value, digits);
      }
    }
    await usual.dispose();
    await other.dispose();
  });

  it('writes no FusedMatMul where there is no kernel for it', () => {
    const types = (options: LoweringOptions) =>
      toOnnx(products(), {}, options).graph.nodes.map(({ opType }) => opType);
    expect(types({})).toContain('FusedMatMul');
    expect(types({ fusedMatMul: false })).not.toContain('FusedMatMul');
  });

  it('casts the operands of every product to f16, each once, and its result back', () => {
    const { nodes, initializers } = toOnnx(products(), {}, { products: 'f16', fusedMatMul: false }).graph;
    const casts = nodes.filter(({ opType }) => opType === 'Cast');
    const [F32, F16] = [1, 10];
    const madeBy = (value: string) => nodes.find(({ outputs }) => outputs.includes(value));
    const halves = new Set(
      casts
        .filter(({ attributes }) => (attributes!.to as { value: number }).value === F16)
        .map(({ outputs }) => outputs[0]),
    );
    // a, b, the flat product, w, the bias, and a transposed.
    expect(halves.size).toBe(6);
    const isHalf = (value: string): boolean =>
      halves.has(value) ||
      initializers.some(({ name, dtype }) => name === value && dtype === 'f16') ||
      ['Transpose', 'MatMul'].includes(madeBy(value)?.opType ?? '');
    const multiplications = nodes.filter(({ opType }) => ['MatMul', 'Gemm'].includes(opType));
    expect(multiplications).toHaveLength(4);
    for (const { inputs } of multiplications) expect(inputs.every(isHalf), inputs.join(', ')).toBe(true);
    const back = casts.filter(({ attributes }) => (attributes!.to as { value: number }).value === F32);
    expect(back).toHaveLength(4);
  });
});
