import { Graph } from '../graph/graph.ts';
import { cast, sum } from '../graph/ops.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { squaredDistance } from '../util/vector-rows.ts';
import { checkPairs } from './check-pairs.ts';
import type { Corrector, CorrectorBatch } from './corrector.ts';
import { checkRows, notFinite, type RowMapOptions } from './row-map.ts';

/** Numbers of embeddings converted at a time. */
const PIECE_NUMBERS = 2 ** 20;

/** Identity corrector h(b) = b: the uncorrected table, in f32. */
export class IdentityCorrector implements Corrector {
  readonly kind = 'identity';
  readonly parameters = 0;
  readonly flopsPerRow = 0;
  readonly usesAges = false;
  private readonly dimension: number;
  private readonly programs: ProgramCache;

  constructor({ dimension, compute }: { dimension: number; compute: ComputeOptions }) {
    this.dimension = dimension;
    this.programs = new ProgramCache(compute);
  }

  async correct(rows: HostTensor, options: RowMapOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    const { dimension } = this;
    const spec = { name: this.kind, dimension, toDimension: dimension, usesAges: false };
    const { out, count } = checkRows(rows, spec, options);
    const pieceRows = Math.max(1, Math.floor(PIECE_NUMBERS / dimension));
    for (let start = 0; start < count; start += pieceRows) {
      const end = Math.min(count, start + pieceRows);
      const [from, to, dims] = [start * dimension, end * dimension, [end - start, dimension]];
      const piece = hostTensor(rows.dtype, dims, rows.data.subarray(from, to));
      const into = { copy: hostTensor('f32', dims, out.subarray(from, to)) };
      const program = await this.programs.get(rows.dtype, () => this.graph(rows.dtype as 'f32' | 'f16'));
      const { total } = await program.run({ rows: piece }, { into });
      if (!Number.isFinite(scalarValue(total))) throw notFinite(`rows ${start} to ${end - 1}`);
    }
    return out;
  }

  async learn(batch: CorrectorBatch): Promise<Readonly<Record<string, number>>> {
    const { kind: name, dimension } = this;
    const pairs = checkPairs(batch, { name, dimension, toDimension: dimension });
    return { correctorError: squaredDistance(batch.stale, batch.fresh) / pairs };
  }

  state(): Readonly<Record<string, HostTensor>> {
    return {};
  }

  async restore(): Promise<void> {}

  async dispose(): Promise<void> {
    await this.programs.dispose();
  }

  private graph(dtype: 'f32' | 'f16'): Graph {
    const graph = new Graph('corrector/identity');
    const copy = cast(graph.input('rows', dtype, ['rows', this.dimension]), 'f32');
    graph.output('copy', copy);
    graph.output('total', sum(copy));
    return graph;
  }
}
