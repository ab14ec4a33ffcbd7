import { dtypes, elementCount } from '../onnx/dtypes.ts';
import { type Dim, evaluateDim } from './dims.ts';
import type { Graph } from './graph.ts';
import type { OpAttributes, OpType } from './op-types.ts';
import type { GraphNode, Tensor } from './tensor.ts';

/** Operations whose result has the elements of the first input in the same order: no memory of its own. */
const VIEWS: ReadonlySet<OpType> = new Set(['Reshape', 'StopGradient']);

/** Operations that may write their result over an input of the same size that nothing else reads afterwards. */
const IN_PLACE: ReadonlySet<OpType> = new Set<OpType>([
  ...(['Neg', 'Abs', 'Sign', 'Exp', 'Log', 'Sqrt', 'Reciprocal', 'Sin', 'Cos', 'Tanh', 'Sigmoid'] as const),
  ...(['Softplus', 'Relu', 'Erf', 'Gelu', 'Floor', 'Not', 'Softmax', 'LogSoftmax'] as const),
  ...(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min', 'Where'] as const),
]);

/** Operations that compute their gradients themselves, and only those that something reads. */
const IN_PIECES: ReadonlySet<OpType> = new Set(['TokenLogLikelihood', 'MemoryLogSums']);

/**
 * Plan of the memory of a graph's values: which of them live at the same time when onnxruntime runs
 * the nodes in its order, one after the other.
 */
export class MemoryPlan {
  private readonly order: readonly GraphNode[];
  /** Position after which a value is free; values that are outputs are not part of the plan. */
  private readonly lastUse = new Map<Tensor, number>();
  private readonly kept: ReadonlySet<Tensor>;
  private readonly outputs: readonly Tensor[];

  constructor(graph: Graph) {
    this.order = executionOrder(graph);
    this.outputs = [...graph.outputs.values()];
    this.kept = new Set([...graph.outputs.values()].map(ownerOf));
    for (const [position, node] of this.order.entries()) {
      for (const input of node.inputs) this.lastUse.set(ownerOf(input), position);
    }
  }

  /**
   * Computes the largest number of bytes that values take at one time: all outputs, and the intermediate values.
   * Inputs are not counted.
   *
   * @param sizes  sizes of the named dimensions
   */
  peakBytes(sizes: ReadonlyMap<string, number>): number {
    const bytesOf = byteCounter(sizes);
    /** Values whose last use is at a position. */
    const ends = new Map<number, Tensor[]>();
    for (const [tensor, position] of this.lastUse) {
      if (tensor.node && !this.kept.has(tensor)) {
        const others = ends.get(position);
        if (others) others.push(tensor);
        else ends.set(position, [tensor]);
      }
    }
    const freed = new Set<Tensor>();
    let live = this.outputs.reduce((sum, output) => sum + bytesOf(output), 0);
    let peak = live;
    for (const [position, node] of this.order.entries()) {
      const ending = ends.get(position) ?? [];
      if (!VIEWS.has(node.op)) {
        const made = node.outputs.filter((output) => !this.kept.has(output) && this.isMade(output));
        let bytes = made.reduce((sum, output) => sum + bytesOf(output), 0);
        if (IN_PLACE.has(node.op) && made.length > 0) {
          const over = ending.find((tensor) => bytesOf(tensor) === bytes);
          if (over) {
            freed.add(over);
            bytes = 0;
          }
        }
        live += bytes;
        peak = Math.max(peak, live + this.workBytes(node, bytesOf));
        // A result that nothing reads is free at once.
        for (const output of made) if (!this.lastUse.has(output)) live -= bytesOf(output);
      }
      for (const tensor of ending) if (!freed.has(tensor)) live -= bytesOf(tensor);
    }
    return peak;
  }

  /** Tells whether a result takes memory: gradients that nothing reads are not computed. */
  private isMade(output: Tensor): boolean {
    return !IN_PIECES.has(output.node!.op) || this.lastUse.has(output);
  }

  /** Memory that an operation takes while it runs, besides its inputs and results. */
  private workBytes(node: GraphNode, bytesOf: (tensor: Sized) => number): number {
    if (node.op === 'CausalAttention') {
      // Scores of all heads, and keys and values head after head.
      const [query, key, value] = node.inputs as [Tensor, Tensor, Tensor];
      const { heads } = node.attributes as OpAttributes['CausalAttention'];
      const [batch, tokens] = query.shape as [Dim, Dim];
      const scores = { dtype: query.dtype, shape: [batch, heads, tokens, tokens] };
      return bytesOf(scores) + bytesOf(key) + bytesOf(value);
    }
    if (!IN_PIECES.has(node.op)) return 0;
    const { scoresPerPiece } = node.attributes as OpAttributes['TokenLogLikelihood' | 'MemoryLogSums'];
    const rowsOf = ({ shape }: Tensor) => bytesOf({ dtype: 'f32', shape: shape.slice(0, 1) }) / 4;
    const [firsts, seconds] = node.inputs.slice(0, 2).map(rowsOf);
    const scores = Math.min(firsts! * seconds!, Math.max(scoresPerPiece, seconds!));
    // Arrays of scores, and two sums of the gradient of the second matrix: before and after a piece.
    const arrays = node.op === 'MemoryLogSums' ? 4 : 2;
    const [, , , dSecond] = node.outputs as [Tensor, Tensor, Tensor, Tensor];
    const isRead = this.lastUse.has(dSecond) || this.kept.has(dSecond);
    return arrays * 4 * scores + (isRead ? bytesOf(dSecond) : 0);
  }
}

/** Element type and shape of a tensor. */
type Sized = Pick<Tensor, 'dtype' | 'shape'>;

/** Returns the tensor whose memory a tensor uses. */
function ownerOf(tensor: Tensor): Tensor {
  let owner = tensor;
  while (owner.node && VIEWS.has(owner.node.op)) owner = owner.node.inputs[0]!;
  return owner;
}

/** Returns a function that computes the bytes of a tensor. */
function byteCounter(sizes: ReadonlyMap<string, number>): (tensor: Sized) => number {
  const known = new Map<Dim, number>();
  const size = (dim: Dim): number => {
    if (typeof dim === 'number') return dim;
    const found = known.get(dim) ?? sizes.get(dim) ?? evaluateDim(dim, sizes) ?? 1;
    known.set(dim, found);
    return found;
  };
  const counted = new Map<Sized, number>();
  return (tensor) => {
    const found = counted.get(tensor) ?? elementCount(tensor.shape.map(size)) * dtypes[tensor.dtype].bytes;
    counted.set(tensor, found);
    return found;
  };
}

/**
 * Orders the nodes as onnxruntime runs them: what an output or another final node needs, one final node after
 * the other; see `executionOrder` of `to-onnx.ts`.
 */
function executionOrder(graph: Graph): GraphNode[] {
  const reached = new Set<GraphNode>();
  const stack = [...graph.outputs.values()].flatMap(({ node }) => node ?? []);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (reached.has(node)) continue;
    reached.add(node);
    for (const input of node.inputs) if (input.node) stack.push(input.node);
  }
  const consumed = new Set([...reached].flatMap(({ inputs }) => inputs));
  const order: GraphNode[] = [];
  const done = new Set<GraphNode>();
  for (const final of graph.nodes) {
    if (!reached.has(final) || final.outputs.some((output) => consumed.has(output))) continue;
    const path: { node: GraphNode; next: number }[] = [{ node: final, next: 0 }];
    while (path.length > 0) {
      const top = path.at(-1)!;
      const input = top.node.inputs[top.next++];
      if (input === undefined) {
        path.pop();
        if (!done.has(top.node)) order.push(top.node);
        done.add(top.node);
      } else if (input.node && !done.has(input.node)) path.push({ node: input.node, next: 0 });
    }
  }
  return order;
}
