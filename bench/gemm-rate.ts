import { Graph } from '../src/graph/graph.ts';
import { matmul, slice } from '../src/graph/ops.ts';
import type { ComputeOptions } from '../src/runtime/devices.ts';
import { type HostTensor, hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { normal, rngKey } from '../src/util/rng.ts';

/** A matrix product  op(A) op(B) = C [M, N], inner size K. */
export interface GemmShape {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transA?: boolean;
  readonly transB?: boolean;
}

/** The yardstick: the machine's rate for one large square product. */
export const SQUARE: GemmShape = { name: '1024³', m: 1024, k: 1024, n: 1024 };

/** The largest products of the reference step: forward, gradient of the input, gradient of the weight. */
export const LAYOUTS: readonly GemmShape[] = [
  { name: 'x Wᵀ   [2048, 384]·[384, 1536]', m: 2048, k: 384, n: 1536, transB: true },
  { name: 'dy W   [2048, 1536]·[1536, 384]', m: 2048, k: 1536, n: 384 },
  { name: 'dyᵀ x  [1536, 2048]·[2048, 384]', m: 1536, k: 2048, n: 384, transA: true },
];

/** Times one product again and again, as a program of our own runs it. */
export class GemmTimer {
  readonly flops: number;
  readonly timesMs: number[] = [];
  private readonly program: Program;
  private readonly feeds: Record<string, HostTensor>;

  private constructor(shape: GemmShape, program: Program, feeds: Record<string, HostTensor>) {
    this.flops = 2 * shape.m * shape.k * shape.n;
    this.program = program;
    this.feeds = feeds;
  }

  /** @param options.b  B as it lies in memory; default random numbers */
  static async create(
    shape: GemmShape,
    { b: given, ...options }: ComputeOptions & { b?: Float32Array<ArrayBuffer> },
  ): Promise<GemmTimer> {
    const { m, k, n, transA = false, transB = false } = shape;
    const graph = new Graph('gemm');
    const a = graph.input('a', 'f32', transA ? [k, m] : [m, k]);
    const b = graph.input('b', 'f32', transB ? [n, k] : [k, n]);
    const product = matmul(a, b, { transA, transB });
    // One row of it is all that leaves the runtime: the product is timed, not the copy of its result.
    graph.output('row', slice(product, { axis: 0, start: 0, length: 1 }));
    const random = (name: string, dims: readonly number[]): HostTensor => {
      const data = new Float32Array(dims[0]! * dims[1]!);
      normal(rngKey(1, 0, name), data);
      return hostTensor('f32', dims, data);
    };
    const [aDims, bDims] = [a.shape, b.shape] as [number[], number[]];
    const feeds = { a: random('a', aDims), b: given ? hostTensor('f32', bDims, given) : random('b', bDims) };
    return new GemmTimer(shape, await Program.compile(graph, options), feeds);
  }

  async measure(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const startMs = performance.now();
      await this.program.run(this.feeds);
      this.timesMs.push(performance.now() - startMs);
    }
  }

  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}
