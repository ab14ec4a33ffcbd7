import { loadData } from '../data/load.ts';
import type { TASK_OPTIONS } from '../rlm/evaluation-task.ts';
import { evaluateJointRun } from '../train/language-methods/evaluate-joint.ts';
import type { READ_OPTIONS } from '../train/language-methods/joint-run.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { GivenOptions, GivenValues } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { questionsResult } from './lm-eval-questions.ts';
import { readOptions, showNotes, showProgress } from './model-source.ts';
import { computeOptions } from './shared-options.ts';

/** Options of `undrift lm eval` that apply to the retriever and reader of a run. All others are settings of the run. */
const TAKEN = [
  ...['model', 'data', 'method', 'split', 'limitQueries', 'answerTokens', 'task', 'documentFile'],
  ...['read', 'readSeed'],
];
const READING = ['columns', 'skipBadRows', 'device', 'threads'];

/** Answers the questions of a data set with the retriever and the reader of a run, for `undrift lm eval`. */
export async function evaluateJoint(
  options: Pick<GivenOptions<typeof TASK_OPTIONS>, 'split' | 'limitQueries' | 'answerTokens' | 'task'> &
    GivenOptions<typeof READ_OPTIONS> & {
      readonly model: string;
      readonly data: string;
      readonly method: string;
      readonly documentFile?: string | undefined;
      readonly device: string;
      readonly threads: number | undefined;
    },
  io: Io,
): Promise<CommandResult> {
  const startMs = performance.now();
  const {
    model,
    data: path,
    method,
    split = 'test',
    limitQueries,
    answerTokens,
    task,
    documentFile,
    read,
    readSeed,
  } = options;
  if (readSeed !== undefined && read !== 'random') {
    throw new UsageError(`${option('readSeed')} has no meaning without ${option('read', 'random')}`);
  }
  const given = options as GivenValues;
  const foreign = Object.keys(given).find(
    (name) => given[name] !== undefined && ![...TAKEN, ...READING].includes(name),
  );
  if (foreign !== undefined || task === 'text') {
    const named = foreign === undefined ? option('task', 'text') : option(foreign);
    throw new UsageError(`${option('method', method)} takes no ${named}`, {
      help: 'it answers questions by the settings of the run; leave the option out',
    });
  }
  const data = await loadData(path, { answers: true, splits: [split], ...readOptions(io, given) });
  const found = await evaluateJointRun(model, data, {
    ...{ method, split, limitQueries, answerTokens, read, readSeed },
    ...{ onProgress: showProgress(io), onNote: showNotes(io) },
    ...computeOptions(options),
  });
  io.finishProgress();
  const { questions, ...metrics } = found;
  return await questionsResult({ ...metrics }, questions, {
    ...{
      file: documentFile,
      startMs,
      documents: data.corpus.size,
      json: { method, ...(read !== undefined && { read }) },
    },
  });
}
