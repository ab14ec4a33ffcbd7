import type { RowLists, TrainingExamples } from '../../data/examples.ts';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import { loadCrossEncoder } from '../../models/cross-encoder/load-cross-encoder.ts';
import { PairTokens } from '../../models/cross-encoder/pair-tokens.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { DataError } from '../../util/errors.ts';
import { plural } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import type { Progress } from '../../util/progress.ts';

/** Examples with the scores of a teacher. */
export interface TaughtExamples {
  readonly examples: TrainingExamples;
  /** Pairs that the teacher has scored. */
  readonly pairs: number;
}

/**
 * Scores each query's positives and negatives by a cross-encoder. The scores are its logits; they replace those of the data.
 *
 * @param settings.teacher  the cross-encoder: a folder, a run, or a name on the hub
 * @param settings.data  path of the data, for error messages
 * @throws DataError where the data has no negatives
 */
export async function taughtExamples(
  data: RetrievalData,
  { teacher, data: file }: { readonly teacher: string; readonly data: string },
  {
    onProgress,
    onNote,
    ...compute
  }: ComputeOptions & {
    readonly onProgress?: ((progress: Progress) => void) | undefined;
    readonly onNote?: ((note: string) => void) | undefined;
  },
): Promise<TaughtExamples> {
  const { queryRows, positives, negatives } = data.examples('train');
  if (!negatives) {
    throw new DataError('there are no negatives to distil from', {
      file,
      help: `undrift mine finds some, which ${option('teacher')} then scores`,
    });
  }
  const crossEncoder = await loadCrossEncoder(teacher, { option: 'teacher', onProgress, onNote });
  try {
    const tokens = new PairTokens(crossEncoder, {
      query: (row) => data.queries.text(row),
      document: (row) => data.corpus.text(row),
    });
    const lists = [positives, negatives];
    const pairs = lists.flatMap((list) => pairsOf(queryRows, list));
    onNote?.(`the teacher scores ${plural(pairs.length, 'pair')}`);
    const logits = await crossEncoder.scoreTokens(pairs.length, (i) => tokens.pair(...pairs[i]!), {
      ...compute,
      onProgress: (progress) => onProgress?.({ ...progress, stage: 'teacher' }),
    });
    const split = positives.rows.length;
    return {
      examples: {
        queryRows,
        positives: { ...positives, scores: logits.slice(0, split) },
        negatives: { ...negatives, scores: logits.slice(split) },
      },
      pairs: pairs.length,
    };
  } finally {
    await crossEncoder.dispose();
  }
}

/** Query and document of each entry of some lists. */
function pairsOf(queryRows: Int32Array, { offsets, rows }: RowLists): (readonly [number, number])[] {
  return Array.from(queryRows).flatMap((query, i) =>
    Array.from(rows.subarray(offsets[i], offsets[i + 1]), (row) => [query, row] as const),
  );
}
