import { expect, test } from 'vitest';
import { hostTensor } from '../runtime/host-tensor.ts';
import { OnnxFile } from '../runtime/onnx-file.ts';
import { normal, rngKey } from '../util/rng.ts';
import { decodeModel } from './decode.ts';
import { encodeModel } from './encode.ts';
import { halfWeights } from './half-weights.ts';
import type { OnnxModel, OnnxTensor } from './model.ts';
import { quantizeWeights } from './quantize-weights.ts';

const [V, K, N] = [80, 64, 72];

function random(name: string, dims: [number, number]): OnnxTensor {
  const data = new Float32Array(dims[0] * dims[1]);
  normal(rngKey(1, 0, name), data);
  // The outputs differ greatly in size, so that a single scale would lose the small ones.
  for (let i = 0; i < data.length; i++) data[i]! *= 10 ** -(i % 3);
  return { name, dtype: 'f32', dims, data };
}

/** gather(table, ids), multiplied by a Gemm with transposed weights and by a MatMul. Both read the same rows. */
const model: OnnxModel = {
  irVersion: 10,
  opsets: { '': 21 },
  producerName: 'undrift',
  producerVersion: '',
  graph: {
    name: 'products',
    inputs: [{ name: 'ids', dtype: 'i64', shape: ['rows'] }],
    outputs: [
      { name: 'x', dtype: 'f32', shape: ['rows', K] },
      { name: 'transposed', dtype: 'f32', shape: ['rows', N] },
      { name: 'plain', dtype: 'f32', shape: ['rows', N] },
    ],
    initializers: [random('table', [V, K]), random('w', [N, K]), random('v', [K, N])],
    nodes: [
      { opType: 'Gather', inputs: ['table', 'ids'], outputs: ['x'] },
      {
        opType: 'Gemm',
        inputs: ['x', 'w'],
        outputs: ['transposed'],
        attributes: { transB: { kind: 'int', value: 1 } },
      },
      { opType: 'MatMul', inputs: ['x', 'v'], outputs: ['plain'] },
    ],
  },
};

async function run(changed: OnnxModel) {
  const file = await OnnxFile.open(encodeModel(changed), { name: 'test' });
  const outputs = await file.run({ ids: hostTensor('i64', [4], BigInt64Array.of(3n, 79n, 0n, 41n)) });
  await file.dispose();
  return outputs;
}

/** Largest error of each output, relative to the output's largest number. */
async function errors(changed: OnnxModel): Promise<number[]> {
  const [expected, found] = [await run(model), await run(changed)];
  return ['x', 'transposed', 'plain'].map((name) => {
    const [a, b] = [expected[name]!.data as Float32Array, found[name]!.data as Float32Array];
    expect(b.length).toBe(a.length);
    return Math.max(...a.map((x, i) => Math.abs(x - b[i]!))) / Math.max(...a.map(Math.abs));
  });
}

test('f16 weights: half the bytes, with 11 significant bits', async () => {
  const half = halfWeights(model);
  expect(encodeModel(half).length / encodeModel(model).length).toBeLessThan(0.52);
  const found = await errors(half);
  for (const error of found) expect(error).toBeLessThan(2 ** -11);
  expect(Math.max(...found)).toBeGreaterThan(0);
});

test('small constants stay f32', () => {
  const small = { name: 's', dtype: 'f32', dims: [2], data: Float32Array.of(1, 1 / 3) } as const;
  const { graph } = halfWeights({ ...model, graph: { ...model.graph, initializers: [small] } });
  expect(graph.initializers).toEqual([small]);
});

test('8-bit weights: a quarter of the bytes, one scale for each output', async () => {
  const changed = quantizeWeights(model);
  expect(encodeModel(changed).length / encodeModel(model).length).toBeLessThan(0.35);
  const [x, transposed, plain] = await errors(changed);
  // Rows: half a step of 1/127 of the row's largest number. Products: 1/64 of the column's, averaged over K.
  expect(x).toBeLessThan(0.5 / 127 + 1e-6);
  for (const error of [transposed!, plain!]) {
    expect(error).toBeGreaterThan(1e-4);
    expect(error).toBeLessThan(0.02);
  }
  const { initializers, nodes } = decodeModel(encodeModel(changed)).graph;
  expect(initializers.map(({ name, dtype, dims }) => [name, dtype, dims])).toEqual([
    ['table/rows/int8', 'i8', [V, K]],
    ['table/rows/scales', 'f32', [V, 1]],
    ['w/transposed/int8', 'i8', [K, N]],
    ['w/transposed/scales', 'f32', [N]],
    ['v/columns/int8', 'i8', [K, N]],
    ['v/columns/scales', 'f32', [N]],
  ]);
  // The sum of two products of integers must fit into 16 bits.
  const largest = initializers
    .filter(({ name }) => !name.startsWith('table'))
    .flatMap(({ data }) => [...(data as Int8Array)]);
  expect(Math.max(...largest.map(Math.abs))).toBe(64);
  // Both products read the same rows, which are quantised once.
  expect(nodes.filter(({ opType }) => opType === 'DynamicQuantizeLinear')).toHaveLength(1);
});

test('a table that another node reads is kept in addition to its integers', () => {
  const twice = structuredClone(model);
  twice.graph.nodes.push({ opType: 'Identity', inputs: ['table'], outputs: ['copy'] });
  twice.graph.outputs.push({ name: 'copy', dtype: 'f32', shape: [V, K] });
  const names = quantizeWeights(twice).graph.initializers.map(({ name }) => name);
  expect(names).toContain('table');
  expect(names).toContain('table/rows/int8');
});

test('a matrix of zeros stays zero', async () => {
  const zero = structuredClone(model);
  (zero.graph.initializers[1]!.data as Float32Array).fill(0);
  const { transposed } = await run(quantizeWeights(zero));
  expect([...(transposed!.data as Float32Array)].every((value) => value === 0)).toBe(true);
});
