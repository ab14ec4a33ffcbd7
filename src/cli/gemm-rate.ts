import { Graph } from '../graph/graph.ts';
import { matmul } from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { rngKey, uniform } from '../util/rng.ts';

/** Number of products in one run. The overhead of a run is spread over them. */
const CHAIN = 4;

/** Measured speed of matrix products. */
export interface GemmRate {
  /** Rows, columns and inner size of the matrices. */
  readonly size: number;
  /** Speed of the fastest run, in 10⁹ additions and multiplications per second. */
  readonly gflops: number;
}

/**
 * Measures how fast this machine multiplies f32 matrices inside onnxruntime. This rate bounds everything that
 * the package computes.
 *
 * Takes the best of several runs of a chain of products of size³.
 *
 * @param options.size  rows and columns of the matrices. Default 1024
 * @param options.repeats  number of timed runs. Default 8
 */
export async function measureGemmRate(
  options: ComputeOptions & { size?: number; repeats?: number } = {},
): Promise<GemmRate> {
  const { size = 1024, repeats = 8, ...compute } = options;
  const graph = new Graph('gemm-rate');
  const matrix = graph.input('matrix', 'f32', [size, size]);
  let product = graph.input('start', 'f32', [size, size]);
  for (let i = 0; i < CHAIN; i++) product = matmul(product, matrix);
  graph.output('product', product);
  const program = await Program.compile(graph, compute);
  try {
    const values = new Float32Array(size * size);
    uniform(rngKey(0, 0, 'cli/gemm-rate'), values);
    // With mean zero and variance 1/size, the numbers neither grow nor vanish along the chain.
    const scale = Math.sqrt(12 / size);
    const tensor = hostTensor(
      'f32',
      [size, size],
      values.map((u) => (u - 0.5) * scale),
    );
    let bestMs = Infinity;
    for (let i = 0; i <= repeats; i++) {
      const startMs = performance.now();
      await program.run({ matrix: tensor, start: tensor });
      // The first run allocates memory and starts the threads, so it is not timed.
      if (i > 0) bestMs = Math.min(bestMs, performance.now() - startMs);
    }
    return { size, gflops: (CHAIN * 2 * size ** 3) / (bestMs * 1e6) };
  } finally {
    await program.dispose();
  }
}
