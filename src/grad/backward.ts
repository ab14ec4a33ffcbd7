import { multiplyDims, sameDim, sameShape } from '../graph/dims.ts';
import { add, fill, reshape, sum } from '../graph/ops.ts';
import type { GraphNode, Tensor } from '../graph/tensor.ts';
import { isFloat } from '../onnx/dtypes.ts';
import { ShapeError } from '../util/errors.ts';
import { Recomputation } from './recomputation.ts';
import { type GradientRule, rules } from './rules.ts';

/**
 * Differentiates an output: adds the nodes that compute ∂output/∂target to the graph, and returns the
 * gradients.
 *
 * The gradients have the order and shapes of the targets. A target that the output does not depend on gets
 * zeros.
 *
 * This is reverse-mode differentiation. The nodes between targets and output are visited once, from last to
 * first. The rule of an operation in `rules.ts` gives the gradient of each of its inputs. Contributions to
 * the same tensor are added here. If a tensor was broadcast, its gradient is summed over the repeated axes,
 * here only. Values of recomputed segments (`Graph.recomputed`) are computed again, so that they are not kept.
 *
 * @param output float[], or float of any shape if `seed` is given
 * @param targets tensors of the same graph, which may be intermediate ones (such as gathered rows of a table)
 * @param options.seed gradient with respect to `output`, of the same shape (for gradient caching); default 1
 * @param options.checkpointing whether activations inside the layers of a model (`Graph.layer`) are computed again for the gradient rather
 *   than kept; default false. The gradients are the same
 * @throws ShapeError if `output` is not a scalar and there is no seed, or the shape of the seed differs.
 */
export function backward(
  output: Tensor,
  targets: readonly Tensor[],
  options: { seed?: Tensor; checkpointing?: boolean | undefined } = {},
): Tensor[] {
  const { graph } = output;
  if (!options.seed && output.rank !== 0) {
    throw new ShapeError(`backward: ${output.describe()} is no scalar`, {
      help: 'reduce it with sum() or mean(), or give a seed gradient of its shape',
    });
  }
  if (options.seed && !sameShape(options.seed.shape, output.shape)) {
    throw new ShapeError(
      `backward: the seed ${options.seed.describe()} must have the shape of ${output.describe()}`,
    );
  }
  const gradients = new Map<Tensor, Tensor>();
  const recomputation = new Recomputation({ layers: options.checkpointing ?? false });
  graph.scope('backward', () => {
    gradients.set(output, options.seed ?? graph.scalar(1, output.dtype));
    const { needed, nodes } = dependents(output, targets);
    for (const node of nodes.reverse()) {
      const upstream = node.outputs.map((result) => gradients.get(result));
      if (upstream.every((gradient) => gradient === undefined)) continue;
      graph.scope(node.name, () => {
        const needs = node.inputs.map((input) => needed.has(input));
        const rule = rules[node.op] as GradientRule;
        const read = recomputation.of(node, upstream.find((gradient) => gradient !== undefined)!);
        const contributions = rule({ node: read, upstream, needs, attributes: node.attributes });
        for (const [index, input] of node.inputs.entries()) {
          const contribution = contributions[index];
          if (!needs[index] || !contribution) continue;
          const gradient = sumToShape(contribution, input);
          const earlier = gradients.get(input);
          gradients.set(input, earlier ? add(earlier, gradient) : gradient);
        }
      });
    }
  });
  return targets.map((target) => gradients.get(target) ?? fill(graph, 0, target.shape, target.dtype));
}

/**
 * Finds the tensors on paths from the targets to the output, and the nodes that compute them, in graph order.
 */
function dependents(output: Tensor, targets: readonly Tensor[]): { needed: Set<Tensor>; nodes: GraphNode[] } {
  const needed = new Set<Tensor>(targets);
  const nodes: GraphNode[] = [];
  for (const node of output.graph.nodes) {
    if (node.op === 'StopGradient' || !node.inputs.some((input) => needed.has(input))) continue;
    // Integers and booleans carry no gradient, whatever they were computed from.
    const floats = node.outputs.filter((result) => isFloat(result.dtype));
    for (const result of floats) needed.add(result);
    if (floats.length > 0) nodes.push(node);
  }
  return { needed, nodes };
}

/** Sums the gradient of a broadcast tensor over the axes along which the tensor was repeated. */
function sumToShape(gradient: Tensor, input: Tensor): Tensor {
  if (sameShape(gradient.shape, input.shape)) return gradient;
  const extra = gradient.rank - input.rank;
  const axes = gradient.shape.flatMap((dim, axis) => {
    const own = axis < extra ? 1 : input.shape[axis - extra]!;
    return sameDim(dim, own) && axis >= extra ? [] : [axis];
  });
  const summed = axes.length > 0 ? sum(gradient, { axes }) : gradient;
  if (!sameDim(multiplyDims(...summed.shape), multiplyDims(...input.shape))) {
    throw new ShapeError(`backward: the gradient ${gradient.describe()} does not fit ${input.describe()}`);
  }
  return reshape(summed, input.shape);
}
