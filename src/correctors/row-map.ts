import { Graph } from '../graph/graph.ts';
import { cast, maximum, mul, reciprocal, sqrt, square, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type ComputeOptions, defaultThreads } from '../runtime/devices.ts';
import { type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { ShapeError, UsageError } from '../util/errors.ts';

/** Map that is applied to each row, as a graph. */
export interface RowMapSpec {
  /** Name for messages and graphs. */
  readonly name: string;
  /** Dimension D of the rows. */
  readonly dimension: number;
  /** Dimension D' of the mapped rows. */
  readonly toDimension: number;
  /** Width of the widest layer, which decides the number of rows in a piece. */
  readonly width: number;
  /** Whether the map takes the ages of the rows. */
  readonly usesAges: boolean;
  /** Declares the weights as inputs and returns the map. Its results are normalised to unit length afterwards. */
  build(graph: Graph): RowFunction;
}

/**
 * Map of rows as tensors of a graph.
 *
 * @param rows  f32[rows, D]
 * @param ages  i32[rows], if ages are used
 * @returns f32[rows, D']
 */
export type RowFunction = (rows: Tensor, ages?: Tensor) => Tensor;

/** Options of {@link RowMap.run}, as in `Corrector.correct`. */
export interface RowMapOptions {
  /** Ages of the rows, i32[rows], in steps. Required if ages are used. */
  readonly ages?: Int32Array | undefined;
  /** Output f32[rows, D'] to write to. Default a new array. */
  readonly into?: Float32Array<ArrayBuffer> | undefined;
}

/**
 * Numbers of the widest layer of a piece, for each thread: half a MiB, so that each operation finds the
 * results of the last one in its core's own cache. At D = 256 and 384, pieces of 256 rows kept 80 to 90 % of
 * the rate of their two products alone, and larger pieces kept less.
 */
const PIECE_NUMBERS = 2 ** 17;
/** Pieces per run of a program; each run waits for its threads once. */
const PIECES = 8;

/**
 * Applies a map to the rows of a table, piece by piece, without copies of input or output:
 *
 *     out_n = m(b_n) / ‖m(b_n)‖
 */
export class RowMap {
  readonly spec: RowMapSpec;
  private readonly compute: ComputeOptions;
  private readonly programs: ProgramCache;

  constructor(spec: RowMapSpec, compute: ComputeOptions) {
    this.spec = spec;
    this.compute = compute;
    this.programs = new ProgramCache(compute);
  }

  /**
   * Maps rows to unit vectors f32[rows, D'].
   *
   * @param rows  f32 or f16 [rows, D]
   * @param weights  inputs that `build` has declared
   * @throws ShapeError when sizes do not fit together
   * @throws UsageError when a row is not finite
   */
  async run(
    rows: HostTensor,
    weights: Readonly<Record<string, HostTensor>>,
    options: RowMapOptions = {},
  ): Promise<Float32Array<ArrayBuffer>> {
    const { dimension, toDimension, width, usesAges } = this.spec;
    const { ages, count, out } = checkRows(rows, this.spec, options);
    const threads = this.compute.threads ?? defaultThreads();
    const pieceRows = Math.max(1, Math.floor((threads * PIECE_NUMBERS) / width));
    for (let start = 0; start < count; ) {
      const left = count - start;
      const pieces = left >= PIECES * pieceRows ? PIECES : 1;
      const n = Math.min(left, pieceRows);
      const program = await this.programs.get(`${rows.dtype}×${pieces}`, () =>
        rowGraph(this.spec, rows.dtype as 'f32' | 'f16', pieces),
      );
      const feeds: Record<string, HostTensor> = { ...weights };
      const into: Record<string, HostTensor> = {};
      for (let i = 0; i < pieces; i++) {
        const [from, to] = [start + i * n, start + (i + 1) * n];
        const part = rows.data.subarray(from * dimension, to * dimension);
        feeds[`rows/${i}`] = hostTensor(rows.dtype, [n, dimension], part);
        if (usesAges)
          feeds[`ages/${i}`] = hostTensor('i32', [n], (ages as Int32Array<ArrayBuffer>).subarray(from, to));
        into[`mapped/${i}`] = hostTensor(
          'f32',
          [n, toDimension],
          out.subarray(from * toDimension, to * toDimension),
        );
      }
      const made = await program.run(feeds, { into });
      const end = start + pieces * n;
      for (let i = 0; i < pieces; i++) {
        if (!Number.isFinite(scalarValue(made[`squares/${i}`])))
          throw notFinite(`rows ${start} to ${end - 1}`);
      }
      start = end;
    }
    return out;
  }

  /** Frees the compiled programs. */
  async dispose(): Promise<void> {
    await this.programs.dispose();
  }
}

function rowGraph(spec: RowMapSpec, dtype: 'f32' | 'f16', pieces: number): Graph {
  const graph = new Graph(`corrector/${spec.name}`);
  const map = spec.build(graph);
  // Each piece has outputs of its own, because the runtime walks a graph output by output: one piece follows
  // the other.
  for (let i = 0; i < pieces; i++) {
    const rows = cast(graph.input(`rows/${i}`, dtype, ['rows', spec.dimension]), 'f32');
    const mapped = map(rows, spec.usesAges ? graph.input(`ages/${i}`, 'i32', ['rows']) : undefined);
    const squared = sum(square(mapped), { axes: -1, keepDims: true });
    graph.output(`mapped/${i}`, mul(mapped, reciprocal(sqrt(maximum(squared, 1e-24)))));
    // This sum is NaN if a row holds NaN, so no row has to be checked in JavaScript.
    graph.output(`squares/${i}`, sum(squared));
  }
  return graph;
}

/**
 * Checks the rows to correct and allocates the output if none is given.
 *
 * @throws ShapeError when sizes or dtypes do not fit
 */
export function checkRows(
  { dtype, dims, data }: HostTensor,
  spec: Pick<RowMapSpec, 'name' | 'dimension' | 'toDimension' | 'usesAges'>,
  { ages, into }: RowMapOptions,
): { count: number; ages: Int32Array | undefined; out: Float32Array<ArrayBuffer> } {
  const { name, dimension, toDimension, usesAges } = spec;
  const [count = 0, width] = dims;
  const fail = (what: string) => new ShapeError(`corrector ${name}: ${what}`);
  if (dims.length !== 2 || width !== dimension || data.length !== count * dimension) {
    throw fail(`rows must be [rows, ${dimension}], found [${dims.join(', ')}] of ${data.length} numbers`);
  }
  if (dtype !== 'f32' && dtype !== 'f16') throw fail(`rows must be f32 or f16, found ${dtype}`);
  if (usesAges && ages?.length !== count) {
    throw fail(`${count} rows need as many ages, found ${ages ? ages.length : 'none'}`);
  }
  if (into && into.length !== count * toDimension) {
    throw fail(`${count} corrected rows are ${count * toDimension} numbers, into has ${into.length}`);
  }
  return { count, ages, out: into ?? new Float32Array(count * toDimension) };
}

/** Error for embeddings that hold NaN or infinity. */
export const notFinite = (what: string): UsageError =>
  new UsageError(`${what} of what a corrector was given hold a number that is not finite`, {
    help: 'look for embeddings that are NaN, and lower the learning rate if training has diverged',
  });
