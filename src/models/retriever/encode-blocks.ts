import type { TokenStore } from '../../text/token-store.ts';
import { encodeRows, type RowEncoder } from './encode-rows.ts';

/** Size of a block. */
export interface BlockSize {
  /** Rows of a group: a block ends where the number of its last row is a multiple. */
  readonly rows: number;
  /** Number of tokens that a block of more than one row does not exceed. */
  readonly tokens: number;
}

/**
 * Size of the blocks that rows are embedded in.
 *
 * A block is embedded by one call of `encodeRows`, wherever that is: here, in another process, on another machine. Its bits depend on the
 * block, the weights, the machine and the number of threads, and on nothing else. Within 1,024 rows, passes find texts of similar length: padding
 * is measured in docs/performance.md. 200,000 tokens bound the time of a block, and with it what a failure loses. Blocks begin anew at multiples
 * of 1,024, so that long texts in one place move no block elsewhere.
 */
export const BLOCK_SIZE: BlockSize = { rows: 1024, tokens: 200_000 };

/**
 * Divides rows into blocks, in their order. A block ends at each multiple of 1,024 rows, and before it exceeds 200,000 tokens.
 *
 * @param lengths  tokens of each row
 * @returns  end of each block, ascending; the last one is the number of rows
 */
export function blockEnds(
  lengths: ArrayLike<number>,
  { rows, tokens }: BlockSize = BLOCK_SIZE,
): Uint32Array<ArrayBuffer> {
  const ends: number[] = [];
  let start = 0;
  let taken = 0;
  for (let row = 0; row < lengths.length; row++) {
    const length = lengths[row]!;
    if (row > start && (row % rows === 0 || taken + length > tokens)) {
      ends.push(row);
      start = row;
      taken = 0;
    }
    taken += length;
  }
  if (lengths.length > 0) ends.push(lengths.length);
  return Uint32Array.from(ends);
}

/** Number of blocks in a piece. */
const PIECE_BLOCKS = 16;

/**
 * Divides rows into pieces of whole blocks, at most 16, for work that holds one piece in memory. Piece by piece, rows get the same bits as
 * all at once.
 *
 * @param lengths  tokens of each row
 * @yields first row of a piece, and the row after its last
 */
export function* pieces(lengths: ArrayLike<number>): Generator<{ start: number; end: number }> {
  const ends = blockEnds(lengths);
  let start = 0;
  for (let last = PIECE_BLOCKS - 1; start < lengths.length; last += PIECE_BLOCKS) {
    const end = ends[Math.min(last, ends.length - 1)]!;
    yield { start, end };
    start = end;
  }
}

/** Looks up the tokens of each of some rows. */
export const lengthsOf = (store: TokenStore, rows: Uint32Array): Int32Array<ArrayBuffer> =>
  Int32Array.from(rows, (row) => store.length(row));

/**
 * Embeds rows of a token store, block by block.
 *
 * Equal rows, weights and numbers of threads give equal bits, in this or another process.
 *
 * @param out  output, row-major f32[rows, D], in the order of the rows
 * @param onRows  called with the number of rows embedded so far
 */
export async function encodeBlocks(
  encoder: RowEncoder,
  { store, rows }: { readonly store: TokenStore; readonly rows: Uint32Array },
  out: Float32Array,
  onRows?: (done: number) => void,
): Promise<void> {
  const D = out.length / rows.length;
  let start = 0;
  for (const end of blockEnds(lengthsOf(store, rows))) {
    const first = start;
    await encodeRows(
      encoder,
      { store, rows: rows.subarray(first, end) },
      out.subarray(first * D, end * D),
      (done) => onRows?.(first + done),
    );
    start = end;
  }
}
