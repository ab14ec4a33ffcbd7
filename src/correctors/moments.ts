import { Graph } from '../graph/graph.ts';
import { dimSize, div, matmul, mean, sub } from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { float32, type HostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { notFinite } from './row-map.ts';

/** Centred moments of n pairs (x, y), from which closed forms are fitted; row-major. */
export interface PairMoments {
  /** Number of pairs n. */
  readonly pairs: number;
  /** Dimension D of the stale embeddings. */
  readonly dimension: number;
  /** Dimension D' of the fresh embeddings. */
  readonly toDimension: number;
  /** Mean x̄ of the stale embeddings, [D]. */
  readonly meanStale: Float64Array;
  /** Mean ȳ of the fresh embeddings, [D']. */
  readonly meanFresh: Float64Array;
  /** [D, D]: (1/n) Σ (x − x̄)(x − x̄)ᵀ */
  readonly covariance: Float64Array;
  /** [D, D']: (1/n) Σ (x − x̄)(y − ȳ)ᵀ. If D = D', y stands for y − x here; see `isDifference`. */
  readonly cross: Float64Array;
  /** Whether `cross` is computed from y − x. The differences are small, and this keeps their digits. */
  readonly isDifference: boolean;
}

/** Computes the moments of pairs, as matrix products on the runtime. */
export class MomentProgram {
  private readonly isDifference: boolean;
  private readonly sizes: { dimension: number; toDimension: number };
  private readonly compute: ComputeOptions;
  private program: Promise<Program> | undefined;

  constructor(sizes: { dimension: number; toDimension: number }, compute: ComputeOptions) {
    this.sizes = sizes;
    this.compute = compute;
    this.isDifference = sizes.dimension === sizes.toDimension;
  }

  /**
   * Computes the moments of pairs.
   *
   * @param pairs.stale  f32[pairs, D]
   * @param pairs.fresh  f32[pairs, D']
   * @throws UsageError when a number is not finite
   */
  async run(pairs: { stale: HostTensor; fresh: HostTensor }): Promise<PairMoments> {
    const { isDifference, sizes } = this;
    this.program ??= Program.compile(momentsGraph(sizes, isDifference), this.compute);
    const { meanStale, meanFresh, covariance, cross } = await (await this.program).run(pairs);
    const made = {
      pairs: pairs.stale.dims[0]!,
      ...sizes,
      isDifference,
      meanStale: Float64Array.from(float32(meanStale)),
      meanFresh: Float64Array.from(float32(meanFresh)),
      covariance: Float64Array.from(float32(covariance)),
      cross: Float64Array.from(float32(cross)),
    };
    for (let i = 0; i < 2; i++) {
      const sum = (i === 0 ? made.covariance : made.cross).reduce((a, b) => a + b, 0);
      if (!Number.isFinite(sum)) throw notFinite(i === 0 ? 'the stale embeddings' : 'the fresh embeddings');
    }
    return made;
  }

  /** Frees the compiled program. */
  async dispose(): Promise<void> {
    await (await this.program)?.dispose();
  }
}

function momentsGraph(
  { dimension, toDimension }: { dimension: number; toDimension: number },
  isDifference: boolean,
): Graph {
  const graph = new Graph('corrector/moments');
  const stale = graph.input('stale', 'f32', ['pairs', dimension]);
  const fresh = graph.input('fresh', 'f32', ['pairs', toDimension]);
  const centred = (x: typeof stale) => sub(x, mean(x, { axes: 0, keepDims: true }));
  const x = centred(stale);
  const y = centred(isDifference ? sub(fresh, stale) : fresh);
  graph.output('meanStale', mean(stale, { axes: 0 }));
  graph.output('meanFresh', mean(fresh, { axes: 0 }));
  // Rows are divided by n before the product: sums of thousands of squares would lose digits.
  const share = div(x, dimSize(graph, 'pairs'));
  graph.output('covariance', matmul(share, x, { transA: true }));
  graph.output('cross', matmul(share, y, { transA: true }));
  return graph;
}
