import type { OnnxModel, OnnxNode, OnnxTensor } from './model.ts';

/**
 * Largest integer of a product's weight. Not 127: processors without VNNI, and WebAssembly's relaxed SIMD, add pairs of products in 16 bits, where
 * 255 · 127 · 2 saturates, without an error. With 7 bits nothing does (255 · 64 · 2 < 2¹⁵), so the file is right everywhere.
 */
const LARGEST_FACTOR = 64;
/** What is only gathered is in no product of integers. */
const LARGEST_ROW = 127;

/**
 * The same model with its matrices as int8, for the weights W[K, N] of every product x W and for every table that rows are gathered
 * from; activations are quantised when it runs.
 *
 *     s_n = max_k |W_kn| / 64,   Q_kn = round(W_kn / s_n)            one scale for each output (for each row of a table, by 127)
 *     X, s, z = DynamicQuantizeLinear(x)                              one scale for the whole batch
 *     y = s s_n (X − z) Q                                             MatMulInteger: sums in int32
 *
 * The operators are those that onnxruntime's dynamic quantisation writes, and it fuses them when it loads the file. Since x has one
 * scale for all of a batch, a text's vector depends a little on what else is in the batch.
 */
export function quantizeWeights(model: OnnxModel): OnnxModel {
  const constants = new Map(model.graph.initializers.map((tensor) => [tensor.name, tensor]));
  const made: OnnxTensor[] = [];
  const quantized = new Map<string, { values: string; scales: string }>();
  /** The integers and scales of a matrix, made at its first use. */
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
  /** Activations that are quantised already: several products may read the same. */
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

/** What shares a scale: rows [V, D] of a table; columns of W [K, N]; rows of Wᵀ [N, K], which is written as [K, N]. */
type Layout = 'rows' | 'columns' | 'transposed';

const TO_F32 = { to: { kind: 'int', value: 1 } } as const;

/** x W, or x Wᵀ, without a bias or factors of its own. */
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
