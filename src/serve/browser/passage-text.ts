/**
 * @file Passages of the list of results as text: the words of a query in them, and the part of a long one that is shown.
 */

/** Part of a text, and whether it is a word of the query. */
export interface TextPart {
  readonly text: string;
  readonly isMatch: boolean;
}

/** Scripts that are written without spaces between words. */
const UNSPACED =
  /^[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u;
/** English words that are in nearly every passage. They are marked only in a query that has no others. */
const COMMON = new Set(
  (
    'a about all also an and any are as at be been but by can could did do does for from had has have he her his how i if in into is ' +
    'it its me more my no not of on or our she so some that the their them there these they this to was we were what when where which ' +
    'who whom whose why will with would you your'
  ).split(' '),
);
/** Letters that may follow a word of the query, as an ending. */
const ENDING = 3;

/** Finds the words of a query that are worth marking, in lower case. Runs of Han, Kana or Thai become pairs of letters. */
export function queryWords(query: string): string[] {
  const words = (query.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? []).flatMap((word) =>
    UNSPACED.test(word) ? pairsOf(word) : [word],
  );
  const telling = words.filter((word) => !COMMON.has(word));
  return [...new Set(telling.length > 0 ? telling : words)];
}

function pairsOf(word: string): string[] {
  const letters = [...word];
  return letters.length < 3 ? [word] : letters.slice(1).map((letter, i) => letters[i]! + letter);
}

/**
 * Splits a text at the words of a query. A word of four letters or more also matches with an ending of up to three letters, so that
 * "library" does not, but "train" does find "trained".
 */
export function markWords(text: string, words: readonly string[]): TextPart[] {
  if (words.length === 0 || text === '') return text === '' ? [] : [{ text, isMatch: false }];
  const parts: TextPart[] = [];
  let from = 0;
  for (const { start, end } of matchesOf(text, words)) {
    if (start > from) parts.push({ text: text.slice(from, start), isMatch: false });
    parts.push({ text: text.slice(start, end), isMatch: true });
    from = end;
  }
  if (from < text.length) parts.push({ text: text.slice(from), isMatch: false });
  return parts;
}

/** Finds the matches of words in a text, in order. Overlapping pairs of letters become one. */
function matchesOf(text: string, words: readonly string[]): { start: number; end: number }[] {
  const spaced = words
    .filter((word) => !UNSPACED.test(word))
    .map((word) => `${word}${[...word].length >= 4 ? `\\p{L}{0,${ENDING}}` : ''}`);
  const found: { start: number; end: number }[] = [];
  if (spaced.length > 0) {
    const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${spaced.join('|')})(?![\\p{L}\\p{N}])`, 'giu');
    for (const { 0: match, index } of text.matchAll(pattern)) {
      found.push({ start: index, end: index + match.length });
    }
  }
  for (const word of words.filter((each) => UNSPACED.test(each))) {
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
      found.push({ start: at, end: at + word.length });
    }
  }
  const merged: { start: number; end: number }[] = [];
  for (const match of found.sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last && match.start <= last.end) last.end = Math.max(last.end, match.end);
    else merged.push(match);
  }
  return merged;
}

/**
 * Cuts a long text to the part that has most different words of a query, at spaces where there are any.
 *
 * @param length  characters to keep, about
 */
export function excerptOf(text: string, words: readonly string[], length = 320): string {
  if (text.length <= length * 1.25) return text;
  const places: { at: number; word: string }[] = [];
  let at = 0;
  for (const { text: part, isMatch } of markWords(text, words)) {
    if (isMatch) places.push({ at, word: part.toLowerCase().slice(0, 4) });
    at += part.length;
  }
  let best = { from: 0, different: -1 };
  for (const [i, { at: from }] of places.entries()) {
    const seen = new Set<string>();
    for (let j = i; j < places.length && places[j]!.at < from + length * 0.8; j++) seen.add(places[j]!.word);
    if (seen.size > best.different) best = { from, different: seen.size };
  }
  const start = startNear(text, Math.min(best.from - length * 0.15, text.length - length));
  const end = endNear(text, start + length);
  return `${start > 0 ? '… ' : ''}${text.slice(start, end).trim()}${end < text.length ? ' …' : ''}`;
}

/** Finds the beginning of a word at or before a position. */
function startNear(text: string, position: number): number {
  const at = Math.max(0, Math.round(position));
  if (at === 0) return 0;
  const space = text.lastIndexOf(' ', at);
  return wholeLetter(text, space >= 0 && at - space < 40 ? space + 1 : at);
}

/** Finds the end of a word at or before a position. */
function endNear(text: string, position: number): number {
  if (position >= text.length) return text.length;
  const space = text.lastIndexOf(' ', position);
  return wholeLetter(text, space >= 0 && position - space < 40 ? space : position);
}

/** Moves a position out of the middle of a surrogate pair. */
const wholeLetter = (text: string, at: number): number =>
  /[\uDC00-\uDFFF]/.test(text[at] ?? '') ? at - 1 : at;
