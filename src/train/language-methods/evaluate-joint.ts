import type { RetrievalData } from '../../data/retrieval-data.ts';
import type { Run } from '../../eval/ranking.ts';
import type { HeldOutQuery } from '../../methods/contract/method.ts';
import type { HeldOutAnswer } from '../../methods/joint/held-out-answers.ts';
import { type RetrievalTask, retrievalTask, retrieve } from '../../retrieval/retrieve.ts';
import { type AnswerResults, answerMeans } from '../../rlm/answer-questions.ts';
import type { AnsweredQuestion } from '../../rlm/language-system.ts';
import { leakFilter } from '../../rlm/leak-filter.ts';
import { goldSource, randomSource } from '../../rlm/passage-source.ts';
import { passagesOf } from '../../rlm/passages.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { type NoteListener, option } from '../../util/option-name.ts';
import type { GivenOptions } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';
import { answeredQueries, heldOutDepth, heldOutQueries } from '../held-out-measure.ts';
import { JointRun, type READ_OPTIONS } from './joint-run.ts';

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
    read = 'found',
    readSeed,
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
  } & GivenOptions<typeof READ_OPTIONS> &
    ComputeOptions,
): Promise<AnswerResults> {
  const opened = await JointRun.open(run, { method, onProgress, onNote, ...compute });
  try {
    const { retriever, withoutPositives, readings } = opened;
    const measure = {
      queries: limitQueries ?? Math.max(1, data.queries.size),
      depth: readings.candidates,
      withoutPositives: withoutPositives && read !== 'gold',
    };
    const task = retrievalTask(data, split);
    const topK = heldOutDepth(data, split, measure);
    const found =
      read === 'found'
        ? await retrieve(retriever, data, task, { topK, onProgress, ...compute })
        : await controlRun(data, task, { read, readSeed, topK });
    const list = read === 'none' ? answeredQueries : heldOutQueries;
    const queries = list(data, { run: found, task }, measure);
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

/** Chooses documents for the queries of a task without a retriever, each with the score 0. */
async function controlRun(
  { corpus, queries }: RetrievalData,
  { queryRows, qrels }: RetrievalTask,
  {
    read,
    readSeed = 0,
    topK,
  }: { read: 'none' | 'random' | 'gold'; readSeed: number | undefined; topK: number },
): Promise<Run> {
  if (read === 'none') return new Map();
  const bestJudged = (id: string) => {
    const judged = [...(qrels.get(id) ?? [])].flatMap(([docId, grade]) => {
      const row = corpus.row(docId);
      return grade > 0 && row !== undefined ? [{ row, grade }] : [];
    });
    return judged.sort((a, b) => b.grade - a.grade)[0]?.row;
  };
  const asked = [...queryRows].map((row) => {
    const id = queries.id(row);
    return { id, text: queries.text(row), gold: bestJudged(id) };
  });
  const passages = passagesOf(corpus);
  const source =
    read === 'gold' ? goldSource(passages) : randomSource(passages, leakFilter(passages), { seed: readSeed });
  const found = await source.find(asked, Math.min(topK, corpus.size));
  return new Map(
    asked.map(({ id }, i) => [
      id,
      Array.from(found[i]!.rows, (row) => ({ docId: corpus.id(row), score: 0 })),
    ]),
  );
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
