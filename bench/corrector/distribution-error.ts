import { Graph } from '../../src/graph/graph.ts';
import { exp, logSumExp, matmul, mul, sub, sum, topK, unsqueeze } from '../../src/graph/ops.ts';
import type { ComputeOptions } from '../../src/runtime/devices.ts';
import { float32, hostTensor } from '../../src/runtime/host-tensor.ts';
import { Program } from '../../src/runtime/program.ts';
import type { DistributionError } from './snapshot-config.ts';

const RANKS = 10;

/**
 * Measures the change of the softmax over N documents when their embeddings are replaced by others:
 *
 *     KL(P ‖ P̃) = Σ_n p_n (s_n − s̃_n) − log Z + log Z̃,     p = softmax(s),  s_n = β⟨q, d_n⟩
 *
 * Computes the same divergence as `diagnoseTable`, but no gradients. Takes two matrix products in place of
 * seven, and holds a matrix of B × N in memory.
 */
export class DistributionErrors {
  private readonly program: Program;
  private readonly dimension: number;

  private constructor(program: Program, dimension: number) {
    this.program = program;
    this.dimension = dimension;
  }

  /**
   * Compiles the program.
   *
   * @param dimension  embedding size D
   */
  static async create(dimension: number, compute: ComputeOptions): Promise<DistributionErrors> {
    const graph = new Graph('distribution-error');
    const queries = graph.input('queries', 'f32', ['queries', dimension]);
    const fresh = matmul(queries, graph.input('fresh', 'f32', ['rows', dimension]), { transB: true });
    const other = matmul(queries, graph.input('other', 'f32', ['rows', dimension]), { transB: true });
    const [logZ, otherLogZ] = [logSumExp(fresh, { axes: 1 }), logSumExp(other, { axes: 1 })];
    const p = exp(sub(fresh, unsqueeze(logZ, 1)));
    graph.output('kl', sub(sum(mul(p, sub(fresh, other)), { axes: 1 }), sub(logZ, otherLogZ)));
    graph.output('best', topK(fresh, { k: RANKS }).indices);
    graph.output('otherBest', topK(other, { k: RANKS }).indices);
    return new DistributionErrors(await Program.compile(graph, compute), dimension);
  }

  /**
   * Compares the distributions over `fresh` and `other`.
   *
   * @param queries  f32[B, D], multiplied by β
   * @param fresh  f32[N, D]
   * @param other  f32[N, D]
   */
  async measure(
    queries: Float32Array<ArrayBuffer>,
    fresh: Float32Array<ArrayBuffer>,
    other: Float32Array<ArrayBuffer>,
  ): Promise<DistributionError> {
    const { dimension: D } = this;
    const tensor = (values: Float32Array<ArrayBuffer>) => hostTensor('f32', [values.length / D, D], values);
    const { kl, best, otherBest } = await this.program.run({
      queries: tensor(queries),
      fresh: tensor(fresh),
      other: tensor(other),
    });
    const divergences = float32(kl);
    const B = divergences.length;
    const [right, found] = [best!.data as BigInt64Array, otherBest!.data as BigInt64Array];
    let common = 0;
    for (let i = 0; i < B; i++) {
      const set = new Set(right.subarray(i * RANKS, (i + 1) * RANKS));
      for (const row of found.subarray(i * RANKS, (i + 1) * RANKS)) if (set.has(row)) common++;
    }
    return { kl: Math.max(0, divergences.reduce((a, b) => a + b, 0) / B), recall: common / (B * RANKS) };
  }

  /** Releases the program. */
  async dispose(): Promise<void> {
    await this.program.dispose();
  }
}
