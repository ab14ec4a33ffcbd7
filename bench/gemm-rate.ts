import { Graph } from '../src/graph/graph.ts';
import { matmul, slice } from '../src/graph/ops.ts';
import type { ComputeOptions } from '../src/runtime/devices.ts';
import { type HostTensor, hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { normal, rngKey } from '../src/util/rng.ts';

/** Shape of a matrix product  op(A) op(B) = C [M, N]  with inner size K. */
export interface GemmShape {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transA?: boolean;
  readonly transB?: boolean;
}

/** Reference for the rate of the machine: one large square product. */
export const SQUARE: GemmShape = { name: '1024³', m: 1024, k: 1024, n: 1024 };

/** Largest products of the reference step: forward, gradient of the input, gradient of the weight. */
export const LAYOUTS: readonly GemmShape[] = [
  { name: 'x Wᵀ   [2048, 384]·[384, 1536]', m: 2048, k: 384, n: 1536, transB: true },
  { name: 'dy W   [2048, 1536]·[1536, 384]', m: 2048, k: 1536, n: 384 },
  { name: 'dyᵀ x  [1536, 2048]·[2048, 384]', m: 1536, k: 2048, n: 384, transA: true },
];

/** Times one product repeatedly, run as a program of this package. */
export class GemmTimer {
  /** Floating-point operations of one product. */
  readonly flops: number;
  /** Times of the runs, in milliseconds. */
  readonly timesMs: number[] = [];
  private readonly program: Program;
  private readonly feeds: Record<string, HostTensor>;

  private constructor(shape: GemmShape, program: Program, feeds: Record<string, HostTensor>) {
    this.flops = 2 * shape.m * shape.k * shape.n;
    this.program = program;
    this.feeds = feeds;
  }

  /**
   * Compiles the product.
   *
   * @param options.b  elements of B in memory order. Default: random numbers
   */
  static async create(
    shape: GemmShape,
    { b: given, ...options }: ComputeOptions & { b?: Float32Array<ArrayBuffer> },
  ): Promise<GemmTimer> {
    const { m, k, n, transA = false, transB = false } = shape;
    const graph = new Graph('gemm');
    const a = graph.input('a', 'f32', transA ? [k, m] : [m, k]);
    const b = graph.input('b', 'f32', transB ? [n, k] : [k, n]);
    const product = matmul(a, b, { transA, transB });
    // Only one row of the product leaves the runtime, so that copying the result is not timed.
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

  /** Runs the product `times` times and records each time. */
  async measure(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const startMs = performance.now();
      await this.program.run(this.feeds);
      this.timesMs.push(performance.now() - startMs);
    }
  }

  /** Releases the program. */
  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}
