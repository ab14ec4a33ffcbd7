import { f32ToF16 } from '../util/half.ts';
import { elementCount } from './dtypes.ts';
import type { OnnxModel, OnnxNode, OnnxTensor } from './model.ts';

/**
 * Smallest number of elements to convert. Small constants save little space, and norms are sensitive to
 * rounding.
 */
const SMALLEST_ELEMENTS = 4096;

/**
 * Returns a copy of a model that stores its large f32 constants as f16, which about halves the file.
 *
 * Each constant is followed by a Cast to f32. onnxruntime evaluates the casts once, when it loads the file,
 * and computes in f32 as before.
 *
 * The model does not compute in f16. onnxruntime's CPU provider has no f16 kernels, and with casts around
 * every operation a model was a third slower and had errors of the same size (docs/export.md).
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
