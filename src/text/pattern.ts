import { EmulatedRegExp, toRegExpDetails } from 'oniguruma-to-es';
import { DataError } from '../util/errors.ts';

/** Pattern of a Split or Replace: a string to find as it is, or a regular expression in the syntax of Oniguruma. */
export interface PatternJson {
  readonly String?: string;
  readonly Regex?: string;
}

/** Longest expression of a file, in characters. The longest of the well-known models has some 300. */
const LONGEST_REGEX = 10_000;

/**
 * Expressions that are known to take time linear in a text: those of well-known models, and characters or classes with at most one
 * repetition. All others run under a time limit; see {@link Pattern.isForeign}.
 */
const KNOWN = new Set([
  // GPT-2
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  // Llama 3, Qwen 2 and their relatives
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // GPT-4o
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  // BLOOM
  ' ?[^(\\s|[.,!?…。，、।۔،])]+',
]);
const ONE_CLASS =
  /^(?:(?: |\\s)\??)?(?:\\[dDsSwWnrt]|\\[pP]\{\w+\}|\[[^[\]\\&]+\]|[\p{L}\p{N} ▁])(?:[+*]|\{\d{1,3}(?:,\d{0,3})?\})?$/u;

/** Finds the matches of a pattern of a `tokenizer.json`, as Oniguruma finds them. */
export class Pattern {
  /** Whether the expression may take exponential time, so that its caller must limit the time. */
  readonly isForeign: boolean;
  readonly #text: string;
  readonly #regex: RegExp | undefined;

  /**
   * Compiles a pattern.
   *
   * @param at  place of the pattern in the file, for errors
   * @param file  name of the file, for errors
   * @throws DataError for a regular expression that is damaged, too long or has a construct without an equivalent in JavaScript
   */
  constructor(json: PatternJson, at: string, file: string) {
    const { Regex: source } = json;
    this.#text = json.String ?? '';
    this.isForeign = false;
    if (source === undefined) return;
    this.isForeign = !KNOWN.has(source) && !ONE_CLASS.test(source);
    const refuse = (reason: string, cause?: unknown) =>
      new DataError(`${at}: the regular expression ${JSON.stringify(source.slice(0, 80))} ${reason}`, {
        file,
        help: 'write it with constructs that Oniguruma and JavaScript share; ids that differ a little would be worse than none',
        cause,
      });
    if (source.length > LONGEST_REGEX) throw refuse(`has more than ${LONGEST_REGEX} characters`);
    const unlike = /\\(?:X|K|y|Y|O|N)/.exec(source.replaceAll('\\\\', ''));
    if (unlike) throw refuse(`has ${unlike[0]}, which is not supported`);
    try {
      this.#regex = translated(source);
    } catch (error) {
      throw refuse(`cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  }

  /**
   * Lists the matches in a text, [start, end, start, end, …], in UTF-16 units. An empty match directly behind another match does not
   * count.
   */
  matches(text: string): number[] {
    return this.#regex === undefined ? this.#occurrences(text) : this.#expressions(this.#regex, text);
  }

  #occurrences(text: string): number[] {
    const found: number[] = [];
    for (let at = text.indexOf(this.#text); at >= 0; at = text.indexOf(this.#text, at + this.#text.length)) {
      found.push(at, at + this.#text.length);
    }
    return found;
  }

  #expressions(regex: RegExp, text: string): number[] {
    const found: number[] = [];
    regex.lastIndex = 0;
    for (let match = regex.exec(text); match !== null; match = regex.exec(text)) {
      const end = match.index + match[0].length;
      if (isInsidePair(text, match.index)) {
        regex.lastIndex = match.index + 1; // V8 tries lookarounds there too
        continue;
      }
      if (match[0] === '') {
        if (found.at(-1) === end) {
          if (end >= text.length) break;
          regex.lastIndex = end + (text.codePointAt(end)! > 0xffff ? 2 : 1);
          continue;
        }
        regex.lastIndex = end;
      }
      found.push(match.index, end);
    }
    return found;
  }
}

/** Tells whether a position lies between the two units of one character. */
const isInsidePair = (text: string, at: number): boolean =>
  at > 0 && (text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800;

/** Translates an expression of Oniguruma. */
function translated(source: string): RegExp {
  const { pattern, flags, options } = toRegExpDetails(withExactWords(source), {
    global: true,
    target: 'ES2024',
  });
  // V8 of Node 20 does not repeat [^] under flag v.
  const exact = pattern.replaceAll(/\\.|\[\^\]/gs, (part) => (part === '[^]' ? '[\\s\\S]' : part));
  // Hidden groups do not matter here; \G inside an expression needs a strategy of the library.
  return options?.strategy ? new EmulatedRegExp(exact, flags, options) : new RegExp(exact, flags);
}

/** Characters that `\w` matches in Oniguruma outside a class, but not in one. */
const MORE_WORD = '\\u00B2\\u00B3\\u00B9\\u00BC-\\u00BE';
const ONIGURUMA_WORD = `[[:word:]${MORE_WORD}]`;

/** Writes `\w` and `\b` out as the classes that Oniguruma has for them. */
function withExactWords(source: string): string {
  const replaced: Record<string, readonly [outside: string, inside: string]> = {
    '\\w': [ONIGURUMA_WORD, '[:word:]'],
    '\\W': [`[^[:word:]${MORE_WORD}]`, '[:^word:]'],
    '\\b': [
      `(?:(?<=${ONIGURUMA_WORD})(?!${ONIGURUMA_WORD})|(?<!${ONIGURUMA_WORD})(?=${ONIGURUMA_WORD}))`,
      '\\b',
    ],
    '\\B': [
      `(?:(?<=${ONIGURUMA_WORD})(?=${ONIGURUMA_WORD})|(?<!${ONIGURUMA_WORD})(?!${ONIGURUMA_WORD}))`,
      '\\B',
    ],
  };
  let result = '';
  let depth = 0;
  for (let at = 0; at < source.length; ) {
    const char = source[at]!;
    const part =
      char === '\\'
        ? source.slice(at, at + 2)
        : (/^\[:\^?\w+:\]/.exec(source.slice(at, at + 16))?.[0] ?? char);
    if (part === '[') depth++;
    else if (part === ']' && depth > 0) depth--;
    result += replaced[part]?.[depth > 0 ? 1 : 0] ?? part;
    at += part.length;
  }
  return result;
}
