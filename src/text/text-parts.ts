import type { AddedToken } from './added-tokens.ts';
import type { ComponentJson, TokenizerJson } from './tokenizer-json.ts';

/**
 * How a text splits into parts that can be tokenized one at a time. The ids of the parts, one after the
 * other, are the ids of the text.
 *
 * - `words`: split at spaces, tabs and line ends, which no token holds
 * - `signs`: as `words`, and also before and after every ASCII sign, each of which is a token by itself
 * - `spaces`: split before a space that follows a letter, digit or ASCII sign; the space belongs to the next
 *   part
 * - `whole`: no safe split is known for these components
 */
export type Separation = 'signs' | 'words' | 'spaces' | 'whole';

/**
 * Normalizers that see one word at a time: they add no space, remove no space and change no neighbouring
 * word.
 */
const LOCAL_NORMALIZERS = [
  'BertNormalizer',
  'Lowercase',
  'NFC',
  'NFD',
  'NFKC',
  'NFKD',
  'StripAccents',
  'Precompiled',
];

/** Tells how texts can be split for the components and the added tokens of a `tokenizer.json`. */
export function separationOf(json: TokenizerJson, added: readonly AddedToken[]): Separation {
  // A token that holds or swallows space spans parts.
  if (
    added.some(
      ({ text, json: token }) => /\s/.test(text) || /\s/.test(token.content) || token.rstrip === true,
    )
  ) {
    return 'whole';
  }
  if (
    !flat(json.normalizer, 'normalizers').every(
      (part) => LOCAL_NORMALIZERS.includes(part.type) || isRunOfSpaces(part),
    )
  ) {
    return 'whole';
  }
  const [first, ...rest] = flat(json.pre_tokenizer, 'pretokenizers');
  if (first === undefined) return 'whole';
  const restTypes = rest.map((part) => part.type);
  switch (first.type) {
    case 'BertPreTokenizer':
    case 'Whitespace':
    case 'WhitespaceSplit': {
      const isLocal = rest.every(
        (part) =>
          ['Punctuation', 'Digits', 'BertPreTokenizer', 'WhitespaceSplit'].includes(part.type) ||
          (part.type === 'Metaspace' && part.prepend_scheme !== 'first'),
      );
      if (!isLocal) return 'whole';
      return isBert(json) ? 'signs' : 'words';
    }
    case 'ByteLevel':
      return first.use_regex !== false && restTypes.length === 0 ? 'spaces' : 'whole';
    case 'Metaspace':
      return first.split !== false && restTypes.length === 0 ? 'spaces' : 'whole';
    default:
      return 'whole';
  }
}

/**
 * Tells whether the components are BERT's and every added token begins with an ASCII sign, by which it is
 * recognised in a text, without regard to what comes before.
 */
function isBert(json: TokenizerJson): boolean {
  return (
    (json.normalizer === null || json.normalizer.type === 'BertNormalizer') &&
    json.pre_tokenizer?.type === 'BertPreTokenizer' &&
    json.added_tokens.every((token) => token.single_word !== true && isAsciiSign(token.content.charCodeAt(0)))
  );
}

/** Printable ASCII that is neither a letter nor a digit nor the space. */
function isAsciiSign(unit: number): boolean {
  return (
    (unit > 0x20 && unit < 0x30) ||
    (unit > 0x39 && unit < 0x41) ||
    (unit > 0x5a && unit < 0x61) ||
    (unit > 0x7a && unit < 0x7f)
  );
}

/** Lists the components of a chain, with nested sequences expanded. */
export function flat(component: ComponentJson | null, list: string): ComponentJson[] {
  if (component === null) return [];
  return component.type === 'Sequence'
    ? (component[list] as ComponentJson[]).flatMap((part) => flat(part, list))
    : [component];
}

/** Recognises SentencePiece's "remove extra whitespace": {Regex: " {2,}"} replaced by one space or ▁. */
function isRunOfSpaces(component: ComponentJson): boolean {
  const regex = (component.pattern as { Regex?: unknown } | undefined)?.Regex;
  return (
    component.type === 'Replace' &&
    regex === ' {2,}' &&
    (component.content === ' ' || component.content === '▁')
  );
}

/** Cuts texts into the parts that the components of a tokenizer see one at a time. */
export class TextParts {
  /** How texts are split. */
  readonly separation: Separation;
  /** Whether spaces between parts belong to no part and are skipped. */
  readonly #skipsSpace: boolean;
  /** First characters of the added tokens. */
  readonly #addedStarts: ReadonlySet<number>;

  constructor(json: TokenizerJson, added: readonly AddedToken[]) {
    this.separation = separationOf(json, added);
    this.#skipsSpace = this.separation === 'words' || this.separation === 'signs';
    this.#addedStarts = new Set(json.added_tokens.map((token) => token.content.charCodeAt(0)));
  }

  /** Position at which the first part at or after `at` begins; the length of the text when there is none. */
  start(text: string, at: number): number {
    let start = at;
    if (this.#skipsSpace) while (start < text.length && isPlainSpace(text.charCodeAt(start))) start++;
    return start;
  }

  /** Position at which the part that begins at `start` ends, always greater than `start`. */
  end(text: string, start: number): number {
    switch (this.separation) {
      case 'whole':
        return text.length;
      case 'words':
        return wordEnd(text, start);
      case 'signs': {
        const first = text.charCodeAt(start);
        if (isAsciiSign(first)) return this.#addedStarts.has(first) ? wordEnd(text, start) : start + 1;
        let end = start + 1;
        while (end < text.length && !isPlainSpace(text.charCodeAt(end)) && !isAsciiSign(text.charCodeAt(end)))
          end++;
        return end;
      }
      case 'spaces': {
        let end = text.indexOf(' ', start + 1);
        while (end > 0 && !isSolid(text.charCodeAt(end - 1))) end = text.indexOf(' ', end + 1);
        return end < 0 ? text.length : end;
      }
    }
  }
}

function wordEnd(text: string, start: number): number {
  let end = start;
  while (end < text.length && !isPlainSpace(text.charCodeAt(end))) end++;
  return end;
}

function isPlainSpace(unit: number): boolean {
  return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d && unit !== 0x0b && unit !== 0x0c);
}

/** Tells whether no normalizer turns this UTF-16 unit into a space: a letter, a digit or an ASCII sign. */
function isSolid(unit: number): boolean {
  return unit < 0x80 ? unit > 0x20 && unit < 0x7f : /[\p{L}\p{N}]/u.test(String.fromCharCode(unit));
}

/**
 * Finds a position near `chars` at which to cut a text: before a space in the next 256 characters, else at
 * `chars` itself, but never inside a surrogate pair.
 */
export function cutBefore(text: string, chars: number): number {
  if (chars >= text.length) return text.length;
  for (let at = chars; at < Math.min(chars + 256, text.length); at++) {
    if (text.charCodeAt(at) === 0x20 && isSolid(text.charCodeAt(at - 1))) return at;
  }
  const isInsidePair = (text.charCodeAt(chars) & 0xfc00) === 0xdc00;
  return isInsidePair ? chars + 1 : chars;
}
