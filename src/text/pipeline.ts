import { DataError } from '../util/errors.ts';
import { withinTime } from '../util/time-limit.ts';
import { type AddedToken, AddedTokenFinder, addedTokens, isNormalized } from './added-tokens.ts';
import type { TokenModel } from './model-parts.ts';
import { type Limits, makeNormalizer, type Normalizer } from './normalizers.ts';
import { asksForStart, makePreTokenizer, type PreTokenizer } from './pre-tokenizers.ts';
import { tokenModel } from './token-model.ts';
import type { TokenizerJson } from './tokenizer-json.ts';
import { WordCache } from './word-cache.ts';

/**
 * Time that a text may take where the file has regular expressions of its own: this plus a second for each
 * million characters. Twice this at most: a program that was suspended meanwhile gets a second try.
 */
const TIME_LIMIT_MS = 3000;
/** Texts may grow to 64 times their length, or to a quarter of a million characters. */
const GROWTH = 64;
const GROWN_CHARS = 1 << 18;

/** Components of a `tokenizer.json` before the model. */
export type Components = Pick<TokenizerJson, 'normalizer' | 'pre_tokenizer'>;

/** Cuts texts into the pieces that the model sees, as the normalizer and the pre-tokenizer of a file say. */
export class Splitter {
  readonly normalizer: Normalizer | null;
  readonly preTokenize: PreTokenizer;
  /** Whether pieces must say whether they begin the text. */
  readonly asksForStart: boolean;
  readonly #limits: Limits = { mostChars: GROWN_CHARS, isForeign: false };
  readonly #file: string;
  readonly #timeLimitMs: number;

  constructor({ normalizer, pre_tokenizer }: Components, file: string, timeLimitMs = TIME_LIMIT_MS) {
    this.#file = file;
    this.#timeLimitMs = timeLimitMs;
    const place = { file, limits: this.#limits };
    this.normalizer = makeNormalizer(normalizer, { ...place, at: 'normalizer' });
    this.preTokenize = makePreTokenizer(pre_tokenizer, { ...place, at: 'pre_tokenizer' });
    this.asksForStart = asksForStart(pre_tokenizer);
  }

  normalize(text: string): string {
    this.#limits.mostChars = Math.max(GROWN_CHARS, GROWTH * text.length);
    return this.normalizer?.normalize(text) ?? text;
  }

  /**
   * Calls a function that normalises and cuts a text, under a time limit where the file has regular expressions that are not known to be fast.
   *
   * @throws DataError when it takes too long
   */
  limited<T>(text: string, run: () => T): T {
    if (!this.#limits.isForeign) return run();
    const limit = this.#timeLimitMs + Math.ceil(text.length / 1000);
    const done = withinTime(limit, run) ?? withinTime(limit, run);
    if (done) return done.result;
    throw new DataError(
      `the regular expressions of this file take more than ${limit / 1000} s for a text of ${text.length} characters`,
      {
        file: this.#file,
        help: 'an expression that repeats a repetition, such as (a+)+, takes exponential time: use a tokenizer without it',
      },
    );
  }
}

/** Stretch of a text, in UTF-16 units, in which special tokens are ordinary characters. */
export interface OrdinaryRange {
  readonly start: number;
  /** Position after the last unit. */
  readonly end: number;
}

/** Turns texts into token ids, without special tokens around them: added tokens, normalizer, pre-tokenizer, model. */
export class Pipeline {
  /** Tokens that are found before the model sees a text. */
  readonly added: readonly AddedToken[];
  readonly #splitter: Splitter;
  readonly #plain: AddedTokenFinder;
  readonly #normalized: AddedTokenFinder;
  #finders: { readonly plain: AddedTokenFinder; readonly normalized: AddedTokenFinder } | undefined;
  readonly #model: TokenModel;
  readonly #cache = new WordCache();

  constructor(json: TokenizerJson, file: string) {
    this.#splitter = new Splitter(json, file);
    this.added = this.#splitter.limited('', () =>
      addedTokens(json, (text) => this.#splitter.normalize(text)),
    );
    this.#plain = new AddedTokenFinder(this.added.filter(({ json: token }) => !isNormalized(token)));
    this.#normalized = new AddedTokenFinder(this.added.filter(({ json: token }) => isNormalized(token)));
    this.#model = tokenModel(json.model);
  }

  /** Finders for texts in which special tokens may be ordinary characters. */
  get #mixed(): { readonly plain: AddedTokenFinder; readonly normalized: AddedTokenFinder } {
    if (!this.#finders) {
      const special = this.added.filter(({ json: token }) => token.special === true);
      const others = this.added.filter(({ json: token }) => token.special !== true);
      this.#finders = {
        // Places in a text are known only before it is normalised, so all special tokens are looked for there.
        plain: new AddedTokenFinder([
          ...others.filter(({ json: token }) => !isNormalized(token)),
          ...special.map((token) => ({ ...token, text: token.json.content })),
        ]),
        normalized: new AddedTokenFinder(others.filter(({ json: token }) => isNormalized(token))),
      };
    }
    return this.#finders;
  }

  /**
   * Returns the ids of a text.
   *
   * @param cachesPieces  whether to remember the ids of each piece; a caller that remembers those of words itself has no use for it
   * @param ordinary  stretches in which special tokens are ordinary characters; default none
   * @throws UnknownPiece when a part of the text has no token
   */
  encode(text: string, cachesPieces: boolean, ordinary: readonly OrdinaryRange[] = []): number[] {
    return this.#splitter.limited(text, () => this.#encode(text, cachesPieces, ordinary));
  }

  #encode(text: string, cachesPieces: boolean, ordinary: readonly OrdinaryRange[]): number[] {
    const ids: number[] = [];
    const splitter = this.#splitter;
    const isMixed = ordinary.length > 0;
    const finders = isMixed ? this.#mixed : { plain: this.#plain, normalized: this.#normalized };
    const isText = ({ json }: AddedToken, place: OrdinaryRange) =>
      json.special === true && ordinary.some(({ start, end }) => start < place.end && place.start < end);
    const lead = splitter.asksForStart && text !== '' ? (text.codePointAt(0)! > 0xffff ? 2 : 1) : 0;
    for (const section of finders.plain.split({ text, lead }, isMixed ? isText : undefined)) {
      if (section.id !== undefined) {
        ids.push(section.id);
        continue;
      }
      const normalized = {
        text: splitter.normalize(section.text),
        lead: section.lead > 0 ? (splitter.normalizer?.lead(section.text, section.lead) ?? section.lead) : 0,
      };
      for (const part of finders.normalized.split(normalized)) {
        if (part.id !== undefined) ids.push(part.id);
        else for (const piece of splitter.preTokenize([part])) this.#piece(piece.text, ids, cachesPieces);
      }
    }
    return ids;
  }

  #piece(text: string, ids: number[], caches: boolean): void {
    if (!caches) {
      this.#model(text, ids);
      return;
    }
    for (const id of this.#cache.get(text, this.#encodePiece)) ids.push(id);
  }

  readonly #encodePiece = (text: string): number[] => {
    const ids: number[] = [];
    this.#model(text, ids);
    return ids;
  };
}
