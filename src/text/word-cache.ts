import { ownString } from './own-string.ts';

/** Words in each of the two generations of the cache. */
const CACHE_WORDS = 1 << 16;
/** Longest word to remember, in UTF-16 units. */
export const CACHE_WORD_CHARS = 48;

/**
 * Remembers the ids of words, in two generations: when the young one is full it replaces the old one, so words not seen since
 * are forgotten.
 */
export class WordCache {
  #young = new Map<string, readonly number[]>();
  #old = new Map<string, readonly number[]>();

  /** Ids of a word, computed by `encode` unless they are known. The array must not be changed. */
  get(word: string, encode: (word: string) => readonly number[]): readonly number[] {
    if (word.length > CACHE_WORD_CHARS) return encode(word);
    let ids = this.#young.get(word);
    if (ids !== undefined) return ids;
    ids = this.#old.get(word) ?? encode(word);
    if (this.#young.size >= CACHE_WORDS) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(ownString(word), ids);
    return ids;
  }
}
