import { Bm25 } from '../text/bm25.ts';
import type { RankedRows } from '../text/inverted-index.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/**
 * Number of chunks that chunks of a window may have as neighbours: those that lie, with their successors, before the first token of the
 * window. The window is all that attention reaches, so no neighbour is in reach of it, and none is later than the chunk.
 *
 * @param start  place of the first token of the window in its text, a multiple of the chunk size
 */
export const earlierChunks = (start: number, chunkTokens: number): number =>
  Math.max(0, Math.floor(start / chunkTokens) - 1);

/** Text that is read from its beginning on, in chunks of m tokens. Only complete chunks count. */
export class ChunkedText {
  /** Tokens of a chunk, m. */
  readonly chunkTokens: number;
  /** Name of the text, which random choices depend on. */
  readonly name: string;
  readonly #tokenizer: Tokenizer;
  #ids: Int32Array;
  #index: Bm25 | undefined;

  /** @param tokenizer  tokenizer that has made the tokens */
  constructor(
    ids: Int32Array,
    { tokenizer, chunkTokens, name }: { tokenizer: Tokenizer; chunkTokens: number; name: string },
  ) {
    this.#ids = ids;
    this.#tokenizer = tokenizer;
    this.chunkTokens = chunkTokens;
    this.name = name;
  }

  /** Number of tokens. */
  get length(): number {
    return this.#ids.length;
  }

  /** Number of complete chunks. */
  get chunks(): number {
    return Math.floor(this.#ids.length / this.chunkTokens);
  }

  /** Appends tokens. */
  extend(ids: Int32Array): void {
    const joined = new Int32Array(this.#ids.length + ids.length);
    joined.set(this.#ids);
    joined.set(ids, this.#ids.length);
    this.#ids = joined;
  }

  /** Tokens from a place up to another, without the latter. */
  slice(start: number, end: number): Int32Array {
    return this.#ids.slice(start, end);
  }

  /** Tokens of some consecutive chunks, [count · m]. */
  tokens(chunk: number, count = 1): Int32Array {
    return this.#ids.subarray(chunk * this.chunkTokens, (chunk + count) * this.chunkTokens);
  }

  /** Text of some consecutive chunks. */
  text(chunk: number, count = 1): string {
    return this.#tokenizer.decode(this.tokens(chunk, count));
  }

  /**
   * Finds similar chunks among the first ones by BM25. Its statistics are those of these chunks alone, so that the result depends on no
   * later token.
   *
   * @param query  text to compare with
   * @param among  number of the first chunks
   * @returns at most k chunks that share a word with the query, best first
   */
  similar(query: string, among: number, k: number): RankedRows {
    if (among === 0) return { rows: new Int32Array(0), scores: new Float32Array(0) };
    // The chunks of a window have equally many, and follow one another.
    if (this.#index?.rows !== among) this.#index = Bm25.build(among, (chunk) => this.text(chunk));
    return this.#index.search(query, Math.min(k, among));
  }
}
