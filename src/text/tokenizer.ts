import { readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { DataError, type UndriftError, UsageError } from '../util/errors.ts';
import { parseShallowJson } from '../util/shallow-json.ts';
import { Charsmap } from './charsmap.ts';
import { libraryJson, wrapperIds } from './library-json.ts';
import { ownString } from './own-string.ts';
import { cutBefore, TextParts } from './text-parts.ts';
import { checkTokenizerJson, modelIds, type TokenizerJson } from './tokenizer-json.ts';

/** Ids of the tokens with a special role; a role that the vocabulary lacks is absent. */
export interface SpecialIds {
  /** Padding. */
  pad?: number;
  /** First token of a text. */
  cls?: number;
  /** Separator, or last token of a text. */
  sep?: number;
  /** Unknown token. */
  unk?: number;
  /** Masked token. */
  mask?: number;
  /** Beginning of a text. */
  bos?: number;
  /** End of a text. */
  eos?: number;
}

/** Usual names of the special tokens, the most likely first. */
const SPECIAL_NAMES: Record<keyof SpecialIds, readonly string[]> = {
  pad: ['[PAD]', '<pad>', '<|pad|>'],
  cls: ['[CLS]', '<cls>'],
  sep: ['[SEP]', '<sep>'],
  unk: ['[UNK]', '<unk>'],
  mask: ['[MASK]', '<mask>'],
  bos: ['[BOS]', '<s>', '<bos>', '<|begin_of_text|>', '<|startoftext|>', '<|endoftext|>'],
  eos: ['[EOS]', '</s>', '<eos>', '<|end_of_text|>', '<|endoftext|>'],
};

/** Words in each of the two generations of the cache. */
const CACHE_WORDS = 1 << 16;
const CACHE_WORD_CHARS = 48;

/** Tokens required between the last token used and the end of a text that was cut (see `#upTo`). */
const SLACK_TOKENS = 128;

/**
 * Longest text, in characters, that the Unigram model gets at once: the library builds a lattice of the whole
 * text and fails on very long ones. Longer texts are cut at spaces, or at this length where no space follows.
 */
const UNIGRAM_BLOCK_CHARS = 32_768;

/**
 * Converts text to token ids and back, as a `tokenizer.json` says (WordPiece, BPE or Unigram).
 *
 * Built on `@huggingface/tokenizers`, with strict checks of the file, truncation, and the ids of Hugging
 * Face's Rust library where the JavaScript library differs (see `library-json.ts`).
 *
 * For most tokenizers the ids of a text are the ids of its words, one after the other. Words are looked up in
 * a cache and only new words go through the library. A text is read only as far as `maxTokens` needs.
 */
export class Tokenizer {
  /** Largest id + 1: the number of rows of an embedding table. */
  readonly vocabSize: number;
  /** Ids of the tokens with a special role. */
  readonly specialIds: Readonly<SpecialIds>;
  readonly #json: TokenizerJson;
  readonly #file: string;
  readonly #library: Library;
  readonly #parts: TextParts;
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #slackTokens: number;
  /**
   * Two generations of the cache. When the young one is full it replaces the old one, so words not seen since
   * are forgotten.
   */
  #young = new Map<string, readonly number[]>();
  #old = new Map<string, readonly number[]>();
  #scratch = new Int32Array(1024);

  private constructor(json: TokenizerJson, file: string) {
    this.#json = json;
    this.#file = file;
    this.#parts = new TextParts(json);
    try {
      this.#library = new Library(libraryJson(json), { clean_up_tokenization_spaces: false });
    } catch (error) {
      throw this.#failure('the tokenizer cannot be built', error);
    }
    useCharsmaps(this.#library.normalizer, file);
    // Undrift fuses unknown tokens in #encodeAll: the library needs time quadratic in the length of a run of
    // them.
    if (json.model.type === 'Unigram') this.#library.model!.fuse_unk = false;
    const ids = modelIds(json.model);
    for (const token of json.added_tokens) ids.set(token.content, token.id);
    let largest = 0;
    for (const id of ids.values()) largest = Math.max(largest, id);
    this.vocabSize = largest + 1;

    const { before, after } = wrapperIds(json.post_processor);
    const foreign = [...before, ...after].find((id) => id > largest);
    if (foreign !== undefined) throw this.#failure(`post_processor adds id ${foreign}, which no token has`);
    this.#before = Int32Array.from(before);
    this.#after = Int32Array.from(after);
    this.specialIds = findSpecialIds(json, ids, before, after);
    // A word of up to this many characters can be one [UNK] token when whole and one token per character when
    // cut.
    this.#slackTokens = Math.max(
      SLACK_TOKENS,
      json.model.type === 'WordPiece' ? json.model.max_input_chars_per_word : 0,
    );
    this.#encodeAll('A first try: 1 2 3.');
  }

  /**
   * Reads a `tokenizer.json`.
   *
   * @throws DataError when the file is missing, damaged or of an unsupported kind
   */
  static fromFile(path: string): Tokenizer {
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataError(`the tokenizer file cannot be read: ${reason}`, {
        file: path,
        help: 'name a tokenizer.json, or train a vocabulary of your own',
        cause: error,
      });
    }
    let value: unknown;
    try {
      value = parseShallowJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataError(`not UTF-8 JSON: ${reason}`, { file: path, cause: error });
    }
    return Tokenizer.fromJson(value, path);
  }

  /**
   * Builds a tokenizer from a parsed `tokenizer.json`. Errors name the file as `file`.
   *
   * @throws DataError when the content is damaged or of an unsupported kind
   */
  static fromJson(json: unknown, file = 'tokenizer.json'): Tokenizer {
    return new Tokenizer(checkTokenizerJson(json, file), file);
  }

  /** Returns the `tokenizer.json` that this tokenizer was made from; it must not be changed. */
  toJson(): TokenizerJson {
    return this.#json;
  }

  /** Special tokens that `encode` puts around a text; the arrays must not be changed. */
  get wrapper(): { readonly before: Int32Array; readonly after: Int32Array } {
    return { before: this.#before, after: this.#after };
  }

  /** Number of special tokens that `encode` puts around a text. */
  get wrapperTokens(): number {
    return this.#before.length + this.#after.length;
  }

  /**
   * Encodes a text, special tokens included.
   *
   * A text that is too long is truncated before the special tokens are added, so [CLS] … [SEP] stays whole,
   * as in Hugging Face's truncation.
   *
   * @param maxTokens  maximum number of ids to return, special tokens included; default no limit
   * @throws UsageError when `maxTokens` leaves no room for the special tokens
   */
  encode(text: string, maxTokens = Number.POSITIVE_INFINITY): Int32Array {
    const room = maxTokens - this.wrapperTokens;
    if (!(room >= 0)) {
      throw new UsageError(
        `maxTokens ${maxTokens} leaves no room for the ${this.wrapperTokens} special tokens around a text`,
      );
    }
    const count = this.#encode(text, room);
    const ids = new Int32Array(this.wrapperTokens + count);
    ids.set(this.#before);
    ids.set(this.#scratch.subarray(0, count), this.#before.length);
    ids.set(this.#after, this.#before.length + count);
    return ids;
  }

  /**
   * Encodes a text without special tokens and returns its first `maxTokens` ids (all by default).
   *
   * @throws UsageError when `maxTokens` is negative
   */
  encodeRaw(text: string, maxTokens = Number.POSITIVE_INFINITY): Int32Array {
    if (!(maxTokens >= 0)) throw new UsageError(`maxTokens must be ≥ 0, found ${maxTokens}`);
    const count = this.#encode(text, maxTokens);
    return this.#scratch.slice(0, count);
  }

  /**
   * Decodes ids to text. Special tokens are left out unless `skipSpecialTokens` is false.
   *
   * @throws UsageError when an id is not in the vocabulary
   */
  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const list = Array.from(ids);
    for (const id of list) {
      if (!Number.isInteger(id) || this.#library.id_to_token(id) === undefined) {
        throw new UsageError(`token id ${id} is not in the vocabulary of ${this.vocabSize}`);
      }
    }
    if (list.length === 0) return '';
    try {
      return this.#library.decode(list, { skip_special_tokens: options.skipSpecialTokens ?? true });
    } catch (error) {
      throw this.#failure('the ids cannot be decoded', error);
    }
  }

  /** Looks up the id of a token, for example `[MASK]`; undefined when the vocabulary lacks it. */
  tokenId(token: string): number | undefined {
    return this.#library.token_to_id(token);
  }

  /** Writes at most `limit` ids to the scratch array and returns their number. */
  #encode(text: string, limit: number): number {
    let size = 0;
    let start = this.#parts.start(text, 0);
    while (start < text.length && size < limit) {
      const end = this.#parts.end(text, start);
      const ids = this.#part(text.slice(start, end), limit - size);
      const count = Math.min(ids.length, limit - size);
      if (size + count > this.#scratch.length) {
        const larger = new Int32Array(2 * (size + count));
        larger.set(this.#scratch);
        this.#scratch = larger;
      }
      for (let i = 0; i < count; i++) this.#scratch[size++] = ids[i]!;
      start = this.#parts.start(text, end);
    }
    return size;
  }

  #part(text: string, limit: number): readonly number[] {
    if (text.length > CACHE_WORD_CHARS) return this.#upTo(text, limit);
    let ids = this.#young.get(text);
    if (ids !== undefined) return ids;
    ids = this.#old.get(text) ?? this.#encodeAll(text);
    if (this.#young.size >= CACHE_WORDS) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(ownString(text), ids);
    return ids;
  }

  /**
   * Encodes a long text as far as needed: returns at least `limit` ids, or all.
   *
   * To avoid encoding the rest of a long text, a prefix is encoded, cut before a space where there is one.
   * The prefix grows fourfold until it has `limit` + `#slackTokens` tokens. Only tokens near the cut can
   * depend on the text behind it, and those are then not used.
   */
  #upTo(text: string, limit: number): readonly number[] {
    const wanted = limit + this.#slackTokens;
    for (let chars = 1024 + 8 * wanted; chars < text.length; chars *= 4) {
      const ids = this.#blocks(text.slice(0, cutBefore(text, chars)));
      if (ids.length >= wanted) return ids;
    }
    return this.#blocks(text);
  }

  #blocks(text: string): readonly number[] {
    if (this.#json.model.type !== 'Unigram' || text.length <= UNIGRAM_BLOCK_CHARS)
      return this.#encodeAll(text);
    const ids: number[] = [];
    for (let start = 0; start < text.length; ) {
      const end = cutBefore(text, Math.min(start + UNIGRAM_BLOCK_CHARS, text.length));
      for (const id of this.#encodeAll(text.slice(start, end))) ids.push(id);
      start = end;
    }
    return ids;
  }

  #encodeAll(text: string): readonly number[] {
    let ids: readonly (number | undefined)[];
    let tokens: readonly string[];
    try {
      ({ ids, tokens } = this.#library.encode(text, { add_special_tokens: false }));
    } catch (error) {
      throw this.#failure(`the tokenizer fails on ${JSON.stringify(text.slice(0, 40))}`, error);
    }
    if (ids.includes(undefined)) {
      throw this.#failure(`the tokenizer has no token for a part of ${JSON.stringify(text.slice(0, 40))}`);
    }
    const { model } = this.#json;
    if (model.type !== 'Unigram') return ids as readonly number[];
    // A run of unknown characters becomes one unknown token. The unknown token written out in the text is not
    // part of a run.
    const isUnknown = (i: number) => ids[i] === model.unk_id && tokens[i] !== model.vocab[model.unk_id]![0];
    return (ids as readonly number[]).filter((_, i) => !(i > 0 && isUnknown(i) && isUnknown(i - 1)));
  }

  #failure(message: string, cause?: unknown): UndriftError {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    return new DataError(message + reason, { file: this.#file, cause });
  }
}

/** Gives every Precompiled normalizer the rules of the file; the library has one set of rules built in. */
function useCharsmaps(normalizer: unknown, file: string): void {
  const part = normalizer as {
    charsmap?: string | null;
    normalizers?: unknown[];
    normalize?: unknown;
  } | null;
  for (const inner of part?.normalizers ?? []) useCharsmaps(inner, file);
  if (part?.charsmap === undefined) return;
  const map = part.charsmap === null ? undefined : new Charsmap(part.charsmap, file);
  part.normalize = (text: string) => map?.normalize(text) ?? text;
}

function findSpecialIds(
  json: TokenizerJson,
  ids: ReadonlyMap<string, number>,
  before: readonly number[],
  after: readonly number[],
): SpecialIds {
  const found: SpecialIds = {};
  for (const role of Object.keys(SPECIAL_NAMES) as (keyof SpecialIds)[]) {
    const name = SPECIAL_NAMES[role].find((each) => ids.has(each));
    if (name !== undefined) found[role] = ids.get(name)!;
  }
  // Tokens around a text have the roles of [CLS] and [SEP], whatever their names (RoBERTa: <s> and </s>).
  if (found.cls === undefined && before.length > 0) found.cls = before[0]!;
  if (found.sep === undefined && after.length > 0) found.sep = after[after.length - 1]!;
  if (json.model.type === 'Unigram') found.unk = json.model.unk_id;
  else if (json.model.unk_token && ids.has(json.model.unk_token)) found.unk = ids.get(json.model.unk_token)!;
  return found;
}
