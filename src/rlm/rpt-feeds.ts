import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { ShapeError } from '../util/errors.ts';
import { earlierChunks } from './chunked-text.ts';
import type { RptConfig } from './rpt-config.ts';

/** Window of a text, as `windowsOf` cuts it. */
export interface RptWindow {
  /** Tokens of the window. */
  readonly ids: ArrayLike<number>;
  /** Place of its first token in the text, a multiple of m. */
  readonly start: number;
}

/** Windows of one text in their order, and what is known of the text before them. */
export interface RptText {
  readonly windows: readonly RptWindow[];
  /** Complete chunks of the text that earlier windows have, whose states are known. Default 0. */
  readonly known?: number;
}

/** Chunk that a batch has as a new one. */
export interface NewChunk {
  /** Number of its text in the batch. */
  readonly text: number;
  /** Number of the chunk in its text. */
  readonly chunk: number;
  /** Number of the first chunks of the text that may be its neighbours. */
  readonly among: number;
}

/**
 * Lists the new chunks of a text: complete ones that no earlier window has.
 *
 * @returns chunks in their order, with the window of each
 */
export function newChunks(
  { windows, known = 0 }: RptText,
  chunkTokens: number,
): { readonly chunk: number; readonly among: number; readonly window: number }[] {
  const chunks: { chunk: number; among: number; window: number }[] = [];
  for (const [window, { ids, start }] of windows.entries()) {
    const among = earlierChunks(start, chunkTokens);
    const first = start / chunkTokens;
    const end = first + Math.floor(ids.length / chunkTokens);
    for (let chunk = known + chunks.length; chunk >= first && chunk < end; chunk++)
      chunks.push({ chunk, among, window });
  }
  return chunks;
}

/** New chunks of a batch, listed. See `NewChunks`. */
export interface ChunkLayout {
  /** New chunks, text after text. There may be fewer than rows of the inputs. */
  readonly chunks: readonly NewChunk[];
  /** Rows of the inputs, C. */
  readonly rows: number;
  /** Known chunks, N ≥ K. */
  readonly columns: number;
  /** Column of the first chunk of each text among the N known chunks, from which its other chunks follow. */
  readonly offsets: readonly number[];
}

/** Windows of a batch, with their chunks listed. See `RptInputs`. */
export interface RptLayout extends ChunkLayout {
  /** Feeds of the windows and their chunks: all of `RptInputs` but `allowed`, `given`, `past` and `lists`. */
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

/** Sizes of what is fed of the chunks before the windows of a batch of one text. */
export interface PastLayout {
  /** Rows P of the states of chunks. The last ones are those of the known chunks of the text; rows before hold no chunk. */
  readonly rows: number;
  /** Neighbour lists Q. The last ones are those of the last known chunks; lists before are empty. */
  readonly lists: number;
}

/**
 * Lists the chunks of windows and makes their feeds.
 *
 * @param past chunks that were read before, for a batch of one text
 */
export function rptLayout(
  texts: readonly RptText[],
  { chunkTokens: m, neighbours: K }: Pick<RptConfig, 'chunkTokens' | 'neighbours'>,
  past?: PastLayout,
): RptLayout {
  if (past && texts.length !== 1) throw new ShapeError(`${texts.length} texts, of which one was read before`);
  const windows = texts.flatMap((text) => text.windows);
  const l = Math.max(1, ...windows.map(({ ids }) => Math.ceil(ids.length / m)));
  const W = windows.length;
  const ids = new BigInt64Array(W * l * m);
  const mask = new Float32Array(W * l * m);
  const read = new BigInt64Array(W * l);
  const isRead = new Float32Array(W * l);
  const chunks: NewChunk[] = [];
  const places: number[] = [];
  const offsets: number[] = [];
  let row = 0;
  for (const [text, each] of texts.entries()) {
    const { known = 0 } = each;
    const first = chunks.length;
    const own = newChunks(each, m);
    offsets.push(past ? past.rows - known : first);
    for (const { chunk, among, window } of own) {
      chunks.push({ text, chunk, among });
      places.push((row + window) * l + chunk - each.windows[window]!.start / m);
    }
    for (const { ids: tokens, start } of each.windows) {
      for (let t = 0; t < tokens.length; t++) ids[row * l * m + t] = BigInt(tokens[t]!);
      mask.fill(1, row * l * m, row * l * m + tokens.length);
      for (let u = 0; (u + 1) * m <= tokens.length; u++) {
        // Chunks before the first new one have the last of the lists before.
        const list = (past?.lists ?? 0) + first + start / m + u - known;
        if (list < 0 || list >= (past?.lists ?? 0) + chunks.length) continue;
        isRead[row * l + u] = 1;
        read[row * l + u] = BigInt(list);
      }
      row += 1;
    }
  }
  const rows = Math.max(chunks.length, K);
  const columns = (past?.rows ?? 0) + rows;
  const layout = { chunks, rows, columns, offsets };
  return {
    ...layout,
    feeds: {
      'windows/ids': hostTensor('i64', [W, l * m], ids),
      'windows/mask': hostTensor('f32', [W, l * m], mask),
      ...chunkFeeds(layout, places),
      'chunks/read': hostTensor('i64', [W, l], read),
      'chunks/isRead': hostTensor('f32', [W, l], isRead),
    },
  };
}

/**
 * Lists one new chunk of a text and makes its feeds, `places` and `earlier` of `NewChunks`. The only chunk whose states are computed is the
 * chunk itself.
 *
 * @param past chunks of the text that were read before
 */
export function chunkLayout(
  chunk: NewChunk,
  { neighbours: K }: Pick<RptConfig, 'neighbours'>,
  { rows: known }: Pick<PastLayout, 'rows'>,
): RptLayout {
  const rows = Math.max(1, K - known);
  const layout = { chunks: [chunk], rows, columns: known + rows, offsets: [known - chunk.chunk] };
  return { ...layout, feeds: chunkFeeds(layout, [0]) };
}

/** Makes the feeds `chunks/places` and `chunks/earlier`. */
function chunkFeeds(layout: ChunkLayout, places: readonly number[]): Record<string, HostTensor> {
  const listed = BigInt64Array.from({ length: layout.rows }, (_, i) => BigInt(places[i] ?? 0));
  return {
    'chunks/places': hostTensor('i64', [layout.rows], listed),
    'chunks/earlier': marked(layout.chunks, layout, ({ chunk }) => chunk),
  };
}

/**
 * Makes the mask of the chunks that may be neighbours, f32[C, N]: 1 for those that lie, with their successors, before the window in which
 * the chunk of the row is new.
 */
export const allowedNeighbours = (layout: ChunkLayout): HostTensor =>
  marked(layout.chunks, layout, ({ among }) => among);

/** Marks the first chunks of the text of each new chunk, f32[C, N]. */
function marked(
  chunks: readonly NewChunk[],
  { rows, columns, offsets }: Pick<ChunkLayout, 'rows' | 'columns' | 'offsets'>,
  count: (chunk: NewChunk) => number,
): HostTensor {
  const marks = new Float32Array(rows * columns);
  for (const [i, each] of chunks.entries()) {
    const from = i * columns + offsets[each.text]!;
    marks.fill(1, from, from + count(each));
  }
  return hostTensor('f32', [rows, columns], marks);
}

/**
 * Makes the inputs of given neighbours: `given/chunks` i64[C, K] and `given/valid` f32[C, K].
 *
 * @param lists columns of the neighbours of each new chunk, at most K
 */
export function givenNeighbours(
  lists: readonly ArrayLike<number>[],
  { rows }: Pick<ChunkLayout, 'rows'>,
  K: number,
): Record<string, HostTensor> {
  const chunks = new BigInt64Array(rows * K);
  const valid = new Float32Array(rows * K);
  for (const [i, list] of lists.entries()) {
    for (let k = 0; k < Math.min(K, list.length); k++) {
      chunks[i * K + k] = BigInt(list[k]!);
      valid[i * K + k] = 1;
    }
  }
  return {
    'given/chunks': hostTensor('i64', [rows, K], chunks),
    'given/valid': hostTensor('f32', [rows, K], valid),
  };
}
