/** Share of the letters of some texts by script, the largest share first. Shares below 0.01 are left out. */
export type ScriptShares = Readonly<Record<string, number>>;

/** Smallest share of a script that is reported. */
const LEAST_SHARE = 0.01;

/** Longest part of a text that is measured, in characters. Longer texts are cut before they reach a model. */
const MEASURED_CHARACTERS = 1_000_000;

const IDEOGRAPH = '\\p{Script=Han}';

/** Matches one piece: a Chinese character, a run of other letters, marks and digits, or one other character. */
const PIECE = new RegExp(
  `${IDEOGRAPH}|[[\\p{L}\\p{M}\\p{N}]--${IDEOGRAPH}]+|[^\\s\\p{L}\\p{M}\\p{N}\\p{C}]`,
  'gv',
);

/**
 * Counts the pieces of a text: words, punctuation marks, and Chinese characters. The words of BERT's pre-tokenizer are pieces, and
 * a tokenizer of words makes one token or more of each. Scripts without spaces other than Chinese have more tokens than pieces.
 * Of a text of more than a million characters, the first million are counted.
 */
export const countPieces = (text: string): number =>
  text.slice(0, MEASURED_CHARACTERS).match(PIECE)?.length ?? 0;

/** Scripts that are told apart. Letters of all others are counted as `other`. */
const SCRIPTS = [
  'Latin',
  'Han',
  'Hiragana',
  'Katakana',
  'Hangul',
  'Cyrillic',
  'Greek',
  'Arabic',
  'Hebrew',
  'Devanagari',
  'Bengali',
  'Tamil',
  'Thai',
  'Lao',
  'Khmer',
  'Myanmar',
] as const;

const PATTERNS = SCRIPTS.map((name) => [name, new RegExp(`\\p{Script=${name}}`, 'gu')] as const);

/** Measures how many of the letters of some texts belong to which script. */
export function scriptShares(texts: Iterable<string>): ScriptShares {
  const counts = new Map<string, number>();
  let letters = 0;
  for (const whole of texts) {
    const text = whole.slice(0, MEASURED_CHARACTERS);
    const all = text.match(/\p{L}/gu)?.length ?? 0;
    letters += all;
    let known = 0;
    for (const [name, pattern] of PATTERNS) {
      if (known >= all) break;
      const found = text.match(pattern)?.length ?? 0;
      counts.set(name, (counts.get(name) ?? 0) + found);
      known += found;
    }
    counts.set('other', (counts.get('other') ?? 0) + Math.max(0, all - known));
  }
  const shares = [...counts]
    .map(([name, found]) => [name, Number((found / Math.max(1, letters)).toFixed(2))] as const)
    .filter(([, share]) => share >= LEAST_SHARE)
    .sort(([, a], [, b]) => b - a);
  return Object.fromEntries(shares);
}
