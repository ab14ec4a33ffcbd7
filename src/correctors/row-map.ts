import { Graph } from '../graph/graph.ts';
import { cast, div, maximum, sqrt, square, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
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
  /**
   * @param rows  f32[rows, D];  @param ages  f32[rows, 1] where they are used
   * @returns  f32[rows, D'], whose rows are then made unit length
   */
  build(graph: Graph, rows: Tensor, ages?: Tensor): Tensor;
}

/** Rows to be mapped, as `Corrector.correct` takes them. */
export interface RowMapOptions {
  readonly ages?: Int32Array | undefined;
  readonly into?: Float32Array<ArrayBuffer> | undefined;
}

/**
 * Numbers of the widest layer of a piece: 2 MiB, so that what one operation leaves is still in the processor's caches for the next. With
 * 512 to 1,024 rows at D = 256 a piece ran at the rate of the bare products; with 256 or 2,048 a quarter slower.
 */
const PIECE_NUMBERS = 2 ** 19;

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
    const pieceRows = Math.max(1, Math.floor(PIECE_NUMBERS / width));
    for (let start = 0; start < count; start += pieceRows) {
      const end = Math.min(count, start + pieceRows);
      const n = end - start;
      const program = await this.program(rows.dtype as 'f32' | 'f16');
      const feeds: Record<string, HostTensor> = {
        ...weights,
        rows: hostTensor(rows.dtype, [n, dimension], rows.data.subarray(start * dimension, end * dimension)),
        ...(usesAges && {
          ages: hostTensor('i32', [n], (ages as Int32Array<ArrayBuffer>).subarray(start, end)),
        }),
      };
      const piece = hostTensor('f32', [n, toDimension], out.subarray(start * toDimension, end * toDimension));
      const { squares } = await program.run(feeds, { into: { mapped: piece } });
      if (!Number.isFinite(scalarValue(squares))) throw notFinite(`rows ${start} to ${end - 1}`);
    }
    return out;
  }

  async dispose(): Promise<void> {
    const programs = await Promise.all(this.programs.values());
    this.programs.clear();
    for (const program of programs) await program.dispose();
  }

  private program(dtype: 'f32' | 'f16'): Promise<Program> {
    let program = this.programs.get(dtype);
    if (!program) {
      program = Program.compile(rowGraph(this.spec, dtype), this.compute);
      this.programs.set(dtype, program);
    }
    return program;
  }
}

function rowGraph(spec: RowMapSpec, dtype: 'f32' | 'f16'): Graph {
  const graph = new Graph(`corrector/${spec.name}`);
  const rows = cast(graph.input('rows', dtype, ['rows', spec.dimension]), 'f32');
  const ages = spec.usesAges ? graph.input('ages', 'i32', ['rows']) : undefined;
  const mapped = ages ? spec.build(graph, rows, ages) : spec.build(graph, rows);
  const squared = sum(square(mapped), { axes: -1, keepDims: true });
  graph.output('mapped', div(mapped, sqrt(maximum(squared, 1e-24))));
  // Not a number wherever a row holds one: told here, no row has to be looked at in JavaScript.
  graph.output('squares', sum(squared));
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
