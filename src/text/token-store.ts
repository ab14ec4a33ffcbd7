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

/** Tokens of one block of memory. A text spans several blocks only if it is longer than one. */
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

  /** @internal Use {@link TokenStore.build}, {@link TokenStore.of} or {@link TokenStoreBuilder}. */
  constructor(
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
    const builder = new TokenStoreBuilder(tokenizer.vocabSize, { spill, blockTokens: maxTokens });
    for (let row = 0; row < count; row++) {
      const text = prefix + textOf(row);
      builder.add(specialTokens ? tokenizer.encode(text, maxTokens) : tokenizer.encodeRaw(text, maxTokens));
      if ((row + 1) % 1024 === 0)
        onProgress?.({ stage: 'tokenise', done: row + 1, total: count, unit: 'texts' });
    }
    return builder.finish();
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

  /**
   * Token ids of a text, [T]; a view that must not be changed.
   *
   * @param from  first token to return, default 0
   * @param to  token after the last one to return, default T
   */
  tokens(row: number, from = 0, to = this.length(row)): TokenArray {
    const length = this.length(row);
    if (!(from >= 0 && from <= to && to <= length))
      throw new UsageError(`tokens ${from} to ${to} of a text of ${length}`);
    const start = this.#starts[row]! + from;
    const block = Math.floor(start / this.#blockTokens);
    const place = start - block * this.#blockTokens;
    if (place + to - from <= this.#blockTokens) return this.#inBlock(block, place, to - from);
    // A text that is longer than a block.
    const { Tokens } = this.#file ?? {
      Tokens: this.#blocks[block] instanceof Int32Array ? Int32Array : Uint16Array,
    };
    const tokens = new Tokens(to - from);
    for (let done = 0; done < tokens.length; ) {
      const at = start + done;
      const inside = Math.floor(at / this.#blockTokens);
      const first = at - inside * this.#blockTokens;
      const size = Math.min(this.#blockTokens - first, tokens.length - done);
      tokens.set(this.#inBlock(inside, first, size), done);
      done += size;
    }
    return tokens;
  }

  #inBlock(block: number, from: number, length: number): TokenArray {
    const held = this.#blocks[block] ?? new Uint16Array(0);
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

/** Settings of {@link TokenStoreBuilder}. */
export interface TokenStoreBuilderOptions {
  /** File for the token ids. Default: they stay in memory. */
  readonly spill?: SpillFile | undefined;
  /** Tokens of a block at least. Default 2^20. */
  readonly blockTokens?: number | undefined;
}

/** Collects the token ids of texts one text at a time, for a {@link TokenStore}. */
export class TokenStoreBuilder {
  readonly #Tokens: Uint16ArrayConstructor | Int32ArrayConstructor;
  readonly #spill: SpillFile | undefined;
  readonly #blockTokens: number;
  readonly #blocks: Block[] = [];
  #block: TokenArray | undefined;
  /** Tokens in the block that is being filled. */
  #used = 0;
  #rows = 0;
  #starts = new Float64Array(1024);
  #lengths = new Int32Array(1024);

  /** @param vocabSize  number of different token ids, which decides how many bytes an id takes */
  constructor(vocabSize: number, { spill, blockTokens = 0 }: TokenStoreBuilderOptions = {}) {
    this.#Tokens = vocabSize <= 65_536 ? Uint16Array : Int32Array;
    this.#spill = spill;
    this.#blockTokens = Math.max(BLOCK_TOKENS, blockTokens);
  }

  /** Adds the token ids of a text and returns its row. The array is copied. */
  add(ids: ArrayLike<number> & { subarray(start: number, end: number): ArrayLike<number> }): number {
    if (this.#used + ids.length > this.#blockTokens) this.#finishBlock();
    const row = this.#rows++;
    if (row === this.#lengths.length) this.#grow();
    this.#starts[row] = this.#blocks.length * this.#blockTokens + this.#used;
    this.#lengths[row] = ids.length;
    for (let done = 0; done < ids.length; ) {
      // Of a file, one block of memory is filled again and again.
      this.#block ??= new this.#Tokens(this.#blockTokens);
      const size = Math.min(this.#blockTokens - this.#used, ids.length - done);
      this.#block.set(ids.subarray(done, done + size), this.#used);
      this.#used += size;
      done += size;
      if (done < ids.length) this.#finishBlock();
    }
    return row;
  }

  /** Makes the store. Nothing can be added afterwards. */
  finish(): TokenStore {
    this.#finishBlock();
    const file = this.#spill && { spill: this.#spill, Tokens: this.#Tokens };
    const [starts, lengths] = [this.#starts.slice(0, this.#rows), this.#lengths.slice(0, this.#rows)];
    return new TokenStore(this.#blocks, { starts, lengths, blockTokens: this.#blockTokens, file });
  }

  #finishBlock(): void {
    const block = this.#block;
    if (!block || this.#used === 0) return;
    if (this.#spill) this.#blocks.push(this.#spill.append(bytesOf(block.subarray(0, this.#used))));
    else {
      this.#blocks.push(this.#used === block.length ? block : block.slice(0, this.#used));
      this.#block = undefined;
    }
    this.#used = 0;
  }

  #grow(): void {
    const size = Math.ceil(1.5 * this.#rows);
    const [starts, lengths] = [new Float64Array(size), new Int32Array(size)];
    starts.set(this.#starts);
    lengths.set(this.#lengths);
    this.#starts = starts;
    this.#lengths = lengths;
  }
}
