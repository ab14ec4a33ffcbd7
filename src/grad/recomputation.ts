import { multiplyDims } from '../graph/dims.ts';
import type { NodeSegment } from '../graph/graph.ts';
import { add, equal, reshape, slice, where } from '../graph/ops.ts';
import type { GraphNode, Tensor } from '../graph/tensor.ts';

/**
 * Second copies of the nodes of segments, which gradient rules read in place of the first ones.
 *
 * A copy adds a zero, which is known only with a gradient, to the activations that enter its segment. So it cannot run before the backward pass
 * reaches the segment, and the runtime cannot take it for the first copy and keep its values.
 */
export class Recomputation {
  readonly #copies = new Map<NodeSegment, Map<GraphNode, GraphNode>>();
  readonly #layers: boolean;

  /** @param options.layers  whether whole layers (`Graph.layer`) are recomputed too */
  constructor({ layers }: { readonly layers: boolean }) {
    this.#layers = layers;
  }

  /**
   * Returns the node whose inputs and results a gradient rule reads: the node itself, or its copy.
   *
   * @param gradient gradient of a result of the node
   */
  of(node: GraphNode, gradient: Tensor): GraphNode {
    const { layerSegments, recomputedSegments } = gradient.graph;
    const segment = (this.#layers ? layerSegments.get(node) : undefined) ?? recomputedSegments.get(node);
    if (!segment) return node;
    let copies = this.#copies.get(segment);
    if (!copies) {
      copies = copyOf(segment, gradient);
      this.#copies.set(segment, copies);
    }
    return copies.get(node)!;
  }
}

/** Copies the nodes of a segment. */
function copyOf({ nodes }: NodeSegment, gradient: Tensor): Map<GraphNode, GraphNode> {
  const { graph } = gradient;
  const own = new Set(nodes);
  const images = new Map<Tensor, Tensor>();
  const copies = new Map<GraphNode, GraphNode>();
  graph.scope('recomputed', () => {
    const zero = zeroAfter(gradient);
    const enters = (input: Tensor) => input.node && !own.has(input.node) && input.dtype === zero.dtype;
    for (const node of nodes) {
      for (const input of node.inputs)
        if (!images.has(input) && enters(input)) images.set(input, add(input, zero));
      const inputs = node.inputs.map((input) => images.get(input) ?? input);
      const outputs = graph.add(node.op, inputs, node.attributes, node.outputs);
      copies.set(node, outputs[0]!.node!);
      for (const [i, output] of node.outputs.entries()) images.set(output, outputs[i]!);
    }
  });
  return copies;
}

/** Zero that is known only when a gradient is: a scalar of its dtype. */
function zeroAfter(gradient: Tensor): Tensor {
  const first = reshape(
    slice(reshape(gradient, [multiplyDims(...gradient.shape)]), { axis: 0, length: 1 }),
    [],
  );
  return where(equal(first, first), 0, 0);
}
