import { describe, expect, it } from 'vitest';
import type { TrainingExamples } from '../../data/examples.ts';
import { DataError } from '../../util/errors.ts';
import { withAnswers } from './with-answers.ts';

const examples: TrainingExamples = {
  queryRows: Int32Array.of(4, 5, 6),
  positives: {
    offsets: Uint32Array.of(0, 2, 3, 5),
    rows: Int32Array.of(10, 11, 12, 13, 14),
    grades: Float32Array.of(1, 2, 3, 4, 5),
  },
  negatives: { offsets: Uint32Array.of(0, 0, 1, 3), rows: Int32Array.of(20, 21, 22) },
};

describe('withAnswers', () => {
  it('keeps the queries with an answer, with their documents', () => {
    const { examples: kept, note } = withAnswers(examples, (row) => (row === 5 ? [] : ['x']), 'data');
    expect([...kept.queryRows]).toEqual([4, 6]);
    expect([...kept.positives.offsets]).toEqual([0, 2, 4]);
    expect([...kept.positives.rows]).toEqual([10, 11, 13, 14]);
    expect([...kept.positives.grades]).toEqual([1, 2, 4, 5]);
    expect([...kept.negatives!.offsets]).toEqual([0, 0, 2]);
    expect([...kept.negatives!.rows]).toEqual([21, 22]);
    expect(note).toBe('left out 1 query without an answer in words');
  });

  it('returns the examples as they are where all have one', () => {
    const found = withAnswers(examples, () => ['x'], 'data');
    expect(found).toEqual({ examples });
  });

  it.each([undefined, () => []])('refuses data without an answer', (answers) => {
    expect(() => withAnswers(examples, answers, 'data')).toThrow(DataError);
    expect(() => withAnswers(examples, answers, 'data')).toThrow(/data: no training query has an answer/);
  });
});
