import { stemmer } from 'stemmer';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import { TERM_OPTIONS } from './bm25-options.ts';

/** Settings of {@link bm25Terms}. */
export interface TermOptions extends GivenOptions<typeof TERM_OPTIONS> {}

/** The 33 stop words of Lucene's English analyzer. */
export const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a an and are as at be but by for if in into is it no not of on or such that the their then there these ' +
    'they this to was will with'
  ).split(' '),
);

/** Characters of scripts that write words without spaces, or join particles to them (Korean). */
const CJK =
  '\\p{sc=Han}\\p{sc=Hiragana}\\p{sc=Katakana}\\p{sc=Hangul}\\p{sc=Bopomofo}\\u30fc\\uff70\\uff9e\\uff9f';
/** Characters of scripts without spaces for which `Intl.Segmenter` has dictionaries. */
const SOUTH_EAST = '\\p{sc=Thai}\\p{sc=Lao}\\p{sc=Khmer}\\p{sc=Myanmar}';
/** Marks, and invisible characters inside of words: soft hyphen, (non-)joiners. */
const MARKS = '\\p{M}\\u00ad\\u200c\\u200d\\u2060';

const ASCII_WORD = /^[a-z]+$/;
const WORD = `[\\p{L}\\p{N}][\\p{L}\\p{N}${MARKS}]*`;
const WORDS = new RegExp(WORD, 'gu');
/** A word that begins at `lastIndex`. */
const WORD_HERE = new RegExp(WORD, 'uy');
const LETTER = /^[\p{L}\p{N}]$/u;
const MARK = new RegExp(`^[${MARKS}]$`, 'u');
const UNSPACED = new RegExp(`[${CJK}${SOUTH_EAST}]`, 'u');
/** Parts of a word by kind of script; a mark belongs to the letter before it. */
const PARTS = new RegExp(
  `(?:[${CJK}][${MARKS}]*)+|(?:[${SOUTH_EAST}][${MARKS}]*)+|[^${CJK}${SOUTH_EAST}]+`,
  'gu',
);
const IS_CJK = new RegExp(`^[${CJK}]`, 'u');
const IS_SOUTH_EAST = new RegExp(`^[${SOUTH_EAST}]`, 'u');
/**
 * Characters that do not distinguish words: the invisible ones, variation selectors, and the optional vowel
 * signs of Hebrew and Arabic with Arabic's tatweel.
 */
const IGNORED = new RegExp(
  '[\\u00ad\\u034f\\u200c\\u200d\\u2060\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}' +
    '\\u0591-\\u05bd\\u05bf\\u05c1\\u05c2\\u05c4\\u05c5\\u05c7\\u0640\\u064b-\\u0652\\u0670]',
  'gu',
);

let segmenter: Intl.Segmenter | undefined;

/**
 * Splits a text into the default index terms: its words in lower case.
 *
 * - A word is a run of letters and digits with the marks after them. Single characters are words.
 * - Equivalent spellings give equal terms: Unicode NFKC within words, full case folding, no variation
 *   selectors, no optional vowel signs of Hebrew and Arabic.
 * - Chinese, Japanese and Korean give every character and every pair of neighbouring characters of a word.
 *   No dictionary is needed, and each part of a longer word is found.
 * - Thai, Lao, Khmer and Myanmar are cut into words by `Intl.Segmenter`.
 *
 * English is neither stemmed nor freed of stop words, unless `stem` and `stopWords` say so. With k1 0.9 and b
 * 0.4 over "title text", these terms give nDCG@10 0.3055 on BEIR's NFCorpus (gain 2^score − 1). Dropping
 * single characters costs 0.001 there.
 *
 * @throws UsageError for an unknown option, and for English rules together with another language
 */
export function bm25Terms(text: string, options: TermOptions = {}): readonly string[] {
  return plain(options) ? words(text, false) : termsOf(options)(text);
}

const plain = (options: TermOptions): boolean => {
  for (const _ in options) return false;
  return true;
};

/**
 * Makes the function that splits texts into index terms by some options.
 *
 * @throws UsageError for an unknown option, and for English rules together with another language
 */
export function termsOf(options: TermOptions): (text: string) => readonly string[] {
  checkOptions(TERM_OPTIONS, options);
  const { language, stem, stopWords } = optionValues(TERM_OPTIONS, { ...options });
  const rule = stem ? 'stem' : stopWords ? 'stopWords' : undefined;
  if (rule !== undefined && language !== 'any' && language !== 'en') {
    throw new UsageError(`${option(rule)} knows English only, but ${option('language')} is ${language}`, {
      help: `leave out ${option(rule)}`,
    });
  }
  const turkic = language === 'tr' || language === 'az';
  if (rule === undefined) return (text) => words(text, turkic);
  const stems = new Map<string, string>();
  const stemOf = (word: string): string => {
    if (!ASCII_WORD.test(word)) return word;
    let known = stems.get(word);
    if (known === undefined) {
      known = stemmer(word);
      if (stems.size < KEPT_STEMS) stems.set(word, known);
    }
    return known;
  };
  return (text) => {
    const all = words(text, turkic);
    const kept = stopWords ? all.filter((word) => !STOP_WORDS.has(word)) : all;
    return stem ? kept.map(stemOf) : kept;
  };
}

/** Number of stems that are remembered, so that a word is stemmed once. */
const KEPT_STEMS = 1 << 18;

/** Longest word, in UTF-16 units. A longer one is cut, since it would overflow the stack of a regular expression. */
const LONGEST_WORD = 65_536;

/** Kinds of UTF-16 code units, as {@link words} reads a text in lower case. */
const UNKNOWN = 0;
const OUTSIDE = 1;
/** Letter or digit that is its own folded form beside any other such character. */
const PLAIN = 2;
/** Part of a word that needs folding, of a script without spaces, or of a pair of surrogates; or a mark. */
const OTHER = 3;

/** Kind of each UTF-16 code unit, found out at its first occurrence. */
const KINDS = new Uint8Array(1 << 16);

function kindOf(code: number): number {
  const character = String.fromCharCode(code);
  const surrogate = code >= 0xd800 && code < 0xe000;
  if (surrogate || MARK.test(character) || UNSPACED.test(character)) return OTHER;
  if (!LETTER.test(character)) return OUTSIDE;
  return fold(character, false) === character && fold(character, true) === character ? PLAIN : OTHER;
}

function words(text: string, turkic: boolean): readonly string[] {
  const lower = turkic ? text.toLocaleLowerCase('tr') : text.toLowerCase();
  const terms: string[] = [];
  const { length } = lower;
  for (let at = 0; at < length; at++) {
    let kind = kindAt(lower, at);
    if (kind === OUTSIDE) continue;
    const start = at;
    while (kind === PLAIN) kind = ++at < length ? kindAt(lower, at) : OUTSIDE;
    if (kind === OUTSIDE) terms.push(lower.slice(start, at));
    else {
      // The pattern finds the end of the word, or that no word begins here: a mark or a symbol of two units.
      const isLong = length - start > LONGEST_WORD;
      WORD_HERE.lastIndex = isLong ? 0 : start;
      const word = WORD_HERE.exec(isLong ? lower.slice(start, start + LONGEST_WORD) : lower)?.[0];
      if (word === undefined) continue;
      at = start + word.length;
      if (UNSPACED.test(word)) addParts(word, turkic, terms);
      else addFolded(word, turkic, terms);
    }
  }
  return terms;
}

function kindAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  const kind = KINDS[code]!;
  if (kind !== UNKNOWN) return kind;
  KINDS[code] = kindOf(code);
  return KINDS[code]!;
}

/** Adds the terms of a word that holds characters of scripts without spaces. */
function addParts(word: string, turkic: boolean, terms: string[]): void {
  for (const part of word.match(PARTS) ?? []) {
    if (IS_CJK.test(part)) addCharacters(fold(part, turkic), terms);
    else if (IS_SOUTH_EAST.test(part)) {
      segmenter ??= new Intl.Segmenter('th', { granularity: 'word' });
      // NFKC takes the vowel sign am apart, which the dictionaries know as one character.
      for (const { segment } of segmenter.segment(part.normalize('NFC'))) addFolded(segment, turkic, terms);
    } else addFolded(part, turkic, terms);
  }
}

/** Adds each character, with its marks, and each pair of neighbours. */
function addCharacters(part: string, terms: string[]): void {
  const characters = part.match(/[\p{L}\p{N}]\p{M}*/gu) ?? [];
  for (const [i, character] of characters.entries()) {
    terms.push(character);
    if (i + 1 < characters.length) terms.push(character + characters[i + 1]!);
  }
}

/** Adds a word in its folded form, which may be several words: ½ is 1⁄2. */
function addFolded(word: string, turkic: boolean, terms: string[]): void {
  const folded = fold(word, turkic);
  for (const term of folded.match(WORDS) ?? []) terms.push(term);
}

/** One form for all spellings of a word in lower case that Unicode holds for equivalent. */
function fold(word: string, turkic: boolean): string {
  const composed = word.normalize('NFKC').replace(IGNORED, '');
  if (turkic) return composed.toLocaleLowerCase('tr').normalize('NFC');
  // Upper case first: ß and SS, ς and Σ, ı and I become the same. The dot above of a lowered İ goes.
  const cased = composed
    .toUpperCase()
    .toLowerCase()
    .replace(/i\u0307/g, 'i')
    .replace(/ς/g, 'σ');
  return cased.normalize('NFC');
}
