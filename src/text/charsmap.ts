import { DataError } from '../util/errors.ts';

/**
 * SentencePiece's compiled normalisation rules, as `tokenizer.json` stores them (`precompiled_charsmap`).
 *
 * The map holds a trie of the strings to replace (a double array of 32-bit units) and the replacements, end
 * to end:
 *
 *     base64:  u32 size of the trie in bytes | trie, u32[] | replacements, each UTF-8 and a zero byte
 *
 * A grapheme of fewer than six bytes is replaced as a whole, by the rule of its shortest prefix that has a
 * rule. If no prefix has a rule, or if the grapheme is longer, its characters are looked up one by one.
 * Hugging Face's library does the same, and its ids are the standard.
 */
export class Charsmap {
  readonly #trie: Uint32Array;
  readonly #replacements: Buffer;
  /** Replacement of each ASCII character; undefined where the character stays as it is. */
  readonly #ascii: readonly (string | undefined)[];
  readonly #known = new Map<string, string | undefined>();

  /**
   * Decodes a map.
   *
   * @param base64  value of `precompiled_charsmap`
   * @param file  name of the file, for errors
   * @throws DataError when the map is damaged
   */
  constructor(base64: string, file: string) {
    const bytes = Buffer.from(base64, 'base64');
    const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
    if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length) {
      throw new DataError('normalizer.precompiled_charsmap is damaged', {
        file,
        help: 'fetch the file again, or write it with Hugging Face’s tokenizers library',
      });
    }
    this.#trie = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
    this.#replacements = bytes.subarray(4 + size);
    this.#ascii = Array.from({ length: 128 }, (_, code) => this.#find(String.fromCharCode(code)));
  }

  /** Applies the rules to a text. */
  normalize(text: string): string {
    if (ASCII.test(text)) return text.replace(ANY, (char) => this.#ascii[char.charCodeAt(0)] ?? char);
    // In most scripts nearly every character is a grapheme by itself. Testing for that is much cheaper than
    // segmenting.
    if (ALONE.test(text)) return text.replace(ANY, (char) => this.#replacement(char) ?? char);
    let result = '';
    for (const { segment } of GRAPHEMES.segment(text)) {
      const whole = Buffer.byteLength(segment) < 6 ? this.#replacement(segment) : undefined;
      result += whole ?? segment.replace(ANY, (char) => this.#replacement(char) ?? char);
    }
    return result;
  }

  #replacement(chunk: string): string | undefined {
    let found = this.#known.get(chunk);
    if (found === undefined && !this.#known.has(chunk)) {
      found = this.#find(chunk);
      if (this.#known.size < MOST_KNOWN) this.#known.set(chunk, found);
    }
    return found;
  }

  /** Finds the replacement of the shortest prefix of `chunk` that has one. */
  #find(chunk: string): string | undefined {
    const trie = this.#trie;
    let at = offsetOf(trie[0]!);
    for (const byte of Buffer.from(chunk)) {
      if (byte === 0) return undefined;
      at ^= byte;
      const unit = trie[at];
      // A unit that holds a value has the highest bit of its label set, so its label never equals a byte.
      if (unit === undefined || (unit & 0x800000ff) !== byte) return undefined;
      at ^= offsetOf(unit);
      if ((unit & 0x100) !== 0) {
        const start = (trie[at] ?? 0) & 0x7fffffff;
        const end = this.#replacements.indexOf(0, start);
        return this.#replacements.toString('utf8', start, end < 0 ? undefined : end);
      }
    }
    return undefined;
  }
}

/** Maximum number of characters and graphemes in the cache of replacements. */
const MOST_KNOWN = 1 << 16;

const ANY = /[\s\S]/gu;
const ASCII = /^[^\r\u0080-\uffff]*$/;
/**
 * Matches texts in which every character is a grapheme by itself.
 *
 * The class excludes marks, joiners, parts of Hangul syllables, surrogates, and scripts that use any of
 * these. It leaves Latin, Greek, Cyrillic, kana, ideographs, whole Hangul syllables and common signs.
 */
const ALONE =
  /^[^\p{M}\r\u0080-\u009f\u00ad\u0530-\u1dff\u2000-\u200f\u2028-\u2fff\u302a-\u3040\u3097-\u309a\u3100-\u33ff\ua000-\uabff\ud7a4-\uff00\uff9e-\u{10ffff}]*$/u;
const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
