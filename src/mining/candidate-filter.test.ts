import { describe, expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { type CandidateRules, filterCandidates, REASONS, type Reason } from './candidate-filter.ts';

/**
 * A ranking to count on: documents 0 … 9, of which 1 and 4 are positives (scores 0.9 and 0.6), 2 is a copy of 1, 7 has no
 * text, and 6 is a copy of 5.
 */
const SCORES = [1, 0.9, 0.9, 0.7, 0.6, 0.58, 0.58, 0.5, 0.4, -0.2];
const reasons = new Map<number, Reason>([
  [1, 'positive'],
  [4, 'positive'],
  [2, 'duplicate'],
  [7, 'empty'],
]);
const facts = {
  positives: [1, 4],
  reasonOf: (row: number) => reasons.get(row),
  sameDocuments: (row: number) =>
    [
      [1, 2],
      [5, 6],
    ].find((group) => group.includes(row)) ?? [],
};

function filtered(rules: CandidateRules, scores = SCORES, positives: readonly number[] = facts.positives) {
  const removed = Object.fromEntries(REASONS.map((reason) => [reason, 0])) as Record<Reason, number>;
  const ranking = { rows: Int32Array.from(scores.keys()), scores };
  const kept = filterCandidates(ranking, { ...facts, positives }, rules, removed);
  const counts = Object.entries(removed).filter(([, count]) => count > 0);
  // Nothing is lost, and nothing counts twice.
  const looked = counts.reduce((sum, [, count]) => sum + count, kept.length);
  return { kept, removed: Object.fromEntries(counts), looked };
}

/** Documents that are rejected in any case. */
const ALWAYS = { positive: 2, duplicate: 1, empty: 1 };

describe('filterCandidates', () => {
  it.each<[string, CandidateRules, number[], Partial<Record<Reason, number>>]>([
    ['right answers, empty texts and repetitions are out', {}, [0, 3, 5, 8, 9], { ...ALWAYS, repeated: 1 }],
    // Ranks: 0 → document 0, 1 → 3, 2 → 5, 3 → 6, 4 → 8, 5 → 9.
    ['ranks from', { rankFrom: 2 }, [5, 8, 9], { ...ALWAYS, rank: 2, repeated: 1 }],
    ['ranks to', { rankTo: 3 }, [0, 3, 5], { positive: 2, duplicate: 1 }],
    ['both', { rankFrom: 1, rankTo: 2 }, [3], { positive: 1, duplicate: 1, rank: 1 }],
    [
      'a largest score, itself allowed',
      { maxScore: 0.58 },
      [5, 8, 9],
      { ...ALWAYS, maxScore: 2, repeated: 1 },
    ],
    [
      'a smallest score, itself allowed',
      { minScore: 0.4 },
      [0, 3, 5, 8],
      { ...ALWAYS, minScore: 1, repeated: 1 },
    ],
    // From the lower positive, 0.6.
    ['an absolute margin', { absoluteMargin: 0.1 }, [8, 9], { ...ALWAYS, absoluteMargin: 4 }],
    [
      'one of nothing: above the positive',
      { absoluteMargin: 0 },
      [5, 8, 9],
      { ...ALWAYS, absoluteMargin: 2, repeated: 1 },
    ],
    [
      'a relative margin: 0.6 − 0.02 · 0.6',
      { relativeMargin: 0.02 },
      [5, 8, 9],
      { ...ALWAYS, relativeMargin: 2, repeated: 1 },
    ],
    ['a larger one: 0.6 − 0.05 · 0.6', { relativeMargin: 0.05 }, [8, 9], { ...ALWAYS, relativeMargin: 4 }],
    ['one of all: what scores below nothing', { relativeMargin: 1 }, [9], { ...ALWAYS, relativeMargin: 5 }],
    [
      'everything, each under the first reason',
      { rankFrom: 1, maxScore: 0.65, minScore: 0, absoluteMargin: 0.01, relativeMargin: 0.05 },
      [8],
      { ...ALWAYS, rank: 1, maxScore: 1, minScore: 1, relativeMargin: 2 },
    ],
  ])('%s', (_, rules, kept, removed) => {
    const found = filtered(rules);
    expect(found.kept).toEqual(kept);
    expect(found.removed).toEqual(removed);
    if (rules.rankTo === undefined) expect(found.looked).toBe(SCORES.length);
  });

  it('measures a negative score of the positive by its size', () => {
    const scores = [0.1, -0.1, -0.1, -0.2, -0.5, -0.51, -0.55, -0.56, -0.6, -0.7];
    // s⁺ = −0.5: limit −0.5 − 0.1 · 0.5 = −0.55.
    expect(filtered({ relativeMargin: 0.1 }, scores).kept).toEqual([6, 8, 9]);
  });

  it('keeps what is exactly at the margin', () => {
    // Sums without rounding: 0.25 + 0.25 = 0.5 = s⁺, and 0.5 − 0.5 · 0.5 = 0.25.
    const scores = [1, 0.75, 0.5, 0.25, 0.125];
    expect(filtered({ absoluteMargin: 0.25 }, scores, [2]).kept).toEqual([3]);
    expect(filtered({ relativeMargin: 0.5 }, scores, [2]).kept).toEqual([3]);
    expect(filtered({ absoluteMargin: 0 }, [1, 1, 1, 1, 1], [1]).kept).toEqual([0, 3]);
  });

  it('accepts no candidate under a margin if the ranking does not reach the positive', () => {
    const all = { positive: 2, duplicate: 1, empty: 1 };
    for (const margin of [{ absoluteMargin: 0 }, { relativeMargin: 0 }]) {
      const found = filtered(margin, SCORES, [1, 4, 99]);
      expect(found.kept).toEqual([]);
      expect(found.removed).toEqual({ ...all, [Object.keys(margin)[0]!]: 6 });
    }
    expect(filtered({}, SCORES, [1, 4, 99]).kept.length).toBe(5);
  });

  it('returns nothing for an empty ranking', () => {
    expect(filtered({ absoluteMargin: 0.1 }, [])).toEqual({ kept: [], removed: {}, looked: 0 });
  });

  it.each([{ rankFrom: 5, rankTo: 5 }, { rankFrom: -1 }, { rankTo: 1.5 }, { rankFrom: 200 }])(
    'refuses %j',
    (rules) => {
      expect(() => filtered(rules)).toThrow(UsageError);
    },
  );
});
