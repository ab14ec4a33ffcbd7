import type { RowLists, TrainingExamples } from '../../data/examples.ts';
import { DataError } from '../../util/errors.ts';
import { count } from '../../util/format.ts';
import type { UsableExamples } from './example-kind.ts';

/**
 * Picks the queries of which a teacher has scored a positive and a negative, with their scored documents.
 *
 * @param file  path of the data, for error messages
 * @throws DataError where the data has no negatives or no scores, and where no query is left
 */
export function withScores(examples: TrainingExamples, file: string): UsableExamples {
  const { queryRows, positives, negatives } = examples;
  const help =
    'give each record a teacher\'s scores, positives first: {"query": …, "positive": …, "negative": […], "scores": […]}; ' +
    'undrift mine finds negatives';
  if (!negatives) throw new DataError('there are no negatives to distil from', { file, help });
  if (!positives.scores || !negatives.scores)
    throw new DataError("there are no teacher's scores to distil from", { file, help });
  const scored = (list: RowLists, i: number) =>
    list.scores!.subarray(list.offsets[i], list.offsets[i + 1]).some((score) => !Number.isNaN(score));
  const all = Array.from(queryRows, (_, i) => i);
  const picked = all.filter((i) => scored(positives, i) && scored(negatives, i));
  if (picked.length === 0) {
    throw new DataError('no query has a positive and a negative with scores', { file, help });
  }
  const positive = pickScored(positives, picked);
  const grades = Float32Array.from(positive.places, (place) => positives.grades[place]!);
  const left = queryRows.length - picked.length;
  return {
    examples: {
      queryRows: Int32Array.from(picked, (i) => queryRows[i]!),
      positives: { ...positive.lists, grades },
      negatives: pickScored(negatives, picked).lists,
    },
    ...(left > 0 && {
      note: `left out ${count(left)} queries without scores of a positive and a negative`,
    }),
  };
}

/** Picks the scored entries of some lists, and their places in the given lists. */
function pickScored(list: RowLists, picked: readonly number[]): { lists: RowLists; places: number[] } {
  const places: number[] = [];
  const offsets = new Uint32Array(picked.length + 1);
  for (const [at, i] of picked.entries()) {
    for (let place = list.offsets[i]!; place < list.offsets[i + 1]!; place++)
      if (!Number.isNaN(list.scores![place]!)) places.push(place);
    offsets[at + 1] = places.length;
  }
  const rows = Int32Array.from(places, (place) => list.rows[place]!);
  return {
    lists: { offsets, rows, scores: Float32Array.from(places, (place) => list.scores![place]!) },
    places,
  };
}
