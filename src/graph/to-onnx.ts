import type { OnnxGraph, OnnxModel, OnnxValue } from '../onnx/model.ts';
import { ShapeError } from '../util/errors.ts';
import type { Graph } from './graph.ts';
import { lowerNode } from './lower-ops.ts';
import { type LoweringOptions, OnnxWriter } from './onnx-writer.ts';
import type { GraphNode, Tensor } from './tensor.ts';

/** Operator sets of the written files: the standard one, and onnxruntime's own for `FusedMatMul`. */
const OPSETS = { '': 21, 'com.microsoft': 1 };
const IR_VERSION = 10;

/**
 * Converts a graph to an ONNX model.
 *
 * The model has all inputs of the graph and the nodes that some output needs, in an order in which every
 * value is computed before its use. Names and bytes depend on nothing but the graph, `metadata` and
 * `options`.
 *
 * @param metadata free text by key, stored in the file
 * @throws ShapeError if the graph has no outputs, or the size of a named dimension cannot be read from any
 *   tensor.
 */
export function toOnnx(
  graph: Graph,
  metadata: Record<string, string> = {},
  options: LoweringOptions = {},
): OnnxModel {
  if (graph.outputs.size === 0) throw new ShapeError(`graph "${graph.name}" has no outputs`);
  const nodes = reachableNodes(graph.outputs.values());
  const writer = new OnnxWriter(graph, nodes, options);
  for (const node of executionOrder(nodes)) lowerNode(writer, node);
  const outputs = [...graph.outputs].map(([name, tensor]) => {
    const made = writer.value(tensor);
    if (made !== name) writer.emit('Identity', [made], [name]);
    return toValue(name, tensor);
  });
  const onnxGraph: OnnxGraph = {
    name: graph.name,
    nodes: writer.nodes,
    inputs: graph.inputs.map((input) => toValue(input.name, input)),
    outputs,
    initializers: writer.initializers,
  };
  return {
    irVersion: IR_VERSION,
    opsets: OPSETS,
    producerName: 'undrift',
    producerVersion: '',
    graph: onnxGraph,
    metadata,
  };
}

const toValue = (name: string, tensor: Tensor): OnnxValue => ({
  name,
  dtype: tensor.dtype,
  shape: tensor.shape,
});

/** Finds the nodes that the given tensors depend on, in graph order, which is topological. */
function reachableNodes(roots: Iterable<Tensor>): GraphNode[] {
  const wanted = new Set<GraphNode>();
  const stack = [...roots];
  const graph = stack[0]!.graph;
  while (stack.length > 0) {
    const node = stack.pop()!.node;
    if (node && !wanted.has(node)) {
      wanted.add(node);
      stack.push(...node.inputs);
    }
  }
  return graph.nodes.filter((node) => wanted.has(node));
}

/**
 * Orders the nodes so that onnxruntime keeps few intermediate values in memory.
 *
 * onnxruntime derives its order of execution by walking back from the nodes that no other node consumes, the
 * last one in the file first. In graph order, the last one is the gradient of the first layer. The whole
 * backward chain would then run before any weight gradient, and all its intermediate values would be kept for
 * the weight gradients. These final nodes are therefore placed at the end, in reverse, so that the gradients
 * that are ready first are computed first.
 */
function executionOrder(nodes: readonly GraphNode[]): GraphNode[] {
  const consumed = new Set(nodes.flatMap((node) => node.inputs));
  const isFinal = (node: GraphNode) => !node.outputs.some((output) => consumed.has(output));
  return [...nodes.filter((node) => !isFinal(node)), ...nodes.filter(isFinal).reverse()];
}
