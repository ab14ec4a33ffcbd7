import { DataError } from '../util/errors.ts';

/**
 * SentencePiece's compiled normalisation rules, as `tokenizer.json` holds them: a trie of the strings that are replaced (a double
 * array of 32-bit units) and, end to end, what replaces them.
 *
 *     base64:  u32 size of the trie | trie, u32[] | replacements, each UTF-8 and a zero byte
 *
 * A grapheme of less than six bytes is replaced as a whole by the rule of its shortest beginning that has one; where it has none, and
 * in longer graphemes, the characters are looked up one by one. That is what Hugging Face's library does, whose ids are the standard.
 */
export class Charsmap {
  readonly #trie: Uint32Array;
  readonly #replacements: Buffer;
  /** What ASCII characters become; undefined where they stay. */
  readonly #ascii: readonly (string | undefined)[];
  readonly #known = new Map<string, string | undefined>();

  /** @throws DataError for what is no such map */
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

  normalize(text: string): string {
    if (ASCII.test(text)) return text.replace(ANY, (char) => this.#ascii[char.charCodeAt(0)] ?? char);
    // In most texts of most scripts every character is a grapheme: telling that is much cheaper than finding graphemes.
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

  /** Replacement of the shortest beginning that has one. */
  #find(chunk: string): string | undefined {
    const trie = this.#trie;
    let at = offsetOf(trie[0]!);
    for (const byte of Buffer.from(chunk)) {
      if (byte === 0) return undefined;
      at ^= byte;
      const unit = trie[at];
      // The label of a unit that is a value has its highest bit set, and is no byte.
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

/** Characters whose replacement is remembered. */
const MOST_KNOWN = 1 << 16;

const ANY = /[\s\S]/gu;
const ASCII = /^[^\r\u0080-\uffff]*$/;
/**
 * All but: marks, joiners, parts of Hangul syllables, surrogates, and scripts that have some of these. What is left is Latin, Greek,
 * Cyrillic, kana, ideographs, whole Hangul syllables and common signs.
 */
const ALONE =
  /^[^\p{M}\r\u0080-\u009f\u00ad\u0530-\u1dff\u2000-\u200f\u2028-\u2fff\u302a-\u3040\u3097-\u309a\u3100-\u33ff\ua000-\uabff\ud7a4-\uff00\uff9e-\u{10ffff}]*$/u;
const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
