import { f32ToF16 } from '../util/half.ts';
import { elementCount } from './dtypes.ts';
import type { OnnxModel, OnnxNode, OnnxTensor } from './model.ts';

/** Constants below this size stay as they are: half of nothing, and norms are sensitive. */
const SMALLEST_ELEMENTS = 4096;

/**
 * The same model with its large f32 constants stored as f16, each followed by a Cast to f32: half the file. onnxruntime casts once, when
 * it loads the file, and computes in f32 as before.
 *
 * Not a model that computes in f16: the CPU has no kernels for that, and the casts around every operation made one a third slower,
 * with errors of the same size (docs/export.md).
 */
export function halfWeights(model: OnnxModel): OnnxModel {
  const initializers: OnnxTensor[] = [];
  const casts: OnnxNode[] = [];
  for (const tensor of model.graph.initializers) {
    const { name, dtype, dims, data } = tensor;
    if (dtype !== 'f32' || elementCount(dims) < SMALLEST_ELEMENTS) {
      initializers.push(tensor);
      continue;
    }
    const half = `${name}/f16`;
    initializers.push({ name: half, dtype: 'f16', dims, data: f32ToF16(data as Float32Array) });
    casts.push({
      opType: 'Cast',
      inputs: [half],
      outputs: [name],
      attributes: { to: { kind: 'int', value: 1 } },
    });
  }
  return { ...model, graph: { ...model.graph, initializers, nodes: [...casts, ...model.graph.nodes] } };
}
