import type { LanguageModel } from '../models/language/language-model.ts';
import { type OpenTaskOptions, openTask } from '../rlm/evaluation-task.ts';
import type { AnsweredQuestion } from '../rlm/language-system.ts';
import type { SystemSpec } from '../rlm/system-spec.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { writeFileAtomic } from '../util/files.ts';
import { count, formatDuration } from '../util/format.ts';
import type { GivenValues } from '../util/option-table.ts';
import type { CommandResult } from './command.ts';
import type { Io } from './io.ts';
import { showNotes, showProgress } from './model-source.ts';

/** Labels of the measures. */
const LABELS: Readonly<Record<string, string>> = {
  natsPerAnswer: 'nats per answer',
  natsPerToken: 'nats per token',
  exactMatch: 'exact match',
  f1: 'F1',
};

/** Answers the questions of a data set, for `undrift lm eval`. */
export async function evaluateQuestions(
  model: LanguageModel,
  spec: SystemSpec,
  {
    values,
    folder,
    data,
    task: given,
    file,
    io,
    compute,
  }: {
    /** Options of the system. */
    readonly values: GivenValues;
    /** Folder of the model. */
    readonly folder: string;
    readonly data: string;
    readonly task: OpenTaskOptions;
    /** File for the measures of each question. */
    readonly file: string | undefined;
    readonly io: Io;
    readonly compute: ComputeOptions;
  },
): Promise<CommandResult> {
  const startMs = performance.now();
  const onNote = showNotes(io);
  const onProgress = showProgress(io);
  const task = await openTask(model, data, { ...given, onProgress, onNote });
  const { windows, corpus } = task;
  const context = { modelFolder: folder, windows, corpus, onProgress, onNote, ...compute };
  const system = await spec.open(model, values, context);
  try {
    const { metrics, questions = [] } = await task.measure(system, { onProgress, ...compute });
    io.finishProgress();
    return await questionsResult(metrics, questions, {
      ...{ file, startMs, documents: corpus?.size },
      json: {
        method: spec.id,
        ...(system.settings && { settings: system.settings }),
        cost: system.ledger.totals,
      },
    });
  } finally {
    await system.dispose();
  }
}

/** Makes the result of a command that answers questions, and writes the measures of each question. */
export async function questionsResult(
  metrics: Readonly<Record<string, number>>,
  questions: readonly AnsweredQuestion[],
  {
    file,
    startMs,
    documents,
    json: facts,
  }: {
    /** File for the measures of each question; undefined for none. */
    readonly file: string | undefined;
    /** Beginning of the command by the clock of `performance`. */
    readonly startMs: number;
    /** Number of documents that passages are found in; undefined where there are none. */
    readonly documents: number | undefined;
    /** Further facts for programs. */
    readonly json: Readonly<Record<string, unknown>>;
  },
): Promise<CommandResult> {
  const seconds = (performance.now() - startMs) / 1000;
  if (file !== undefined) {
    const lines = questions.map((question) => `${JSON.stringify(question)}\n`);
    await writeFileAtomic(file, lines.join(''));
  }
  const rows = Object.entries(metrics).map(
    ([name, value]) => `${(LABELS[name] ?? name).padEnd(17)}${value.toFixed(4)}\n`,
  );
  const passages = documents === undefined ? '' : ` over ${count(documents)} documents`;
  return {
    json: { ...metrics, questions: questions.length, ...facts, seconds: Number(seconds.toFixed(3)) },
    text: `${rows.join('')}${count(questions.length)} questions${passages}, ${formatDuration(seconds * 1000)}\n`,
  };
}
