import { ANSWERS_HELP, type AnswersOf } from '../../data/answers.ts';
import type { RowLists, TrainingExamples } from '../../data/examples.ts';
import { DataError } from '../../util/errors.ts';
import { plural } from '../../util/format.ts';
import type { UsableExamples } from './example-kind.ts';

/**
 * Picks the queries that have an answer in words.
 *
 * @param file  path of the data, for error messages
 * @throws DataError where the data has no answers, and where no query is left
 */
export function withAnswers(
  examples: TrainingExamples,
  answers: AnswersOf | undefined,
  file: string,
): UsableExamples {
  const { queryRows, positives, negatives } = examples;
  const picked = [...queryRows.keys()].filter((i) => (answers?.(queryRows[i]!) ?? []).length > 0);
  if (picked.length === 0) {
    throw new DataError('no training query has an answer in words, which the method needs', {
      file,
      help: ANSWERS_HELP,
    });
  }
  const left = queryRows.length - picked.length;
  if (left === 0) return { examples };
  const of = (list: RowLists) => picked.flatMap((i) => places(list, i));
  return {
    examples: {
      queryRows: Int32Array.from(picked, (i) => queryRows[i]!),
      positives: {
        ...pick(positives, picked),
        grades: Float32Array.from(of(positives), (place) => positives.grades[place]!),
      },
      ...(negatives && { negatives: pick(negatives, picked) }),
    },
    note: `left out ${plural(left, 'query', 'queries')} without an answer in words`,
  };
}

const places = ({ offsets }: RowLists, i: number): number[] =>
  Array.from({ length: offsets[i + 1]! - offsets[i]! }, (_, j) => offsets[i]! + j);

function pick(list: RowLists, picked: readonly number[]): RowLists {
  const kept = picked.map((i) => places(list, i));
  const offsets = new Uint32Array(picked.length + 1);
  for (const [i, own] of kept.entries()) offsets[i + 1] = offsets[i]! + own.length;
  const all = kept.flat();
  return {
    offsets,
    rows: Int32Array.from(all, (place) => list.rows[place]!),
    ...(list.scores && { scores: Float32Array.from(all, (place) => list.scores![place]!) }),
  };
}
