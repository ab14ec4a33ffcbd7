/**
 * @file Citations in the text of an answer.
 */

/** Part of an answer: text, or the number of a passage. */
export type AnswerSpan = { readonly text: string } | { readonly cited: number };

/**
 * Splits an answer at its citations, such as [2] or [1, 3].
 *
 * @param passages  number of passages that the answer may cite; other numbers stay text
 */
export function splitCitations(answer: string, passages: number): AnswerSpan[] {
  const spans: AnswerSpan[] = [];
  const add = (text: string) => text !== '' && spans.push({ text });
  let from = 0;
  for (const match of answer.matchAll(/\[(\d+(?:\s*,\s*\d+)*)\]/g)) {
    const numbers = match[1]!.split(',').map(Number);
    if (numbers.some((number) => number < 1 || number > passages)) continue;
    add(answer.slice(from, match.index));
    for (const cited of numbers) spans.push({ cited });
    from = match.index + match[0].length;
  }
  add(answer.slice(from));
  return spans;
}
