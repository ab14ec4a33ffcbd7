import { Graph } from '../graph/graph.ts';
import { cast } from '../graph/ops.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';

/** Rows that are too many for memory, such as those of a file. They are read in blocks. */
export interface StoredRows {
  /** Number of rows, N. */
  readonly size: number;
  /** Element type in which the rows are stored. */
  readonly dtype: 'f16' | 'f32';
  /**
   * Reads consecutive rows.
   *
   * @param start  first row
   * @param into  array to fill: bits of f16, or f32, of whole rows
   */
  read(start: number, into: Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer>): Promise<void>;
}

/** Block of consecutive rows. */
export interface RowBlock {
  /** Number of rows in the blocks before, in ascending order. Rows of this block before it were in an earlier block. */
  readonly seen: number;
  /** First row. */
  readonly start: number;
  /** Number of rows. */
  readonly count: number;
  /** f32[count, D]; of stored rows valid until the next block is asked for. */
  readonly rows: HostTensor;
}

/**
 * Divides rows into blocks of one size, so that each has k of them; the last one therefore begins inside the one before it. A row
 * among the k best of all is among the k best of each block that holds it, so none is lost.
 */
export function* blockPlaces(
  size: number,
  blockRows: number,
): Generator<{ readonly seen: number; readonly start: number; readonly count: number }> {
  const count = Math.min(size, blockRows);
  for (let seen = 0; seen < size; seen += count) {
    yield { seen, start: Math.min(seen, size - count), count };
  }
}

/**
 * Reads stored rows block by block, and converts them to f32 by a program. The next block is read while the caller works on one.
 * Memory is two blocks as stored, and one in f32.
 */
export async function* readBlocks(
  stored: StoredRows,
  dimension: number,
  blockRows: number,
  programs: ProgramCache,
): AsyncGenerator<RowBlock> {
  const places = [...blockPlaces(stored.size, blockRows)];
  const count = places[0]?.count ?? 0;
  const isHalf = stored.dtype === 'f16';
  const buffer = () => (isHalf ? new Uint16Array(count * dimension) : new Float32Array(count * dimension));
  const buffers = [buffer(), buffer()] as const;
  const whole = hostTensor(
    'f32',
    [count, dimension],
    isHalf ? new Float32Array(count * dimension) : buffers[0],
  );
  const read = (at: number) => {
    const place = places[at];
    const reading = place && stored.read(place.start, buffers[at % 2]!);
    // A failure while the caller works on a block is thrown when this one is asked for.
    reading?.catch(() => {});
    return reading;
  };
  let reading = read(0);
  try {
    for (const [at, place] of places.entries()) {
      await reading;
      const bits = buffers[at % 2]!;
      reading = read(at + 1);
      if (!isHalf) {
        yield { ...place, rows: hostTensor('f32', [count, dimension], bits) };
        continue;
      }
      const program = await programs.get('rows-to-f32', () => conversion(dimension));
      await program.run({ halves: hostTensor('f16', [count, dimension], bits) }, { into: { rows: whole } });
      yield { ...place, rows: whole };
    }
  } finally {
    await reading?.catch(() => {});
  }
}

function conversion(dimension: number): Graph {
  const graph = new Graph('rows-to-f32');
  graph.output('rows', cast(graph.input('halves', 'f16', ['rows', dimension]), 'f32'));
  return graph;
}
