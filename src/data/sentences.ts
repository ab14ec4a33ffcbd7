/** Segmenters of Unicode (UAX 29). They find words where none are spaced, and sentences in every script. */
const SENTENCES = new Intl.Segmenter('en', { granularity: 'sentence' });
const WORDS = new Intl.Segmenter('en', { granularity: 'word' });

/** Matches text in scripts that put spaces between words. */
const SPACED =
  /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Common}\p{Script=Inherited}]*$/u;
/** Matches characters of Common that stand for words of scripts without spaces, such as the prolonged sound mark. */
const UNSPACED_COMMON = /[\u3000-\u30ff\uff00-\uffef]/;

/** Matches text that ends with an abbreviation before a name or a word, or with an initial: its full stop ends no sentence. */
const BEFORE_WORD =
  /(?:^|[\s("'“‘[])(?:[Mm]rs?|[Mm]s|[Dd]rs?|[Pp]rof|[Ss]t|[Rr]ev|[Hh]on|[Gg]en|[Cc]ol|[Cc]apt|[Ll]t|[Ss]gt|[Gg]ov|[Ss]en|[Rr]ep|vs|cf|ca|approx|e\.\s?g|i\.\s?e|z\.\s?B|d\.\s?h|u\.\s?a|bzw|vgl|[dzu]|[A-HJ-Z]|(?:[A-Z]\.\s?)+[A-Z])\.\s*$/u;
/** Matches text that ends with an abbreviation before a number. */
const BEFORE_NUMBER =
  /(?:^|[\s("'“‘[])(?:[Ff]igs?|[Ee]qs?|[Ss]ecs?|[Cc]h|[Cc]hap|[Nn]os?|[Vv]ols?|pp?|[Aa]rt|Nr|Abs|Abb|S|Z)\.\s*$/u;
/** Matches the number of an item, as in "1. First". */
const NUMBER_ALONE = /^\s*\d{1,3}\.\s*$/;

/**
 * Splits a paragraph into sentences, by the rules of Unicode. A full stop after an abbreviation (`Dr.`, `e.g.`, `Fig. 3`), an initial
 * or the number of an item ends no sentence. The pieces have no surrounding white space.
 */
export function sentencesOf(paragraph: string): string[] {
  const segments = Array.from(SENTENCES.segment(paragraph), ({ segment }) => segment);
  const sentences: string[] = [];
  let open = '';
  for (const [i, segment] of segments.entries()) {
    open += segment;
    const next = segments[i + 1] ?? '';
    const goesOn =
      BEFORE_WORD.test(open) ||
      NUMBER_ALONE.test(open) ||
      (BEFORE_NUMBER.test(open) && /^(\d|[VX]\b|[IVX]{2,}\b)/.test(next));
    if (goesOn && next !== '') continue;
    if (open.trim() !== '') sentences.push(open.trim());
    open = '';
  }
  return sentences;
}

/** Tells whether white space is enough to find the words of a text. */
const isSpaced = (text: string): boolean => SPACED.test(text) && !UNSPACED_COMMON.test(text);

const NO_SPACES = /\S+/g;

/** Length of the blocks in which words are looked for, in UTF-16 units. A segmenter copies its whole text at each step. */
const BLOCK = 2048;
/** Matches an end of words whatever surrounds it: white space or ideographic punctuation before a letter or a digit. */
const WORD_END = /[\s。！？、，；：」』）](?=[\p{L}\p{N}])/u;

/**
 * Words and what lies between them, by the rules of Unicode, in time linear in the text. Blocks end where words end; in more than
 * `BLOCK` units without such a place a word may be cut in two.
 */
function* wordSegments(text: string): Generator<{ segment: string; isWordLike?: boolean }> {
  for (let start = 0; start < text.length; ) {
    const end = blockEnd(text, start + BLOCK);
    yield* WORDS.segment(text.slice(start, end));
    start = end;
  }
}

/** First end of words from a place of a text on, or a place between two characters if there is none nearby. */
function blockEnd(text: string, from: number): number {
  if (from >= text.length) return text.length;
  const found = text.slice(from, from + BLOCK).search(WORD_END);
  if (found >= 0) return from + found + 1;
  const end = from + BLOCK;
  return /^[\uDC00-\uDFFF]/.test(text.charAt(end)) ? end + 1 : end;
}

/** Number of words of a text: runs of characters that are not space, or the words of Unicode in scripts without spaces. */
export function wordCount(text: string): number {
  let words = 0;
  if (isSpaced(text)) {
    for (NO_SPACES.lastIndex = 0; NO_SPACES.test(text); ) words++;
    return words;
  }
  for (const { isWordLike } of wordSegments(text)) if (isWordLike) words++;
  return words;
}

/** Cuts a text into pieces of at most this number of words. */
export function cutWords(text: string, words: number): string[] {
  const pieces: string[] = [];
  let [piece, count] = ['', 0];
  const parts: Iterable<{ segment: string; isWordLike?: boolean }> = isSpaced(text)
    ? text.split(/(?<=\s)(?=\S)/).map((segment) => ({ segment, isWordLike: true }))
    : wordSegments(text);
  for (const { segment, isWordLike } of parts) {
    if (isWordLike && count === words) {
      pieces.push(piece.trim());
      [piece, count] = ['', 0];
    }
    piece += segment;
    if (isWordLike) count++;
  }
  if (piece.trim() !== '') pieces.push(piece.trim());
  return pieces;
}
