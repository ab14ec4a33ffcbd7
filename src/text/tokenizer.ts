import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { type Decoder, makeDecoder } from './decoders.ts';
import { shortened } from './long-words.ts';
import { UnknownPiece } from './model-parts.ts';
import { type OrdinaryRange, Pipeline } from './pipeline.ts';
import { readTokenizerJson } from './read-tokenizer-json.ts';
import { cutBefore, TextParts } from './text-parts.ts';
import { checkTokenizerJson, modelIds, type TokenizerJson } from './tokenizer-json.ts';
import { CACHE_WORD_CHARS, WordCache } from './word-cache.ts';
import { wrapperIds } from './wrapper-ids.ts';

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

/**
 * Part of a text: characters in which special tokens count as such, or ordinary text, in which they are characters like others.
 */
export type TextPart = string | { readonly ordinary: string };

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

/** Tokens required between the last token used and the end of a text that was cut (see `#upTo`). */
const SLACK_TOKENS = 128;

/**
 * Converts text to token ids and back, as a `tokenizer.json` says (WordPiece, WordLevel, BPE or Unigram).
 *
 * The ids are those of Hugging Face's Rust library, which is the standard. A file with a component or a setting that Undrift does
 * not have is refused.
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
  readonly #pipeline: Pipeline;
  readonly #decoder: Decoder;
  readonly #parts: TextParts;
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #slackTokens: number;
  /** Token of each id. */
  readonly #tokens = new Map<number, string>();
  readonly #ids: ReadonlyMap<string, number>;
  /** Contents of the special tokens: those that `decode` leaves out. */
  readonly specialTokens: ReadonlySet<string>;
  readonly #specialTokenIds: ReadonlySet<number>;
  readonly #cache = new WordCache();
  #scratch = new Int32Array(1024);

  private constructor(json: TokenizerJson, file: string) {
    this.#json = json;
    this.#file = file;
    this.#pipeline = new Pipeline(json, file);
    this.#decoder = makeDecoder(json.decoder, file);
    this.#parts = new TextParts(json, this.#pipeline.added);
    const ids = modelIds(json.model);
    for (const [token, id] of ids) this.#tokens.set(id, token);
    for (const token of this.#pipeline.added) {
      ids.set(token.json.content, token.id);
      this.#tokens.set(token.id, token.text);
    }
    this.#ids = ids;
    const special = this.#pipeline.added.filter(({ json: token }) => token.special === true);
    this.specialTokens = new Set(special.map(({ json: token }) => token.content));
    this.#specialTokenIds = new Set(special.map(({ id }) => id));
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
  }

  /**
   * Reads a `tokenizer.json`.
   *
   * @throws DataError when the file is missing, damaged or of an unsupported kind
   */
  static fromFile(path: string): Tokenizer {
    return new Tokenizer(readTokenizerJson(path), path);
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

  /** End at which a long text is cut off: the right one, unless the file says otherwise. */
  get truncationSide(): 'left' | 'right' {
    return this.#json.truncation?.direction === 'Left' ? 'left' : 'right';
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
   * Encodes a text without special tokens around it and returns its first `maxTokens` ids (all by default). Special tokens that are
   * written in the text count as such, as Hugging Face's tokenizers do it by default. For texts of others see `encodeOrdinary`.
   *
   * @throws UsageError when `maxTokens` is negative
   */
  encodeRaw(text: string, maxTokens = Number.POSITIVE_INFINITY): Int32Array {
    if (!(maxTokens >= 0)) throw new UsageError(`maxTokens must be ≥ 0, found ${maxTokens}`);
    const count = this.#encode(text, maxTokens);
    return this.#scratch.slice(0, count);
  }

  /**
   * Encodes a text as `encodeRaw` does, but special tokens that are written in it are characters like others: `<|im_end|>` in a passage
   * does not end a turn of a chat. Equal to transformers with `split_special_tokens=True`.
   *
   * @throws UsageError when `maxTokens` is negative
   */
  encodeOrdinary(text: string, maxTokens = Number.POSITIVE_INFINITY): Int32Array {
    const ids = this.encodeRaw(text, maxTokens);
    return ids.some((id) => this.#specialTokenIds.has(id))
      ? this.encodeParts([{ ordinary: text }], maxTokens)
      : ids;
  }

  /**
   * Encodes the text that parts make together, without special tokens around it, and returns its first `maxTokens` ids (all by
   * default). Special tokens count as such where no character of them is of an ordinary part.
   *
   * @throws UsageError when `maxTokens` is negative
   */
  encodeParts(parts: readonly TextPart[], maxTokens = Number.POSITIVE_INFINITY): Int32Array {
    if (!(maxTokens >= 0)) throw new UsageError(`maxTokens must be ≥ 0, found ${maxTokens}`);
    let text = '';
    const ordinary: OrdinaryRange[] = [];
    for (const part of parts) {
      const start = text.length;
      text += typeof part === 'string' ? part : part.ordinary;
      if (typeof part !== 'string' && start < text.length) ordinary.push({ start, end: text.length });
    }
    if (ordinary.length === 0) return this.encodeRaw(text, maxTokens);
    const encode = (prefix: string) => this.#encodeAll(prefix, ordinary);
    const isLeft = this.truncationSide === 'left';
    const ids = isLeft ? encode(text) : this.#upTo(text, maxTokens, encode);
    return Int32Array.from(isLeft ? ids.slice(Math.max(0, ids.length - maxTokens)) : ids.slice(0, maxTokens));
  }

  /**
   * Decodes ids to text. Special tokens are left out unless `skipSpecialTokens` is false.
   *
   * @throws UsageError when an id is not in the vocabulary
   */
  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const tokens = Array.from(ids, (id) => {
      const token = this.#tokens.get(id);
      if (token === undefined) {
        throw new UsageError(`token id ${id} is not in the vocabulary of ${this.vocabSize}`);
      }
      return token;
    });
    const shown =
      options.skipSpecialTokens === false ? tokens : tokens.filter((token) => !this.specialTokens.has(token));
    return this.#decoder(shown).join('');
  }

  /** Tells whether an id is one of a token. Embedding tables may have more rows than there are tokens. */
  has(id: number): boolean {
    return this.#tokens.has(id);
  }

  /** Looks up the id of a token, for example `[MASK]`; undefined when the vocabulary lacks it. */
  tokenId(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** Writes at most `limit` ids to the scratch array and returns their number. */
  #encode(text: string, limit: number): number {
    return this.truncationSide === 'left' ? this.#encodeEnd(text, limit) : this.#encodeStart(text, limit);
  }

  #encodeStart(text: string, limit: number): number {
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

  /**
   * Keeps the last ids of a text instead of the first. As in `#upTo`, only as much of a long text is encoded as is needed, here from a
   * place further and further from its end.
   */
  #encodeEnd(text: string, limit: number): number {
    const wanted = limit + this.#slackTokens;
    let count = -1;
    for (let chars = 1024 + 8 * wanted; chars < text.length && count < wanted; chars *= 4) {
      count = this.#encodeStart(text.slice(cutBefore(text, text.length - chars)), Number.POSITIVE_INFINITY);
    }
    if (count < wanted) count = this.#encodeStart(text, Number.POSITIVE_INFINITY);
    if (count <= limit) return count;
    this.#scratch.copyWithin(0, count - limit, count);
    return limit;
  }

  #part(text: string, limit: number): readonly number[] {
    if (text.length > CACHE_WORD_CHARS)
      return this.#upTo(shortened(this.#json, this.#parts.separation, text), limit, this.#encodeWord);
    return this.#cache.get(text, this.#encodeWord);
  }

  /**
   * Encodes a long text as far as needed: returns at least `limit` ids, or all.
   *
   * To avoid encoding the rest of a long text, a prefix is encoded, cut before a space where there is one.
   * The prefix grows fourfold until it has `limit` + `#slackTokens` tokens. Only tokens near the cut can
   * depend on the text behind it, and those are then not used.
   */
  #upTo(text: string, limit: number, encode: (text: string) => readonly number[]): readonly number[] {
    const wanted = limit + this.#slackTokens;
    for (let chars = 1024 + 8 * wanted; chars < text.length; chars *= 4) {
      const ids = encode(text.slice(0, cutBefore(text, chars)));
      if (ids.length >= wanted) return ids;
    }
    return encode(text);
  }

  readonly #encodeWord = (text: string): readonly number[] => this.#encodeAll(text);

  #encodeAll(text: string, ordinary: readonly OrdinaryRange[] = []): readonly number[] {
    try {
      return this.#pipeline.encode(text, this.#parts.separation === 'whole' || ordinary.length > 0, ordinary);
    } catch (error) {
      if (error instanceof UnknownPiece) {
        const part = JSON.stringify(error.piece.slice(0, 40));
        throw new DataError(`the tokenizer has no token for ${part}, and none for unknown text`, {
          file: this.#file,
          help: 'take a tokenizer with an unknown token or with byte fallback, or leave such characters out of the texts',
          cause: error,
        });
      }
      if (error instanceof UndriftError) throw error;
      throw this.#failure(`the tokenizer fails on ${JSON.stringify(text.slice(0, 40))}`, error);
    }
  }

  #failure(message: string, cause?: unknown): UndriftError {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    return new DataError(message + reason, { file: this.#file, cause });
  }
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
  if (json.model.type === 'Unigram') {
    const { unk_id: unk } = json.model;
    if (unk !== undefined && unk !== null) found.unk = unk;
    else delete found.unk;
  } else if (json.model.unk_token && ids.has(json.model.unk_token))
    found.unk = ids.get(json.model.unk_token)!;
  return found;
}
