import type { Dim } from '../graph/dims.ts';
import { multiplyDims, subtractDims } from '../graph/dims.ts';
import type { OpAttributes, OpType } from '../graph/op-types.ts';
import {
  add,
  cast,
  concat,
  cos,
  dimSize,
  div,
  equal,
  erf,
  exp,
  expand,
  fill,
  gatherElements,
  greater,
  log,
  matmul,
  mul,
  neg,
  pow,
  reshape,
  scatter,
  scatterAdd,
  sigmoid,
  sign,
  sin,
  slice,
  softmax,
  square,
  sub,
  sum,
  takeRows,
  tokenLogLikelihood,
  transpose,
  unsqueeze,
  weightedMemoryLogSums,
  where,
} from '../graph/ops.ts';
import type { GraphNode, Tensor } from '../graph/tensor.ts';
import { ShapeError } from '../util/errors.ts';

/**
 * Arguments of a gradient rule: the forward node, the gradients of its results, and the inputs that need a
 * gradient.
 */
export interface RuleContext<Attributes> {
  /** Forward node. */
  readonly node: GraphNode;
  /** Attributes of the forward node. */
  readonly attributes: Attributes;
  /**
   * ∂output/∂(result i), with the shape of the result; undefined if the output does not depend on the result.
   */
  readonly upstream: readonly (Tensor | undefined)[];
  /** Whether input i lies on a path to a target. Other gradients need not be built. */
  readonly needs: readonly boolean[];
}

/**
 * Chain rule for one operation: returns ∂output/∂(input i) for each input, built from operations of the
 * graph.
 *
 * A rule may return a gradient of the broadcast shape, because `backward` sums it to the shape of the input.
 * Undefined means that the input gets no gradient.
 */
export type GradientRule<Attributes = unknown> = (
  context: RuleContext<Attributes>,
) => readonly (Tensor | undefined)[];

/** Rule of y = f(x), from a function that returns dy · f′(x). */
const unary =
  (rule: (dy: Tensor, x: Tensor, y: Tensor) => Tensor): GradientRule =>
  ({ node, upstream }) => [rule(upstream[0]!, node.inputs[0]!, node.outputs[0]!)];

/** Rule of y = f(a, b), from one function per input. A function is called only if its gradient is needed. */
const binary =
  (
    da: (dy: Tensor, a: Tensor, b: Tensor, y: Tensor) => Tensor,
    db: (dy: Tensor, a: Tensor, b: Tensor, y: Tensor) => Tensor,
  ): GradientRule =>
  ({ node, upstream, needs }) => {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const [dy, y] = [upstream[0]!, node.outputs[0]!];
    return [needs[0] ? da(dy, a, b, y) : undefined, needs[1] ? db(dy, a, b, y) : undefined];
  };

/** Rule without gradients, for operations that are piecewise constant or have integer or boolean results. */
const none: GradientRule = ({ node }) => node.inputs.map(() => undefined);

/** Gradient of one operand of max or min: dy where it wins, half of dy where both are equal, else 0. */
const extremum = (wins: typeof greater, ties: Tensor, dy: Tensor, own: Tensor, other: Tensor): Tensor =>
  mul(dy, where(ties, 0.5, cast(wins(own, other), dy.dtype)));

/** Reshapes the gradient of a reduction so that the reduced axes are back, with size 1. */
function restoreAxes(dy: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return reshape(
    dy,
    x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim)),
  );
}

const elementCount = (x: Tensor, axes: readonly number[]): Dim =>
  multiplyDims(...axes.map((axis) => x.shape[axis]!));

/** Rule of max and min over axes: the elements that attain the extremum share the gradient equally. */
const reducedExtremum: GradientRule<OpAttributes['ReduceMax']> = ({ node, attributes, upstream }) => {
  const x = node.inputs[0]!;
  const attained = cast(equal(x, restoreAxes(node.outputs[0]!, x, attributes.axes)), x.dtype);
  const share = div(
    restoreAxes(upstream[0]!, x, attributes.axes),
    sum(attained, { axes: attributes.axes, keepDims: true }),
  );
  return [mul(attained, share)];
};

/** Zeros with the shape of x, with dy added at the indices. */
const scatterBack = (x: Tensor, indices: Tensor, dy: Tensor, axis: number): Tensor =>
  scatterAdd(fill(x.graph, 0, x.shape, x.dtype), indices, dy, { axis });

/** Pads dy with zeros on both sides, to the size that x has along the axis. */
function padBack(dy: Tensor, x: Tensor, axis: number, before: Dim, after: Dim): Tensor {
  const zeros = (size: Dim) =>
    size === 0
      ? []
      : [
          fill(
            x.graph,
            0,
            x.shape.map((dim, i) => (i === axis ? size : dim)),
            x.dtype,
          ),
        ];
  return concat([...zeros(before), dy, ...zeros(after)], axis);
}

/** Gradient rule of every operation. An operation without a rule does not compile. */
export const rules: { readonly [K in OpType]: GradientRule<OpAttributes[K]> } = {
  Neg: unary((dy) => neg(dy)),
  Abs: unary((dy, x) => mul(dy, sign(x))),
  Exp: unary((dy, _x, y) => mul(dy, y)),
  Log: unary((dy, x) => div(dy, x)),
  Sqrt: unary((dy, _x, y) => div(mul(dy, 0.5), y)),
  Reciprocal: unary((dy, _x, y) => neg(mul(dy, square(y)))),
  Sin: unary((dy, x) => mul(dy, cos(x))),
  Cos: unary((dy, x) => neg(mul(dy, sin(x)))),
  Tanh: unary((dy, _x, y) => mul(dy, sub(1, square(y)))),
  Sigmoid: unary((dy, _x, y) => mul(dy, mul(y, sub(1, y)))),
  Softplus: unary((dy, x) => mul(dy, sigmoid(x))),
  Relu: unary((dy, _x, y) => mul(dy, cast(greater(y, 0), y.dtype))),
  Erf: unary((dy, x) => mul(mul(dy, 2 / Math.sqrt(Math.PI)), exp(neg(square(x))))),
  // Φ(x) + x φ(x) = ½ (erf u + 2/√π · u e^(−u²) + 1) with u = x/√2. Division by e^(u²) correctly gives 0 when
  // the exponential overflows. The factor ½ is applied to dy, because dy is a product of matrices, which
  // takes a factor at no cost.
  Gelu: unary((dy, x) => {
    const u = mul(x, Math.SQRT1_2);
    const density = div(mul(u, 2 / Math.sqrt(Math.PI)), exp(square(u)));
    return mul(add(add(erf(u), density), 1), mul(dy, 0.5));
  }),
  Cast: unary((dy, x) => cast(dy, x.dtype)),
  StopGradient: none,
  Sign: none,
  Floor: none,
  Not: none,
  IsNaN: none,

  Add: binary(
    (dy) => dy,
    (dy) => dy,
  ),
  Sub: binary(
    (dy) => dy,
    (dy) => neg(dy),
  ),
  Mul: binary(
    (dy, _a, b) => mul(dy, b),
    (dy, a) => mul(dy, a),
  ),
  Div: binary(
    (dy, _a, b) => div(dy, b),
    (dy, _a, b, y) => neg(div(mul(dy, y), b)),
  ),
  // b a^(b−1), and a^b log a, which is 0 for a = 0 and b > 0.
  Pow: binary(
    (dy, a, b) => mul(dy, mul(b, pow(a, sub(b, 1)))),
    (dy, a, _b, y) => mul(dy, mul(y, log(where(greater(a, 0), a, 1)))),
  ),
  Max: binary(
    (dy, a, b) => extremum(greater, equal(a, b), dy, a, b),
    (dy, a, b) => extremum(greater, equal(a, b), dy, b, a),
  ),
  Min: binary(
    (dy, a, b) => extremum(greater, equal(a, b), dy, b, a),
    (dy, a, b) => extremum(greater, equal(a, b), dy, a, b),
  ),
  Equal: none,
  Less: none,
  LessOrEqual: none,
  Greater: none,
  GreaterOrEqual: none,
  And: none,
  Or: none,
  BitwiseXor: none,
  ShiftRight: none,
  Where: ({ node, upstream, needs }) => {
    const condition = node.inputs[0]!;
    const dy = upstream[0]!;
    return [
      undefined,
      needs[1] ? where(condition, dy, 0) : undefined,
      needs[2] ? where(condition, 0, dy) : undefined,
    ];
  },

  // For y = α op(A) op(B), dA and dB are also matrix products, with other transpositions.
  MatMul: ({ node, upstream, needs, attributes: { transA, transB, alpha } }) => {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const dy = upstream[0]!;
    return [
      needs[0] ? leftFactor(dy, b, transA, transB, alpha) : undefined,
      needs[1] ? rightFactor(dy, a, transA, transB, alpha) : undefined,
    ];
  },
  Gemm: ({ node, upstream, needs, attributes: { transA, transB } }) => {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const dy = upstream[0]!;
    return [
      needs[0] ? leftFactor(dy, b, transA, transB, 1) : undefined,
      needs[1] ? rightFactor(dy, a, transA, transB, 1) : undefined,
      dy,
    ];
  },

  ReduceSum: ({ node, attributes, upstream }) => {
    const x = node.inputs[0]!;
    return [expand(restoreAxes(upstream[0]!, x, attributes.axes), x.shape)];
  },
  ReduceMean: ({ node, attributes, upstream }) => {
    const x = node.inputs[0]!;
    const count = elementCount(x, attributes.axes);
    const dy = restoreAxes(upstream[0]!, x, attributes.axes);
    const share = typeof count === 'number' ? mul(dy, 1 / count) : div(dy, dimSize(x.graph, count, x.dtype));
    return [expand(share, x.shape)];
  },
  ReduceMax: reducedExtremum,
  ReduceMin: reducedExtremum,
  // dx = softmax(x) dy. For a single axis, softmax is used instead of e^(x−y), since it sums to 1 for any
  // size of x.
  ReduceLogSumExp: ({ node, attributes: { axes }, upstream }) => {
    const x = node.inputs[0]!;
    const [axis, ...others] = axes;
    const single = axis !== undefined && others.length === 0;
    const weights = single ? softmax(x, axis) : exp(sub(x, restoreAxes(node.outputs[0]!, x, axes)));
    return [mul(weights, restoreAxes(upstream[0]!, x, axes))];
  },
  // dx = y (dy − Σ dy y)
  Softmax: ({ node, attributes, upstream }) => {
    const [dy, y] = [upstream[0]!, node.outputs[0]!];
    const inner = sum(mul(dy, y), { axes: attributes.axis, keepDims: true });
    return [mul(sub(dy, inner), y)];
  },
  // dx = dy − softmax(x) Σ dy
  LogSoftmax: ({ node, attributes, upstream }) => {
    const [dy, y] = [upstream[0]!, node.outputs[0]!];
    return [sub(dy, mul(exp(y), sum(dy, { axes: attributes.axis, keepDims: true })))];
  },
  // With x̂ = (x − μ)/σ and g = dy · scale:  dx = (g − mean g − x̂ mean(g x̂)) / σ. The means are computed as
  // products of dy and of dy x̂ with the vector scale/D, which read dy and dy x̂ once.
  LayerNormalization: ({ node, upstream, needs }) => {
    const [x, scale] = node.inputs as [Tensor, Tensor];
    const [, center, inverseDeviation] = node.outputs as [Tensor, Tensor, Tensor];
    if (upstream[1] || upstream[2]) throw new ShapeError(`${node.name}: mean and deviation have no gradient`);
    const dy = upstream[0]!;
    const normalised = mul(sub(x, center), inverseDeviation);
    const perScale = needs[0] || needs[1] ? mul(dy, normalised) : undefined;
    let dx: Tensor | undefined;
    if (needs[0]) {
      const size = scale.shape[0]!;
      const rows = multiplyDims(...x.shape.slice(0, -1));
      const column = reshape(
        typeof size === 'number' ? mul(scale, 1 / size) : div(scale, dimSize(x.graph, size, x.dtype)),
        [size, 1],
      );
      const meanTimesScale = (t: Tensor) => reshape(matmul(reshape(t, [rows, size]), column), center.shape);
      const meanG = meanTimesScale(dy);
      const meanGx = meanTimesScale(perScale!);
      dx = mul(sub(sub(mul(dy, scale), meanG), mul(normalised, meanGx)), inverseDeviation);
    }
    return [dx, perScale, dy];
  },

  Reshape: unary((dy, x) => reshape(dy, x.shape)),
  Transpose: ({ attributes, upstream }) => {
    const inverse = attributes.perm.map((_, axis) => attributes.perm.indexOf(axis));
    return [transpose(upstream[0]!, inverse)];
  },
  Concat: ({ node, attributes: { axis }, upstream, needs }) => {
    let start: Dim = 0;
    return node.inputs.map((input, i) => {
      const length = input.shape[axis]!;
      const piece = needs[i] ? slice(upstream[0]!, { axis, start, length }) : undefined;
      start = subtractDims(start, subtractDims(0, length));
      return piece;
    });
  },
  Slice: ({ node, attributes: { axis, start, length }, upstream }) => {
    const x = node.inputs[0]!;
    const after = subtractDims(subtractDims(x.shape[axis]!, start), length);
    return [padBack(upstream[0]!, x, axis, start, after)];
  },
  Split: ({ node, attributes: { axis }, upstream }) => [
    concat(
      node.outputs.map((piece, i) => upstream[i] ?? fill(piece.graph, 0, piece.shape, piece.dtype)),
      axis,
    ),
  ],
  Expand: unary((dy) => dy),
  Fill: none,
  Range: none,
  DimSize: none,

  // Each gathered slice adds its gradient at the position it came from.
  Gather: ({ node, attributes: { axis }, upstream }) => {
    const [x, indices] = node.inputs as [Tensor, Tensor];
    const flat = multiplyDims(...indices.shape);
    const picked = x.shape.map((dim, i) => (i === axis ? flat : dim));
    const column = reshape(
      indices,
      x.shape.map((_, i) => (i === axis ? flat : 1)),
    );
    return [scatterBack(x, expand(column, picked), reshape(upstream[0]!, picked), axis), undefined];
  },
  TakeRows: ({ node, upstream }) => [
    takeRows(upstream[0]!, node.inputs[2]!, node.inputs[1]!),
    undefined,
    undefined,
  ],
  GatherElements: ({ node, attributes: { axis }, upstream }) => [
    scatterBack(node.inputs[0]!, node.inputs[1]!, upstream[0]!, axis),
    undefined,
  ],
  ScatterAdd: ({ node, attributes: { axis }, upstream }) => [
    upstream[0],
    undefined,
    gatherElements(upstream[0]!, node.inputs[1]!, { axis }),
  ],
  Scatter: ({ node, attributes: { axis }, upstream }) => {
    const [, indices, updates] = node.inputs as [Tensor, Tensor, Tensor];
    const dy = upstream[0]!;
    return [
      scatter(dy, indices, fill(dy.graph, 0, updates.shape, updates.dtype), { axis }),
      undefined,
      gatherElements(dy, indices, { axis }),
    ];
  },
  TopK: ({ node, attributes: { axis }, upstream }) => [
    upstream[0] && scatterBack(node.inputs[0]!, node.outputs[1]!, upstream[0], axis),
  ],
  CausalAttention: ({ node }) => {
    throw new ShapeError(`${node.name}: causalAttention has no gradient`, {
      help: 'build the forward pass without `inference`',
    });
  },
  // The node computes the gradients of the total. Those of single log-probabilities are the gradients of another
  // total, with the upstream gradients as weights.
  TokenLogLikelihood: ({ node, attributes, upstream, needs }) => {
    const [hidden, matrix, ids] = node.inputs as [Tensor, Tensor, Tensor];
    const [ofTotal, ofEach] = upstream;
    if (upstream[2] || upstream[3]) throw new ShapeError(`${node.name}: its gradients have no gradient`);
    const inputs = [hidden, matrix].map((_, i) => {
      if (!needs[i]) return undefined;
      const total = ofTotal && mul(node.outputs[2 + i]!, ofTotal);
      if (!ofEach) return total;
      const again = tokenLogLikelihood(hidden, matrix, ids, ofEach, attributes).total.node!;
      return total ? add(total, again.outputs[2 + i]!) : again.outputs[2 + i]!;
    });
    const dWeights = needs[3] && ofTotal ? mul(node.outputs[1]!, ofTotal) : undefined;
    return [...inputs, undefined, dWeights];
  },
  // The sums have no gradient of their own: it is an output of another node, with the upstream gradients as weights.
  MemoryLogSums: ({ node, attributes, upstream, needs }) => {
    if (upstream[2] || upstream[3]) throw new ShapeError(`${node.name}: its gradients have no gradient`);
    const columns = [0, 1].map((i) =>
      unsqueeze(upstream[i] ?? fill(node.inputs[0]!.graph, 0, node.outputs[i]!.shape), 1),
    );
    const again = weightedMemoryLogSums([...node.inputs.slice(0, 4), concat(columns, 1)], attributes);
    return [0, 1].map((i) => (needs[i] ? again[2 + i]! : undefined));
  },
  ArgMax: none,
};

/** dA of α op(A) op(B). */
function leftFactor(dy: Tensor, b: Tensor, transA: boolean, transB: boolean, alpha: number): Tensor {
  return transA
    ? matmul(b, dy, { transA: transB, transB: true, alpha })
    : matmul(dy, b, { transB: !transB, alpha });
}

/** dB of α op(A) op(B). */
function rightFactor(dy: Tensor, a: Tensor, transA: boolean, transB: boolean, alpha: number): Tensor {
  return transB
    ? matmul(dy, a, { transA: true, transB: transA, alpha })
    : matmul(a, dy, { transA: !transA, alpha });
}
