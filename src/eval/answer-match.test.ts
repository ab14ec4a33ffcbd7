import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { matchAnswer, normalizeAnswer } from './answer-match.ts';

type Case = [predicted: string, right: string[], normalised: string, exactMatch: number, f1: number];
const golden: Case[] = JSON.parse(
  readFileSync(new URL('fixtures/answer_matches.json', import.meta.url), 'utf8'),
);

it('normalises and matches answers as the evaluation script of SQuAD does', () => {
  expect(golden.length).toBeGreaterThan(300);
  for (const [predicted, right, normalised, exactMatch, f1] of golden) {
    expect(normalizeAnswer(predicted)).toBe(normalised);
    const match = matchAnswer(predicted, right);
    expect(match.exactMatch, predicted).toBe(exactMatch);
    expect(match.f1, predicted).toBeCloseTo(f1, 12);
  }
});

it('takes the best of several right answers', () => {
  expect(matchAnswer('red cat', ['dog', 'the red cat'])).toEqual({ exactMatch: 1, f1: 1 });
  expect(matchAnswer('red cat', ['a red dog'])).toEqual({ exactMatch: 0, f1: 0.5 });
  expect(matchAnswer('red', [])).toEqual({ exactMatch: 0, f1: 0 });
});
