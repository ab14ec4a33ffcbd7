import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Token ids; 2 bytes each if the vocabulary has at most 65,536 tokens. */
export type TokenArray = Uint16Array | Int32Array;

/** Settings of {@link TokenStore.build}. */
export interface TokenStoreOptions {
  /** Maximum number of tokens of a text, special tokens included; a whole number ≥ 1. */
  maxTokens: number;
  /** Text to put in front of every text, for example `query: `. Default none. */
  prefix?: string;
  /** Put the tokenizer's special tokens around texts, where it defines any. Default true. */
  specialTokens?: boolean;
  /** Called after every 1,024th text. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Tokens of one block of memory. A text never spans two blocks. */
const BLOCK_TOKENS = 1 << 20;

/**
 * Token ids of N texts in compact form: 8 bytes a text, and 2 bytes a token (4 for a vocabulary of more than
 * 65,536). The texts themselves are not kept.
 */
export class TokenStore {
  /** Number of texts N. */
  readonly rows: number;
  /** Number of tokens of all texts. */
  readonly totalTokens: number;
  readonly #blocks: readonly TokenArray[];
  /** Start of each text: block · blockTokens + position in the block. */
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

  /**
   * Encodes `count` texts. `textOf` is called once per row, in row order.
   *
   * @throws UsageError when `maxTokens` is not a whole number ≥ 1 or leaves no room for the special tokens
   */
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
      if ((row + 1) % 1024 === 0)
        onProgress?.({ stage: 'tokenise', done: row + 1, total: count, unit: 'texts' });
    }
    if (blocks.length > 0) blocks.push(blocks.pop()!.slice(0, used));
    return new TokenStore(blocks, starts, lengths, blockTokens);
  }

  /**
   * Wraps token ids that already exist: the texts lie one after the other in `tokens`. The arrays are kept,
   * not copied.
   *
   * @param lengths  int32[N], tokens of each text
   * @throws UsageError when the lengths do not add up to the number of tokens
   */
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
    // There is one block, and no start reaches its size.
    return new TokenStore([tokens], starts, lengths, total + 1);
  }

  /** Number of tokens of each text, [N]; a view that must not be changed. */
  get lengths(): Int32Array {
    return this.#lengths;
  }

  /** Number of tokens of a text. */
  length(row: number): number {
    return this.#lengths[this.#checked(row)]!;
  }

  /** Token ids of a text, [T]; a view that must not be changed. */
  tokens(row: number): TokenArray {
    const start = this.#starts[this.#checked(row)]!;
    const block = Math.floor(start / this.#blockTokens);
    const from = start - block * this.#blockTokens;
    return this.#blocks[block]!.subarray(from, from + this.#lengths[row]!);
  }

  /** Memory of the tokens and the tables, in bytes. */
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
