import { describe, expect, it } from 'vitest';
import { type CheckedInput, gradcheck } from '../../test/gradcheck.ts';
import { TEST_COMPUTE } from '../../test/test-device.ts';
import type { OpType } from '../graph/op-types.ts';
import * as ops from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { rules } from './rules.ts';

const onWebGpu = TEST_COMPUTE.device === 'webgpu';

type Inputs = Record<string, CheckedInput>;
interface Case {
  inputs: Inputs;
  build: (t: Record<string, Tensor>) => Tensor;
  mayVanish?: boolean;
  step?: number;
}

const dynamic: CheckedInput = { shape: ['batch', 3], dims: [2, 3] };
const positive: CheckedInput = { ...dynamic, low: 0.5, high: 2 };
const one = (f: (x: Tensor) => Tensor, x: CheckedInput = dynamic): Case[] => [
  { inputs: { x }, build: ({ x }) => f(x!) },
  { inputs: { x: { ...x, shape: ['batch', 1, 'k'], dims: [1, 1, 1] } }, build: ({ x }) => f(x!) },
  { inputs: { x: { ...x, dims: [0, 3] } }, build: ({ x }) => f(x!), mayVanish: true },
];
/** Equal shapes, a broadcast row, a broadcast column against a row, a scalar, an empty batch. */
const two = (f: (a: Tensor, b: Tensor) => Tensor, range: Partial<CheckedInput> = {}): Case[] =>
  (
    [
      [
        { shape: ['batch', 3], dims: [2, 3] },
        { shape: ['batch', 3], dims: [2, 3] },
      ],
      [{ shape: ['batch', 3], dims: [2, 3] }, { shape: [3] }],
      [{ shape: ['batch', 1], dims: [2, 1] }, { shape: [1, 3] }],
      [{ shape: [] }, { shape: ['batch', 2, 'k'], dims: [2, 2, 1] }],
    ] as [CheckedInput, CheckedInput][]
  ).map(([a, b]) => ({
    inputs: { a: { ...a, ...range }, b: { ...b, ...range } },
    build: ({ a, b }) => f(a!, b!),
  }));
const i64 = (dims: number[], ...values: number[]): CheckedInput => ({
  shape: dims,
  value: hostTensor('i64', dims, BigInt64Array.from(values, BigInt)),
});
const reductions = (f: typeof ops.sum): Case[] => [
  ...one((x) => f(x)),
  ...[[0], [1], [-1], [0, 2], [1, 2]].flatMap((axes) =>
    [true, false].map((keepDims) => ({
      inputs: { x: { shape: ['batch', 2, 'k'], dims: [2, 2, 3] } },
      build: ({ x }: Record<string, Tensor>) => f(x!, { axes, keepDims }),
    })),
  ),
];
const matrices = (a: CheckedInput, b: CheckedInput, options: ops.MatmulOptions): Case => ({
  inputs: { a, b },
  build: ({ a, b }) => ops.matmul(a!, b!, options),
});
/** Operations without a gradient. The sum with x shows that they do not disturb other gradients of x. */
const flat = (f: (x: Tensor) => Tensor): Case[] => [
  {
    inputs: { x: { ...dynamic, low: 0.1, high: 0.9 } },
    build: ({ x }) => ops.add(x!, ops.cast(f(x!), 'f32')),
  },
];
const bits = (f: (x: Tensor) => Tensor) => flat((x) => f(ops.cast(ops.mul(x, 100), 'u32')));

const cases: { [K in OpType]: Case[] } = {
  Neg: one(ops.neg),
  Abs: one(ops.abs, { ...dynamic, low: 0.2 }),
  Sign: flat(ops.sign),
  Exp: one(ops.exp),
  Log: one(ops.log, positive),
  Sqrt: one(ops.sqrt, positive),
  Reciprocal: one(ops.reciprocal, positive),
  Sin: one(ops.sin),
  Cos: one(ops.cos),
  Tanh: [...one(ops.tanh), ...one(ops.geluTanh)],
  Sigmoid: [...one(ops.sigmoid), ...one(ops.silu)],
  Softplus: one(ops.softplus),
  Relu: [
    ...one(ops.relu, positive),
    { inputs: { x: { ...dynamic, low: -1, high: -0.5 } }, build: ({ x }) => ops.relu(x!), mayVanish: true },
  ],
  Erf: one(ops.erf),
  Gelu: [...one(ops.gelu), ...one(ops.gelu, { ...dynamic, low: -6, high: 6 })],
  Floor: flat(ops.floor),
  Not: flat((x) => ops.not(ops.less(x, 5))),
  IsNaN: flat(ops.isNotANumber),
  Cast: [{ inputs: { x: dynamic }, build: ({ x }) => ops.cast(ops.mul(ops.cast(x!, 'f64'), 2), 'f32') }],
  StopGradient: [
    {
      inputs: { x: dynamic, y: dynamic },
      build: ({ x, y }) => ops.add(ops.mul(x!, ops.stopGradient(ops.sub(y!, y!))), x!),
    },
  ],
  Add: two(ops.add),
  Sub: two(ops.sub),
  Mul: two(ops.mul),
  Div: two(ops.div, { low: 0.5, high: 2 }),
  Pow: two(ops.pow, { low: 0.5, high: 2 }),
  Max: two(ops.maximum),
  Min: two(ops.minimum),
  Equal: flat((x) => ops.equal(x, 5)),
  Less: flat((x) => ops.less(x, 5)),
  LessOrEqual: flat((x) => ops.lessOrEqual(x, 5)),
  Greater: flat((x) => ops.greater(x, 5)),
  GreaterOrEqual: flat((x) => ops.greaterOrEqual(x, 5)),
  And: flat((x) => ops.and(ops.less(x, 5), ops.less(x, 6))),
  Or: flat((x) => ops.or(ops.less(x, 5), ops.less(x, 6))),
  BitwiseXor: bits((u) => ops.bitwiseXor(u, u)),
  ShiftRight: bits((u) => ops.shiftRight(u, 16)),
  Where: [
    ...two((a, b) => ops.where(ops.less(a, 5), a, b)),
    ...two((a, b) => ops.where(ops.greater(ops.add(a, b), 0), ops.mul(a, 2), b)),
  ],
  MatMul: [
    ...[true, false].flatMap((transA) =>
      [true, false].flatMap((transB) => [
        matrices(
          { shape: transA ? [2, 'm'] : ['m', 2], dims: transA ? [2, 3] : [3, 2] },
          { shape: transB ? [4, 2] : [2, 4] },
          { transA, transB, alpha: 0.5 },
        ),
        matrices(
          { shape: transA ? ['h', 2, 'm'] : ['h', 'm', 2], dims: transA ? [2, 2, 3] : [2, 3, 2] },
          { shape: transB ? ['h', 1, 2] : ['h', 2, 1], dims: transB ? [2, 1, 2] : [2, 2, 1] },
          { transA, transB, alpha: 2 },
        ),
      ]),
    ),
    matrices({ shape: ['h', 2, 2], dims: [3, 2, 2] }, { shape: [1, 2, 2] }, {}),
    matrices({ shape: ['h', 1, 2, 2], dims: [2, 1, 2, 2] }, { shape: [1, 3, 2, 2] }, { transB: true }),
  ],
  Gemm: [true, false].flatMap((transA) =>
    [true, false].map((transB) => ({
      inputs: {
        a: { shape: transA ? [2, 'm'] : ['m', 2], dims: transA ? [2, 3] : [3, 2] },
        b: { shape: transB ? [4, 2] : [2, 4] },
        bias: { shape: [4] },
      },
      build: ({ a, b, bias }: Record<string, Tensor>) => ops.gemm(a!, b!, bias!, { transA, transB }),
    })),
  ),
  ReduceSum: reductions(ops.sum),
  ReduceMean: reductions(ops.mean).filter((c) => !c.mayVanish),
  ReduceMax: reductions(ops.max).filter((c) => !c.mayVanish),
  ReduceMin: reductions(ops.min).filter((c) => !c.mayVanish),
  ReduceLogSumExp: reductions(ops.logSumExp).filter((c) => !c.mayVanish),
  Softmax: [
    // The WebGPU provider refuses a softmax without rows.
    ...one(ops.softmax).filter(
      ({ inputs: { x } }) => x!.dims?.[2] !== 1 && !(onWebGpu && x!.dims?.[0] === 0),
    ),
    { inputs: { x: dynamic }, build: ({ x }) => ops.softmax(x!, 0) },
  ],
  LogSoftmax: [
    ...one(ops.logSoftmax).filter((c) => c.inputs.x!.dims?.[2] !== 1),
    { inputs: { x: dynamic }, build: ({ x }) => ops.logSoftmax(x!, 0) },
  ],
  LayerNormalization: [
    {
      inputs: { x: { shape: ['batch', 2, 4], dims: [2, 2, 4] }, scale: { shape: [4] }, bias: { shape: [4] } },
      build: ({ x, scale, bias }) => ops.layerNorm(x!, { scale: scale!, bias: bias! }, { epsilon: 1e-5 }),
    },
  ],
  Reshape: [
    {
      inputs: { x: { shape: ['a', 2, 'b'], dims: [2, 2, 3] } },
      build: ({ x }) => ops.square(ops.reshape(x!, ['a*b', 2])),
    },
    {
      inputs: { x: { shape: ['a', 2, 'b'], dims: [2, 2, 3] } },
      build: ({ x }) => ops.square(ops.reshape(x!, ['b', 'a', 2])),
    },
    {
      inputs: { x: { shape: ['a', 'b', 4], dims: [2, 1, 4] } },
      build: ({ x }) => ops.square(ops.reshape(x!, ['a', 'b', 2, 2])),
    },
    {
      inputs: { x: { shape: ['a', 'b', 4], dims: [0, 3, 4] } },
      build: ({ x }) => ops.reshape(x!, ['a', '4*b']),
      mayVanish: true,
    },
  ],
  Transpose: [
    {
      inputs: { x: { shape: ['a', 2, 3], dims: [2, 2, 3] } },
      build: ({ x }) => ops.square(ops.transpose(x!, [1, 2, 0])),
    },
  ],
  Concat: [
    {
      inputs: {
        x: { shape: ['a', 2], dims: [2, 2] },
        y: { shape: ['b', 2], dims: [3, 2] },
        z: { shape: [1, 2] },
      },
      build: ({ x, y, z }) => ops.square(ops.concat([x!, y!, z!, x!], 0)),
    },
  ],
  Slice: [
    {
      inputs: { x: { shape: [5, 2] }, t: { shape: ['t'], dims: [3] } },
      build: ({ x, t }) => ops.mul(ops.slice(x!, { axis: 0, length: 't' }), ops.unsqueeze(t!, 1)),
    },
    {
      inputs: { x: { shape: ['n', 4], dims: [2, 4] } },
      build: ({ x }) => ops.square(ops.slice(x!, { axis: 1, start: 1, length: 2 })),
    },
    {
      inputs: { x: { shape: ['n', 2], dims: [4, 2] } },
      build: ({ x }) => ops.square(ops.slice(x!, { axis: 0, start: 1 })),
    },
  ],
  Split: [
    {
      inputs: { x: { shape: ['n', 4], dims: [2, 4] } },
      build: ({ x }) => {
        const [a, , c] = ops.split(x!, [1, 2, 1], 1);
        return ops.mul(a!, c!);
      },
    },
  ],
  Expand: [
    {
      inputs: { x: { shape: ['n', 1], dims: [2, 1] }, y: { shape: ['k'], dims: [3] } },
      build: ({ x, y }) => ops.mul(ops.expand(x!, [2, 'n', 'k']), y!),
    },
  ],
  Fill: [{ inputs: { x: dynamic }, build: ({ x }) => ops.mul(x!, ops.fill(x!.graph, 3, ['batch', 1])) }],
  Range: [
    {
      inputs: { x: dynamic },
      build: ({ x }) => ops.mul(x!, ops.unsqueeze(ops.cast(ops.range(x!.graph, 'batch'), 'f32'), 1)),
    },
  ],
  DimSize: [{ inputs: { x: dynamic }, build: ({ x }) => ops.mul(x!, ops.dimSize(x!.graph, 'batch')) }],
  Gather: [
    {
      inputs: { x: { shape: ['n', 2], dims: [4, 2] }, i: i64([2, 3], 0, 3, 3, 1, 3, 0) },
      build: ({ x, i }) => ops.square(ops.gather(x!, i!)),
    },
    {
      inputs: { x: { shape: ['n', 3, 2], dims: [2, 3, 2] }, i: i64([2], 2, 2) },
      build: ({ x, i }) => ops.square(ops.gather(x!, i!, { axis: 1 })),
    },
  ],
  TakeRows: [
    {
      inputs: {
        x: { shape: [4, 2] },
        i: i64([4], 2, 0, 3, 1),
        inverse: i64([4], 1, 3, 0, 2),
      },
      build: ({ x, i, inverse }) => ops.square(ops.takeRows(x!, i!, inverse!)),
    },
  ],
  GatherElements: [
    {
      inputs: { x: { shape: [2, 3] }, i: i64([2, 2], 0, 0, 2, 1) },
      build: ({ x, i }) => ops.square(ops.gatherElements(x!, i!)),
    },
  ],
  ScatterAdd: [
    {
      inputs: { x: { shape: [3, 2] }, u: { shape: [4, 2] }, i: i64([4, 2], 0, 0, 2, 2, 2, 2, 2, 2) },
      build: ({ x, u, i }) => ops.square(ops.scatterAdd(x!, i!, u!)),
    },
  ],
  Scatter: [
    {
      inputs: { x: { shape: [3, 2] }, u: { shape: [2, 2] }, i: i64([2, 2], 0, 2, 2, 0) },
      build: ({ x, u, i }) => ops.square(ops.scatter(x!, i!, u!)),
    },
  ],
  TopK: [
    {
      inputs: { x: { shape: ['n', 5], dims: [2, 5] } },
      build: ({ x }) => ops.square(ops.topK(x!, { k: 3 }).values),
    },
    {
      inputs: { x: { shape: [5, 'n'], dims: [5, 2] } },
      build: ({ x }) => ops.square(ops.topK(x!, { k: 2, axis: 0, largest: false }).values),
    },
  ],
  CausalAttention: [
    {
      inputs: { x: { shape: ['B', 'T', 16], dims: [2, 3, 16] } },
      build: ({ x }) => {
        const y = ops.stopGradient(x!);
        return ops.add(x!, ops.mul(ops.causalAttention(y, y, y, { heads: 2, keyHeads: 2 }), 0));
      },
    },
  ],
  TokenLogLikelihood: [1, 8, 1 << 25].flatMap((scoresPerPiece) => {
    const inputs: Inputs = {
      hidden: { shape: ['n', 2], dims: [5, 2] },
      matrix: { shape: [4, 2] },
      w: { shape: ['n'], dims: [5] },
      ids: { ...i64([5], 3, 0, 0, 2, 1), shape: ['n'] },
    };
    const made = ({ hidden, matrix, ids, w }: Record<string, Tensor>) =>
      ops.tokenLogLikelihood(hidden!, matrix!, ids!, w!, { scoresPerPiece });
    return [
      { inputs, build: (t) => made(t).total },
      { inputs, build: (t) => ops.mul(made(t).logProbabilities, t.w!) },
      { inputs, build: (t) => ops.add(made(t).logProbabilities, ops.mul(made(t).total, t.w!)) },
    ] satisfies Case[];
  }),
  MemoryLogSums: [1, 8, 1 << 22].flatMap((scoresPerPiece) =>
    [false, true].flatMap((others) => {
      // Label, group and place: an empty memory, one of another group, and tokens that are in none.
      const marks = [
        [1, 0, 0],
        [2, 0, 1],
        [1, 0, 2],
        [1, 1, 0],
        [0, -1, 0],
      ];
      const inputs: Inputs = {
        queries: { shape: ['n', 2], dims: [5, 2] },
        keys: { shape: ['m', 2], dims: [4, 2] },
        w: { shape: ['n'], dims: [5] },
        queryMarks: { ...i64([5, 3], ...marks.flat()), shape: ['n', 3] },
        keyMarks: { ...i64([4, 3], ...marks.slice(1).flat()), shape: ['m', 3] },
      };
      const made = (t: Record<string, Tensor>) => {
        const marks = { queries: t.queryMarks!, keys: t.keyMarks! };
        return ops.memoryLogSums(t.queries!, t.keys!, marks, { scale: 0.7, others, scoresPerPiece });
      };
      // Rows of an empty memory have no finite difference in f32 beside a sum of −10⁹.
      const bounded = (x: Tensor) => ops.maximum(x, -50);
      return [
        { inputs, build: (t) => ops.mul(bounded(made(t).all), t.w!) },
        { inputs, build: (t) => ops.mul(bounded(made(t).matching), t.w!) },
        { inputs, build: (t) => ops.add(bounded(made(t).all), ops.mul(bounded(made(t).matching), t.w!)) },
      ] satisfies Case[];
    }),
  ),
  ArgMax: flat((x) => ops.expand(ops.argMax(x, { keepDims: true }), ['batch', 3])),
};

/** All cases on the CPU. On another device, where a session takes a tenth of a second, four of the cases. */
const sampled = (list: readonly Case[]): readonly Case[] =>
  onWebGpu && list.length > 4
    ? [0, 1, 2, 3].map((i) => list[Math.round((i * (list.length - 1)) / 3)]!)
    : list;

describe('gradient rules agree with finite differences', () => {
  it('covers every operation', () => expect(Object.keys(cases).sort()).toEqual(Object.keys(rules).sort()));
  for (const [op, list] of Object.entries(cases)) {
    it(op, async () => {
      for (const { inputs, build, ...options } of sampled(list)) await gradcheck(inputs, build, options);
    });
  }
});
