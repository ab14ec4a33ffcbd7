import type { RetrievalData } from '../../data/retrieval-data.ts';
import type { HeldOutQuery } from '../../methods/contract/method.ts';
import type { HeldOutAnswer } from '../../methods/joint/held-out-answers.ts';
import { retrievalTask, retrieve } from '../../retrieval/retrieve.ts';
import { type AnswerResults, answerMeans } from '../../rlm/answer-questions.ts';
import type { AnsweredQuestion } from '../../rlm/language-system.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { type NoteListener, option } from '../../util/option-name.ts';
import type { Progress } from '../../util/progress.ts';
import { heldOutDepth, heldOutQueries } from '../held-out-measure.ts';
import { JointRun } from './joint-run.ts';

/**
 * Answers the questions of a split with the retriever and the reader of a run, as its evaluations do: by the settings of the run, from the
 * documents of `data`.
 *
 * @param run  folder of the run, which has `model/` and `reader/`
 * @param options.method  method that the run must have
 * @returns  measures over the questions, and of each
 * @throws UsageError for a folder without such a run, and where no question of the split has an answer
 */
export async function evaluateJointRun(
  run: string,
  data: RetrievalData,
  {
    method,
    split,
    limitQueries,
    answerTokens,
    onProgress,
    onNote,
    ...compute
  }: {
    readonly method: string;
    readonly split: string;
    readonly limitQueries?: number | undefined;
    /** Longest answer, in tokens; 0 for none. Default: that of the run. */
    readonly answerTokens?: number | undefined;
    readonly onProgress?: ((progress: Progress) => void) | undefined;
    readonly onNote?: NoteListener | undefined;
  } & ComputeOptions,
): Promise<AnswerResults> {
  const opened = await JointRun.open(run, { method, onProgress, onNote, ...compute });
  try {
    const { retriever, withoutPositives, readings } = opened;
    const measure = {
      queries: limitQueries ?? Math.max(1, data.queries.size),
      depth: readings.candidates,
      withoutPositives,
    };
    const task = retrievalTask(data, split);
    const topK = heldOutDepth(data, split, measure);
    const found = await retrieve(retriever, data, task, { topK, onProgress, ...compute });
    const queries = heldOutQueries(data, { run: found, task }, measure);
    if (queries.length === 0) {
      throw new UsageError(`no question of the split "${split}" has an answer and a document to read`, {
        help: `choose another ${option('split')}`,
      });
    }
    const questions = answeredQuestions(queries, await opened.answer(queries, answerTokens), opened.depth);
    return { ...answerMeans(questions), questions };
  } finally {
    await opened.dispose();
  }
}

/**
 * Reports answers as those of other systems.
 *
 * @param depth  number of documents that are read for a query
 */
export const answeredQuestions = (
  queries: readonly Pick<HeldOutQuery, 'id' | 'documents'>[],
  answers: readonly HeldOutAnswer[],
  depth: number,
): AnsweredQuestion[] =>
  answers.map(({ logLikelihood, ...others }, i) => ({
    id: queries[i]!.id,
    nats: -logLikelihood,
    ...others,
    passages: queries[i]!.documents.slice(0, depth).map(({ row }) => row),
  }));
