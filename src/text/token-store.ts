import { bytesOf } from '../onnx/dtypes.ts';
import { UsageError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { SpillFile } from '../util/spill-file.ts';
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
  /** File for the token ids. Default: they stay in memory. */
  spill?: SpillFile | undefined;
  /** Called after every 1,024th text. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Token ids of a block in memory, or their place in a file. */
type Block = TokenArray | number;

/** Tokens of one block of memory. A text never spans two blocks. */
const BLOCK_TOKENS = 1 << 20;

/** Places of the texts in the blocks. */
interface TokenPlaces {
  readonly starts: Float64Array;
  readonly lengths: Int32Array;
  readonly blockTokens: number;
}

/** File that holds blocks, and the type of its numbers. */
interface TokenFile {
  readonly spill: SpillFile;
  readonly Tokens: Uint16ArrayConstructor | Int32ArrayConstructor;
}

/**
 * Token ids of N texts in compact form: 12 bytes a text, and 2 bytes a token (4 for a vocabulary of more than
 * 65,536), which may lie in a file instead of memory. The texts themselves are not kept.
 */
export class TokenStore {
  /** Number of texts N. */
  readonly rows: number;
  /** Number of tokens of all texts. */
  readonly totalTokens: number;
  readonly #blocks: readonly Block[];
  /** Start of each text: block · blockTokens + position in the block. */
  readonly #starts: Float64Array;
  readonly #lengths: Int32Array;
  readonly #blockTokens: number;
  /** File of the blocks, and the type of its numbers. */
  readonly #file: TokenFile | undefined;

  private constructor(
    blocks: readonly Block[],
    { starts, lengths, blockTokens, file }: TokenPlaces & { readonly file?: TokenFile | undefined },
  ) {
    this.#blocks = blocks;
    this.#file = file;
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
    const { maxTokens, prefix = '', specialTokens = true, spill, onProgress } = options;
    if (!Number.isInteger(maxTokens) || maxTokens < 1) {
      throw new UsageError(`maxTokens must be a whole number ≥ 1, found ${maxTokens}`);
    }
    const blockTokens = Math.max(BLOCK_TOKENS, maxTokens);
    const Tokens = tokenizer.vocabSize <= 65_536 ? Uint16Array : Int32Array;
    const blocks: Block[] = [];
    const starts = new Float64Array(count);
    const lengths = new Int32Array(count);
    let block: TokenArray | undefined;
    let used = 0;
    const finishBlock = () => {
      if (!block) return;
      if (spill) blocks.push(spill.append(bytesOf(block.subarray(0, used))));
      else blocks.push(used === block.length ? block : block.slice(0, used));
      if (!spill) block = undefined;
      used = 0;
    };
    for (let row = 0; row < count; row++) {
      const text = prefix + textOf(row);
      const ids = specialTokens ? tokenizer.encode(text, maxTokens) : tokenizer.encodeRaw(text, maxTokens);
      if (used + ids.length > blockTokens) finishBlock();
      // Of a file, one block of memory is filled again and again.
      block ??= new Tokens(blockTokens);
      block.set(ids, used);
      starts[row] = blocks.length * blockTokens + used;
      lengths[row] = ids.length;
      used += ids.length;
      if ((row + 1) % 1024 === 0)
        onProgress?.({ stage: 'tokenise', done: row + 1, total: count, unit: 'texts' });
    }
    finishBlock();
    const file = spill && { spill, Tokens };
    return new TokenStore(blocks, { starts, lengths, blockTokens, file });
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
    return new TokenStore([tokens], { starts, lengths, blockTokens: total + 1 });
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
    const length = this.#lengths[row]!;
    const held = this.#blocks[block]!;
    if (typeof held !== 'number') return held.subarray(from, from + length);
    const { spill, Tokens } = this.#file!;
    const tokens = new Tokens(length);
    spill.read(held + from * Tokens.BYTES_PER_ELEMENT, bytesOf(tokens));
    return tokens;
  }

  /** Memory of the tokens and the tables, in bytes, without what lies in a file. */
  get bytes(): number {
    const blockBytes = this.#blocks.reduce<number>(
      (sum, block) => sum + (typeof block === 'number' ? 0 : block.byteLength),
      0,
    );
    return blockBytes + this.#starts.byteLength + this.#lengths.byteLength;
  }

  #checked(row: number): number {
    if (!(row >= 0 && row < this.rows)) {
      throw new UsageError(`row ${row} is outside the ${this.rows} texts of the store`);
    }
    return row;
  }
}
