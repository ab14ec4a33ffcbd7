import type { OnnxModel, OnnxNode, OnnxTensor } from './model.ts';

/**
 * Largest integer of the weight of a matrix product, which leaves one bit unused.
 *
 * Processors without VNNI, and the relaxed SIMD of WebAssembly, add pairs of products in 16 bits. With
 * weights up to 127 a pair could reach 255 · 127 · 2, which saturates without an error. With weights up to 64
 * nothing saturates (255 · 64 · 2 < 2¹⁵), so the file gives correct results on every processor.
 */
const LARGEST_FACTOR = 64;
/** Largest integer of a table whose rows are only gathered. No sum of products can overflow there. */
const LARGEST_ROW = 127;

/**
 * Returns a copy of a model with its f32 matrices stored as int8.
 *
 * The matrices are the weights W[K, N] of every product y = x W and every table that rows are gathered from.
 * Activations are quantised at run time.
 *
 *     s_n = max_k |W_kn| / 64,   Q_kn = round(W_kn / s_n)     one scale per output; for a table, per row, with 127
 *     X, s, z = DynamicQuantizeLinear(x)                       one scale for the whole batch
 *     y = s s_n (X − z) Q                                      MatMulInteger: sums in int32
 *
 * The operators are those that onnxruntime's dynamic quantisation writes, and onnxruntime fuses them when it
 * loads the file. Because x has one scale for the whole batch, the vector of a text depends slightly on the
 * other texts of its batch.
 */
export function quantizeWeights(model: OnnxModel): OnnxModel {
  const constants = new Map(model.graph.initializers.map((tensor) => [tensor.name, tensor]));
  const made: OnnxTensor[] = [];
  const quantized = new Map<string, { values: string; scales: string }>();
  /** Adds the integers and scales of a matrix to the model at its first use, and returns their names. */
  const quantize = (matrix: OnnxTensor, layout: Layout) => {
    const key = `${matrix.name} ${layout}`;
    let names = quantized.get(key);
    if (!names) {
      const prefix = `${matrix.name}/${layout}`;
      names = { values: `${prefix}/int8`, scales: `${prefix}/scales` };
      quantized.set(key, names);
      made.push(...integers(matrix, layout, names));
    }
    return names;
  };
  const matrix = (name: string | undefined) => {
    const tensor = name === undefined ? undefined : constants.get(name);
    return tensor?.dtype === 'f32' && tensor.dims.length === 2 ? tensor : undefined;
  };
  /** Names of activations that are quantised already, because several products may read the same one. */
  const activations = new Map<string, string>();

  const nodes = model.graph.nodes.flatMap((node): OnnxNode[] => {
    const result = node.outputs[0]!;
    const isGather = node.opType === 'Gather' && number(node, 'axis', 0) === 0;
    const table = isGather ? matrix(node.inputs[0]) : undefined;
    if (table) {
      const { values, scales } = quantize(table, 'rows');
      const rows = node.inputs[1]!;
      const axis = { axis: { kind: 'int', value: 0 } } as const;
      return [
        { opType: 'Gather', inputs: [values, rows], outputs: [`${result}/int8`], attributes: axis },
        { opType: 'Cast', inputs: [`${result}/int8`], outputs: [`${result}/integers`], attributes: TO_F32 },
        { opType: 'Gather', inputs: [scales, rows], outputs: [`${result}/scales`], attributes: axis },
        { opType: 'Mul', inputs: [`${result}/integers`, `${result}/scales`], outputs: [result] },
      ];
    }
    const weight = isProduct(node) ? matrix(node.inputs[1]) : undefined;
    if (!weight) return [node];
    const { values, scales } = quantize(weight, number(node, 'transB', 0) === 1 ? 'transposed' : 'columns');
    const x = node.inputs[0]!;
    const steps: OnnxNode[] = [];
    let name = activations.get(x);
    if (name === undefined) {
      name = `${x}/quantized`;
      activations.set(x, name);
      steps.push({
        opType: 'DynamicQuantizeLinear',
        inputs: [x],
        outputs: [name, `${name}/scale`, `${name}/zero`],
      });
    }
    steps.push(
      { opType: 'MatMulInteger', inputs: [name, values, `${name}/zero`], outputs: [`${result}/int32`] },
      { opType: 'Cast', inputs: [`${result}/int32`], outputs: [`${result}/integers`], attributes: TO_F32 },
      { opType: 'Mul', inputs: [`${name}/scale`, scales], outputs: [`${result}/scales`] },
      { opType: 'Mul', inputs: [`${result}/integers`, `${result}/scales`], outputs: [result] },
    );
    return steps;
  });
  const used = new Set([
    ...nodes.flatMap(({ inputs }) => inputs),
    ...model.graph.outputs.map(({ name }) => name),
  ]);
  const kept = model.graph.initializers.filter(({ name }) => used.has(name));
  return { ...model, graph: { ...model.graph, nodes, initializers: [...kept, ...made] } };
}

/**
 * Group of weights that share a scale.
 *
 * - `rows`: rows of a table [V, D]
 * - `columns`: columns of W [K, N]
 * - `transposed`: rows of Wᵀ [N, K], which is stored as W [K, N]
 */
type Layout = 'rows' | 'columns' | 'transposed';

const TO_F32 = { to: { kind: 'int', value: 1 } } as const;

/** Returns whether a node computes x W or x Wᵀ without a bias or scale factors. */
const isProduct = (node: OnnxNode): boolean =>
  node.opType === 'MatMul' ||
  (node.opType === 'Gemm' &&
    node.inputs.length === 2 &&
    number(node, 'transA', 0) === 0 &&
    number(node, 'alpha', 1) === 1);

function number(node: OnnxNode, name: string, absent: number): number {
  const attribute = node.attributes?.[name];
  return attribute?.kind === 'int' || attribute?.kind === 'float' ? attribute.value : absent;
}

function integers(
  { dims, data }: OnnxTensor,
  layout: Layout,
  names: { values: string; scales: string },
): OnnxTensor[] {
  const weights = data as Float32Array;
  const [rows, columns] = dims as [number, number];
  const byRow = layout !== 'columns';
  const scales = new Float32Array(byRow ? rows : columns);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++, i++) {
      const group = byRow ? r : c;
      scales[group] = Math.max(scales[group]!, Math.abs(weights[i]!));
    }
  }
  const largest = layout === 'rows' ? LARGEST_ROW : LARGEST_FACTOR;
  for (let group = 0; group < scales.length; group++) scales[group] = scales[group]! / largest || 1;
  const values = new Int8Array(weights.length);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++, i++) {
      values[layout === 'transposed' ? c * rows + r : i] = Math.round(weights[i]! / scales[byRow ? r : c]!);
    }
  }
  return [
    {
      name: names.values,
      dtype: 'i8',
      dims: layout === 'transposed' ? [columns, rows] : [rows, columns],
      data: values,
    },
    { name: names.scales, dtype: 'f32', dims: layout === 'rows' ? [rows, 1] : [scales.length], data: scales },
  ];
}
