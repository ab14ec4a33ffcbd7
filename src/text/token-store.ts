import { UsageError } from '../util/errors.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Token ids: 2 bytes each where the vocabulary allows it. */
export type TokenArray = Uint16Array | Int32Array;

export interface TokenStoreOptions {
  /** Tokens of a text at most, special tokens included. */
  maxTokens: number;
  /** Put in front of every text, for example `query: `. */
  prefix?: string;
  /** Wrap texts in the tokenizer's special tokens, where it has a template for that (true). */
  specialTokens?: boolean;
  /** Called after every 1,024th text with the number of texts done. */
  onProgress?: (rows: number) => void;
}

/** Tokens of one block of memory; a text lies in one block. */
const BLOCK_TOKENS = 1 << 20;

/**
 * The token ids of N texts, held compactly: 2 bytes a token up to a vocabulary of 65,536, else 4, and 8 bytes a text.
 * The texts themselves are not kept.
 */
export class TokenStore {
  /** Number of texts N. */
  readonly rows: number;
  readonly totalTokens: number;
  readonly #blocks: readonly TokenArray[];
  /** Where a text begins: block · blockTokens + position in the block. */
  readonly #starts: Float64Array;
  readonly #lengths: Int32Array;
  readonly #blockTokens: number;

  private constructor(blocks: TokenArray[], starts: Float64Array, lengths: Int32Array, blockTokens: number) {
    this.#blocks = blocks;
    this.#starts = starts;
    this.#lengths = lengths;
    this.#blockTokens = blockTokens;
    this.rows = lengths.length;
    this.totalTokens = lengths.reduce((sum, length) => sum + length, 0);
  }

  /** Encodes `count` texts, special tokens included; each text is asked for once, in row order. */
  static build(
    tokenizer: Tokenizer,
    count: number,
    textOf: (row: number) => string,
    options: TokenStoreOptions,
  ): TokenStore {
    const { maxTokens, prefix = '', specialTokens = true, onProgress } = options;
    if (!Number.isInteger(maxTokens) || maxTokens < 1) {
      throw new UsageError(`maxTokens must be a whole number ≥ 1, found ${maxTokens}`);
    }
    const blockTokens = Math.max(BLOCK_TOKENS, maxTokens);
    const newBlock = (): TokenArray =>
      tokenizer.vocabSize <= 65_536 ? new Uint16Array(blockTokens) : new Int32Array(blockTokens);
    const blocks: TokenArray[] = [];
    const starts = new Float64Array(count);
    const lengths = new Int32Array(count);
    let used = blockTokens;
    for (let row = 0; row < count; row++) {
      const text = prefix + textOf(row);
      const ids = specialTokens ? tokenizer.encode(text, maxTokens) : tokenizer.encodeRaw(text, maxTokens);
      if (blocks.length === 0 || used + ids.length > blockTokens) {
        if (blocks.length > 0) blocks.push(blocks.pop()!.slice(0, used));
        blocks.push(newBlock());
        used = 0;
      }
      blocks[blocks.length - 1]!.set(ids, used);
      starts[row] = (blocks.length - 1) * blockTokens + used;
      lengths[row] = ids.length;
      used += ids.length;
      if (onProgress !== undefined && (row + 1) % 1024 === 0) onProgress(row + 1);
    }
    if (blocks.length > 0) blocks.push(blocks.pop()!.slice(0, used));
    return new TokenStore(blocks, starts, lengths, blockTokens);
  }

  /** A store over texts whose tokens lie one after the other; the arrays are kept, not copied. */
  static of(lengths: Int32Array, tokens: TokenArray): TokenStore {
    const starts = new Float64Array(lengths.length);
    let total = 0;
    for (let row = 0; row < lengths.length; row++) {
      starts[row] = total;
      total += lengths[row]!;
    }
    if (total !== tokens.length) {
      throw new UsageError(
        `${lengths.length} texts of ${total} tokens, but ${tokens.length} tokens were given`,
      );
    }
    // One block, and a size of it that no start reaches.
    return new TokenStore([tokens], starts, lengths, total + 1);
  }

  /** Tokens of each text, [N]; a view, not to be changed. */
  get lengths(): Int32Array {
    return this.#lengths;
  }

  /** Number of tokens of a text. */
  length(row: number): number {
    return this.#lengths[this.#checked(row)]!;
  }

  /** Token ids of a text, [T]; a view, not to be changed. */
  tokens(row: number): TokenArray {
    const start = this.#starts[this.#checked(row)]!;
    const block = Math.floor(start / this.#blockTokens);
    const from = start - block * this.#blockTokens;
    return this.#blocks[block]!.subarray(from, from + this.#lengths[row]!);
  }

  /** Memory of the tokens and of the tables, in bytes. */
  get bytes(): number {
    const blockBytes = this.#blocks.reduce((sum, block) => sum + block.byteLength, 0);
    return blockBytes + this.#starts.byteLength + this.#lengths.byteLength;
  }

  #checked(row: number): number {
    if (!(row >= 0 && row < this.rows)) {
      throw new UsageError(`row ${row} is outside the ${this.rows} texts of the store`);
    }
    return row;
  }
}
