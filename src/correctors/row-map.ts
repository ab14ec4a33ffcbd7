import { Graph } from '../graph/graph.ts';
import { cast, maximum, mul, reciprocal, sqrt, square, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { type ComputeOptions, defaultThreads } from '../runtime/devices.ts';
import { type HostTensor, hostTensor, scalarValue } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { ShapeError, UsageError } from '../util/errors.ts';

/** What is done to each row, as a graph. */
export interface RowMapSpec {
  readonly name: string;
  readonly dimension: number;
  readonly toDimension: number;
  /** The widest layer, which decides how many rows a piece has. */
  readonly width: number;
  readonly usesAges: boolean;
  /** Declares the weights, and gives the map; its results are then made unit length. */
  build(graph: Graph): RowFunction;
}

/**
 * @param rows  f32[rows, D];  @param ages  i32[rows], where they are used
 * @returns  f32[rows, D']
 */
export type RowFunction = (rows: Tensor, ages?: Tensor) => Tensor;

/** Rows to be mapped, as `Corrector.correct` takes them. */
export interface RowMapOptions {
  readonly ages?: Int32Array | undefined;
  readonly into?: Float32Array<ArrayBuffer> | undefined;
}

/**
 * Numbers of the widest layer of a piece, for each thread: half a MiB, so that what one operation leaves is in a core's own cache for the
 * next. At D = 256 and 384 pieces of 256 rows kept 80 to 90 % of the rate of their two products alone, and larger ones less.
 */
const PIECE_NUMBERS = 2 ** 17;
/** Pieces of a run: each run of a program waits for its threads. */
const PIECES = 8;

/**
 * Applies a map to the rows of a table, piece by piece, reading them where they lie and writing to where they shall be:
 *
 *     out_n = m(b_n) / ‖m(b_n)‖
 */
export class RowMap {
  readonly spec: RowMapSpec;
  private readonly compute: ComputeOptions;
  private readonly programs = new Map<string, Promise<Program>>();

  constructor(spec: RowMapSpec, compute: ComputeOptions) {
    this.spec = spec;
    this.compute = compute;
  }

  /**
   * @param rows  f32 or f16 [rows, D]
   * @param weights  inputs that `build` has declared
   * @throws ShapeError for sizes that do not fit, UsageError where a row is not finite
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
      const program = await this.program(rows.dtype as 'f32' | 'f16', pieces);
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

  async dispose(): Promise<void> {
    const programs = await Promise.all(this.programs.values());
    this.programs.clear();
    for (const program of programs) await program.dispose();
  }

  private program(dtype: 'f32' | 'f16', pieces: number): Promise<Program> {
    const key = `${dtype}×${pieces}`;
    let program = this.programs.get(key);
    if (!program) {
      program = Program.compile(rowGraph(this.spec, dtype, pieces), this.compute);
      this.programs.set(key, program);
    }
    return program;
  }
}

function rowGraph(spec: RowMapSpec, dtype: 'f32' | 'f16', pieces: number): Graph {
  const graph = new Graph(`corrector/${spec.name}`);
  const map = spec.build(graph);
  // What a piece gives are outputs of its own: the runtime goes through a graph output by output, one piece after the other.
  for (let i = 0; i < pieces; i++) {
    const rows = cast(graph.input(`rows/${i}`, dtype, ['rows', spec.dimension]), 'f32');
    const mapped = map(rows, spec.usesAges ? graph.input(`ages/${i}`, 'i32', ['rows']) : undefined);
    const squared = sum(square(mapped), { axes: -1, keepDims: true });
    graph.output(`mapped/${i}`, mul(mapped, reciprocal(sqrt(maximum(squared, 1e-24)))));
    // Not a number wherever a row holds one: told here, no row has to be looked at in JavaScript.
    graph.output(`squares/${i}`, sum(squared));
  }
  return graph;
}

/** Sizes of what is to be corrected, and where it goes. @throws ShapeError */
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

export const notFinite = (what: string): UsageError =>
  new UsageError(`${what} of what a corrector was given hold a number that is not finite`, {
    help: 'look for embeddings that are NaN, and lower the learning rate if training has diverged',
  });
