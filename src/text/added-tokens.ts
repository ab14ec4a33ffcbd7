import type { Piece } from './pre-tokenizers.ts';
import type { AddedTokenJson, TokenizerJson } from './tokenizer-json.ts';
import { modelIds } from './tokenizer-json.ts';
import { Trie } from './trie.ts';
import { SPACE, WORD } from './unicode-classes.ts';

/** Token of a file that is found in texts before the model sees them. */
export interface AddedToken {
  readonly id: number;
  /** Text by which it is found: the content, normalised if the token asks for it. */
  readonly text: string;
  readonly json: AddedTokenJson;
}

/**
 * Lists the added tokens with the ids that Hugging Face's library gives them. A token of the model keeps its id; others
 * follow in the order of the file, whatever ids the file says.
 */
export function addedTokens(json: TokenizerJson, normalize: (text: string) => string): AddedToken[] {
  const ids = modelIds(json.model);
  let next = ids.size;
  const byId = new Map<number, AddedToken>();
  for (const token of json.added_tokens) {
    let id = ids.get(token.content);
    if (id === undefined) {
      id = next++;
      ids.set(token.content, id);
    }
    const text = isNormalized(token) ? normalize(token.content) : token.content;
    byId.set(id, { id, text, json: token });
  }
  return [...byId.values()];
}

/** Tells whether a token is searched in normalised texts; without a word of the file, special tokens are not. */
export const isNormalized = (token: AddedTokenJson): boolean => token.normalized ?? token.special !== true;

/** Makes the entries of special tokens, whose ids are their places: they are found in texts before normalisation, and as they stand. */
export const specialTokenEntries = (tokens: readonly string[]): AddedTokenJson[] =>
  tokens.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));

/** Part of a text: an added token, or text between added tokens. */
export type Section = Piece & { readonly id?: number };

const WORD_START = new RegExp(`^${WORD}`, 'v');
const WORD_END = new RegExp(`${WORD}$`, 'v');
const isSpace = new RegExp(`^${SPACE}$`, 'u');

/** Finds added tokens in texts: at every place the longest one, from left to right. */
export class AddedTokenFinder {
  readonly #trie = new Trie();
  readonly #tokens: readonly AddedToken[];
  /** Whether a UTF-16 unit begins a token. */
  readonly #starts = new Uint8Array(0x10000);

  constructor(tokens: readonly AddedToken[]) {
    this.#tokens = tokens.filter(({ text }) => text !== '');
    for (const [i, { text }] of this.#tokens.entries()) {
      this.#trie.add(text, i);
      this.#starts[text.charCodeAt(0)] = 1;
    }
  }

  /**
   * Cuts a piece at the tokens in it.
   *
   * @param isText  tells whether a token that was found from `start` to `end` is ordinary text
   */
  split(
    piece: Piece,
    isText?: (token: AddedToken, place: { readonly start: number; readonly end: number }) => boolean,
  ): Section[] {
    const { text, lead } = piece;
    if (text === '') return [];
    if (this.#tokens.length === 0) return [piece];
    const sections: Section[] = [];
    let done = 0;
    const between = (start: number, end: number) => ({
      text: text.slice(start, end),
      lead: Math.max(0, Math.min(end, lead) - start),
    });
    for (let at = 0; at < text.length; ) {
      const found = this.#starts[text.charCodeAt(at)] === 1 ? this.#longestAt(text, at) : undefined;
      if (found === undefined) {
        at++;
        continue;
      }
      let start = at;
      let end = at + found.text.length;
      at = end;
      if (isText?.(found, { start, end })) continue;
      if (found.json.single_word === true && !standsAlone(text, start, end)) continue;
      if (found.json.lstrip === true) {
        while (start > 0 && isSpace.test(text[start - 1]!)) start--;
        // The token before may have taken the space already.
        start = Math.max(start, done);
      }
      if (found.json.rstrip === true) while (end < text.length && isSpace.test(text[end]!)) end++;
      if (done < start) sections.push(between(done, start));
      if (start < end) sections.push({ ...between(start, end), id: found.id });
      done = end;
    }
    if (done === 0 && sections.length === 0) return [piece];
    if (done < text.length) sections.push(between(done, text.length));
    return sections;
  }

  #longestAt(text: string, at: number): AddedToken | undefined {
    let node = 0;
    let best = -1;
    for (let i = at; i < text.length; i++) {
      node = this.#trie.next(node, text.charCodeAt(i));
      if (node === 0) break;
      const value = this.#trie.value(node);
      if (value >= 0) best = value;
    }
    return this.#tokens[best];
  }
}

/** Tells whether no letter or digit touches a part of a text. */
function standsAlone(text: string, start: number, end: number): boolean {
  const before = text.slice(Math.max(0, start - 2), start);
  return !WORD_END.test(before) && !WORD_START.test(text.slice(end, end + 2));
}
