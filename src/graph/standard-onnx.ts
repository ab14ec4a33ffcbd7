import type { OnnxModel, OnnxNode } from '../onnx/model.ts';
import type { Graph } from './graph.ts';
import { toOnnx } from './to-onnx.ts';

/**
 * Converts a graph to an ONNX model in standard operators alone. Replaces onnxruntime's own `FusedMatMul`, which other runtimes lack, and
 * removes results that nothing reads (the means of layer norms):
 *
 *     FusedMatMul(a, b; transA, transB, α) = α · MatMul(aᵀ, bᵀ),  transposing the last two axes where asked
 *
 * No speed is lost: onnxruntime fuses the three operators again when it loads the file.
 *
 * @param metadata free text by key, stored in the file
 */
export function toStandardOnnx(graph: Graph, metadata: Record<string, string> = {}): OnnxModel {
  const model = toOnnx(graph, metadata);
  const made = new Map(graph.nodes.map((node) => [node.outputs[0]!.name, node]));
  const initializers = [...model.graph.initializers];
  const read = new Set([
    ...model.graph.nodes.flatMap(({ inputs }) => inputs),
    ...model.graph.outputs.map(({ name }) => name),
  ]);
  const nodes = model.graph.nodes.flatMap((node): OnnxNode[] => {
    if (node.opType !== 'FusedMatMul') {
      const last = node.outputs.findLastIndex((output) => read.has(output));
      return [{ ...node, outputs: node.outputs.slice(0, last + 1) }];
    }
    const result = node.outputs[0]!;
    const steps: OnnxNode[] = [];
    const operands = node.inputs.map((name, i) => {
      if (intAttribute(node, i === 0 ? 'transA' : 'transB') === 0) return name;
      const { rank } = made.get(node.name!)!.inputs[i]!;
      const perm = Array.from({ length: rank }, (_, axis) => axis);
      [perm[rank - 2], perm[rank - 1]] = [rank - 1, rank - 2];
      const transposed = `${result}/transposed.${i}`;
      steps.push({
        opType: 'Transpose',
        inputs: [name],
        outputs: [transposed],
        attributes: { perm: { kind: 'ints', value: perm } },
      });
      return transposed;
    });
    const alpha = node.attributes?.alpha;
    const product = `${result}/product`;
    steps.push({ opType: 'MatMul', inputs: operands, outputs: [product] });
    initializers.push({
      name: `${result}/alpha`,
      dtype: 'f32',
      dims: [],
      data: Float32Array.of(alpha?.kind === 'float' ? alpha.value : 1),
    });
    steps.push({ opType: 'Mul', inputs: [product, `${result}/alpha`], outputs: [result] });
    return steps;
  });
  const { '': standard } = model.opsets;
  return { ...model, opsets: { '': standard! }, graph: { ...model.graph, nodes, initializers } };
}

function intAttribute(node: OnnxNode, name: string): number {
  const attribute = node.attributes?.[name];
  return attribute?.kind === 'int' ? attribute.value : 0;
}
