import { UsageError } from '../util/errors.ts';
import { bestFit } from './best-fit.ts';
import type { TokenStore } from './token-store.ts';

/** Settings of {@link PackedWindows}. */
export interface PackingOptions {
  /** Length of a window, in tokens; a whole number ≥ 2. */
  readonly window: number;
  /** Token put before every document. Default: none; the first token of a document is then never predicted. */
  readonly start?: number | undefined;
  /** Token put after every document, so that a model learns where texts end. Default: none. */
  readonly end?: number | undefined;
  /** Rows of the documents. Default all. */
  readonly rows?: ArrayLike<number> | undefined;
  /** Whether short documents share windows. Default true. */
  readonly share?: boolean | undefined;
}

/** Windows side by side, padded at the end with token 0. B windows of T tokens. */
export interface WindowBatch {
  /** Token ids, [B × T]. */
  readonly ids: Int32Array;
  /** Mask, [B × T]: 1 for tokens, 0 for padding. */
  readonly mask: Float32Array;
  /** Number of each token's piece of a document in its window, [B × T], from 0. Tokens of different pieces must not see each other. */
  readonly documents: Int32Array;
  /** Row of each token's document, [B × T]; −1 for padding. */
  readonly rows: Int32Array;
  /** Place of each token in the sequence of its document, [B × T]. A token that two pieces share has one place. */
  readonly positions: Int32Array;
  readonly batch: number;
  readonly tokens: number;
  /** Number of predicted tokens: all but the first of each piece. */
  readonly predictions: number;
}

/**
 * Cuts documents into windows for a language model, and packs short ones into shared windows.
 *
 * A document is the sequence `start, its tokens, end`. One that is longer than a window is cut into pieces of the length of a window,
 * each of which begins with the last token of the piece before: that token is read again, not predicted again. The last pieces and
 * the short documents are packed into as few windows as a best-fit search finds. The packing depends on the lengths alone.
 *
 * So in one pass over all windows, every token of every document but the first of its sequence is predicted exactly once, after tokens
 * of its own document only.
 *
 * Memory: 16 bytes a piece.
 */
export class PackedWindows {
  /** Number of windows. */
  readonly count: number;
  /** Number of tokens in each window, [count]. */
  readonly lengths: Int32Array;
  /** Number of predicted tokens in all windows. */
  readonly predictions: number;
  readonly #store: TokenStore;
  readonly #options: PackingOptions;
  /** Row of the document of each piece. */
  readonly #rows: Int32Array;
  /** First token of each piece in the sequence of its document. */
  readonly #firsts: Int32Array;
  /** Pieces of all windows, one window after the other. */
  readonly #pieces: Int32Array;
  /** First piece of each window in `#pieces`, [count + 1]. */
  readonly #offsets: Int32Array;

  /**
   * @param store  tokens of the documents, without special tokens. It is read when batches are made
   * @throws UsageError for a window of fewer than two tokens
   */
  constructor(store: TokenStore, options: PackingOptions) {
    const { window, share = true, rows = { length: store.rows } } = options;
    if (!Number.isSafeInteger(window) || window < 2)
      throw new UsageError(`a window should have at least 2 tokens, found ${window}`);
    this.#store = store;
    this.#options = options;
    const stride = window - 1;
    // A sequence of one token predicts nothing.
    const piecesOf = (row: number) => Math.ceil(Math.max(0, this.#length(row) - 1) / stride);
    const rowAt = (i: number) => rows[i] ?? i;
    let count = 0;
    for (let i = 0; i < rows.length; i++) count += piecesOf(rowAt(i));
    this.#rows = new Int32Array(count);
    this.#firsts = new Int32Array(count);
    let predictions = 0;
    for (let i = 0, piece = 0; i < rows.length; i++) {
      const row = rowAt(i);
      for (let part = 0; part < piecesOf(row); part++, piece++) {
        this.#rows[piece] = row;
        this.#firsts[piece] = part * stride;
        predictions += this.#size(piece) - 1;
      }
    }
    this.predictions = predictions;
    const sizes = Int32Array.from({ length: count }, (_, piece) => this.#size(piece));
    const windowOf = share ? bestFit(sizes, window) : Int32Array.from(sizes.keys());
    this.count = windowOf.reduce((most, each) => Math.max(most, each + 1), 0);
    this.lengths = new Int32Array(this.count);
    this.#offsets = new Int32Array(this.count + 1);
    for (let piece = 0; piece < count; piece++) {
      this.lengths[windowOf[piece]!]! += sizes[piece]!;
      this.#offsets[windowOf[piece]! + 1]! += 1;
    }
    for (let i = 0; i < this.count; i++) this.#offsets[i + 1]! += this.#offsets[i]!;
    this.#pieces = new Int32Array(count);
    const next = this.#offsets.slice(0, this.count);
    for (let piece = 0; piece < count; piece++) this.#pieces[next[windowOf[piece]!]!++] = piece;
  }

  /** Lays windows side by side. */
  batch(windows: ArrayLike<number>): WindowBatch {
    const batch = windows.length;
    let tokens = 1;
    for (let i = 0; i < batch; i++) tokens = Math.max(tokens, this.lengths[windows[i]!]!);
    const [ids, documents] = [new Int32Array(batch * tokens), new Int32Array(batch * tokens)];
    const [rows, positions] = [new Int32Array(batch * tokens).fill(-1), new Int32Array(batch * tokens)];
    const mask = new Float32Array(batch * tokens);
    let predictions = 0;
    for (let i = 0; i < batch; i++) {
      let place = i * tokens;
      const [from, to] = [this.#offsets[windows[i]!]!, this.#offsets[windows[i]! + 1]!];
      for (let at = from; at < to; at++) {
        const piece = this.#pieces[at]!;
        const size = this.#write(piece, ids, place);
        mask.fill(1, place, place + size);
        documents.fill(at - from, place, place + size);
        rows.fill(this.#rows[piece]!, place, place + size);
        for (let i = 0; i < size; i++) positions[place + i] = this.#firsts[piece]! + i;
        predictions += size - 1;
        place += size;
      }
      // Padding belongs to no document.
      documents.fill(to - from, place, (i + 1) * tokens);
    }
    return { ids, mask, documents, rows, positions, batch, tokens, predictions };
  }

  /** Row of the document of the first piece of each window, [count]. */
  get documentRows(): Int32Array {
    return Int32Array.from({ length: this.count }, (_, i) => this.#rows[this.#pieces[this.#offsets[i]!]!]!);
  }

  /** Writes the tokens of a piece and returns their number. */
  #write(piece: number, ids: Int32Array, place: number): number {
    const { start, end } = this.#options;
    const row = this.#rows[piece]!;
    const first = this.#firsts[piece]!;
    const size = this.#size(piece);
    const before = start === undefined ? 0 : 1;
    const own = this.#store.length(row);
    const from = Math.max(0, first - before);
    ids.set(
      this.#store.tokens(row, from, Math.min(own, first + size - before)),
      place + Math.max(0, before - first),
    );
    if (first === 0 && start !== undefined) ids[place] = start;
    if (end !== undefined && first + size === before + own + 1) ids[place + size - 1] = end;
    return size;
  }

  /** Length of the sequence of a document. */
  #length(row: number): number {
    const { start, end } = this.#options;
    return this.#store.lengths[row]! + (start === undefined ? 0 : 1) + (end === undefined ? 0 : 1);
  }

  #size(piece: number): number {
    return Math.min(this.#options.window, this.#length(this.#rows[piece]!) - this.#firsts[piece]!);
  }
}
