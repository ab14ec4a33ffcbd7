/** Matches between a predicted answer and those that are known to be right. */
export interface AnswerMatch {
  /** 1 if the prediction equals a right answer after normalisation, else 0. */
  readonly exactMatch: number;
  /** Largest F1 of the words in common with a right answer, in [0, 1]. */
  readonly f1: number;
}

/** Punctuation of ASCII, which the script of SQuAD removes. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
/** Matches articles that are words of their own, with letters of all scripts as parts of words. */
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

/** Normalises an answer as the evaluation script of SQuAD does: lower case, no punctuation, no articles, single spaces. */
export const normalizeAnswer = (text: string): string =>
  wordsOf(text.toLowerCase().replace(PUNCTUATION, '').replace(ARTICLES, ' ')).join(' ');

/**
 * Compares a predicted answer with the right ones, as the evaluation script of SQuAD does. The best match over the right answers counts.
 * An answer without a word after normalisation matches only another one.
 *
 * @paper Rajpurkar et al. 2016: "SQuAD: 100,000+ Questions for Machine Comprehension of Text".
 */
export function matchAnswer(predicted: string, right: readonly string[]): AnswerMatch {
  const own = normalizeAnswer(predicted);
  let [exactMatch, f1] = [0, 0];
  for (const answer of right.map(normalizeAnswer)) {
    exactMatch = Math.max(exactMatch, own === answer ? 1 : 0);
    f1 = Math.max(f1, overlap(wordsOf(own), wordsOf(answer)));
  }
  return { exactMatch, f1 };
}

const wordsOf = (text: string): string[] => text.split(/[\s\u0085]+/).filter((word) => word !== '');

/** Computes F1 of two bags of words. */
function overlap(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return a.length === b.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of b) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of a) {
    const count = left.get(word) ?? 0;
    if (count > 0) common++;
    left.set(word, count - 1);
  }
  return (2 * common) / (a.length + b.length);
}
