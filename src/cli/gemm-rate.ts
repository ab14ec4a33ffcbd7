import { Graph } from '../graph/graph.ts';
import { matmul } from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { rngKey, uniform } from '../util/rng.ts';

/** Products in one run: what a run costs besides is spread over them. */
const CHAIN = 4;

export interface GemmRate {
  /** Rows, columns and inner size of the matrices. */
  readonly size: number;
  /** 10⁹ additions and multiplications a second, of the fastest run. */
  readonly gflops: number;
}

/**
 * How fast this machine multiplies f32 matrices inside onnxruntime, which bounds everything that this package does:
 * the best of several runs of a chain of products of size³.
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
    // Zero mean and a variance of 1/size: the numbers neither grow nor vanish along the chain.
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
      // The first run allocates and starts the threads.
      if (i > 0) bestMs = Math.min(bestMs, performance.now() - startMs);
    }
    return { size, gflops: (CHAIN * 2 * size ** 3) / (bestMs * 1e6) };
  } finally {
    await program.dispose();
  }
}
