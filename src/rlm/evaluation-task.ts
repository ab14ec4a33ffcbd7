import { createHash } from 'node:crypto';
import { roleFiles } from '../data/beir.ts';
import type { Corpus } from '../data/corpus.ts';
import { findData } from '../data/find-data.ts';
import { isFolder, loadData } from '../data/load.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import {
  streamTextCorpus,
  type TextCorpusOptions,
  type TextDocument,
  textCorpusName,
} from '../data/text-corpus.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { UsageError } from '../util/errors.ts';
import { type NoteListener, option } from '../util/option-name.ts';
import type { GivenOptions, OptionTable } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { ANSWER_OPTIONS, answerQuestions } from './answer-questions.ts';
import { documentSegments, evaluateText, nothingToScore } from './evaluate-text.ts';
import { type AnsweredQuestion, countScored, type LanguageSystem, type Segment } from './language-system.ts';
import { QUESTION_OPTIONS, questionsOf } from './questions.ts';
import { type TextWindows, textWindows, WINDOW_OPTIONS } from './text-windows.ts';

/** Options of measuring a language system on running text or on questions. */
export const TASK_OPTIONS = {
  /** Whether the data is running text or questions with answers. Default: questions if it has queries and answers. */
  task: {
    type: 'choice',
    choices: ['text', 'questions'],
    defaultHelp: 'questions for a data set with answers.jsonl beside its queries, else text',
    help: 'what is measured: the likelihood of running text, or answers to questions',
  },
  ...WINDOW_OPTIONS,
  /** Number of tokens of running text to score. Default all. */
  limitTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    defaultHelp: 'all',
    help: 'running text: number of tokens to score, from the beginning',
  },
  /** Split of the questions. Default `test`. */
  split: {
    type: 'text',
    value: 'name',
    nonEmpty: true,
    default: 'test',
    help: 'questions: split to answer',
  },
  ...QUESTION_OPTIONS,
  ...ANSWER_OPTIONS,
} as const satisfies OptionTable;

/** Options that only running text has, and only questions. */
const OPTIONS_OF = {
  text: ['window', 'stride', 'limitTokens'],
  questions: ['split', 'prompt', 'limitQueries', 'answerTokens'],
} as const;

/** Kind of what is measured. */
export type TaskKind = keyof typeof OPTIONS_OF;

/** Measures of one system. */
export interface TaskMeasures {
  /** Measures over all units, by name: see `EvaluationTask.metrics`. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Value of each unit, in the order of `EvaluationTask.units`; their mean is the metric. Absent for `perplexity`. */
  readonly perUnit: Readonly<Record<string, readonly number[]>>;
  /** Questions with their answers; absent for running text. */
  readonly questions?: readonly AnsweredQuestion[];
}

/** Running text or questions, read once and measured with any number of systems. */
export interface EvaluationTask {
  readonly kind: TaskKind;
  /** Name of the data. */
  readonly name: string;
  /** Fingerprint of what is measured. */
  readonly fingerprint: string;
  /** Number of documents: of the text, or of the data set with the questions. */
  readonly documents: number;
  /** Ids of the documents or questions over which is averaged, and resampled. */
  readonly units: readonly string[];
  /** Names of the measures, the main one first. Lower is better, except for `exactMatch` and `f1`. */
  readonly metrics: readonly string[];
  /** Documents of the data set with the questions, to read passages from; undefined for running text. */
  readonly corpus: Corpus | undefined;
  readonly windows: TextWindows;
  /** Returns what is scored: windows of the text, or questions with their answers. */
  segments(): Iterable<Segment>;
  /** Measures a system. */
  measure(
    system: LanguageSystem,
    options?: { readonly onProgress?: ((progress: Progress) => void) | undefined } & ComputeOptions,
  ): Promise<TaskMeasures>;
}

/** Options of `openTask`. */
export interface OpenTaskOptions
  extends GivenOptions<typeof TASK_OPTIONS>,
    Pick<TextCorpusOptions, 'columns' | 'skipBadRows'> {
  /** Windows of running text where none are asked for. Default: see `textWindows`. */
  readonly ownWindows?: TextWindows | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly onNote?: NoteListener | undefined;
}

/**
 * Opens the data on which language systems are measured: questions of a data set with answers, or running text.
 *
 * @throws DataError for data that cannot be read, and questions without answers
 * @throws UsageError for an option out of range, and for running text without a token to score
 */
export async function openTask(
  model: LanguageModel,
  path: string,
  options: OpenTaskOptions = {},
): Promise<EvaluationTask> {
  const asked = options.window !== undefined || options.stride !== undefined;
  const windows = textWindows(asked ? options : (options.ownWindows ?? {}), model.decoder.maxTokens);
  const kind = await taskKind(path, options);
  return kind === 'questions'
    ? await questionTask(model, path, windows, options)
    : await textTask(model, path, windows, options);
}

/**
 * Determines what is measured on data: the kind that is given, or questions where it is a data set with answers to its queries.
 *
 * @throws UsageError for an option of the other kind
 */
export async function taskKind(path: string, options: GivenOptions<typeof TASK_OPTIONS>): Promise<TaskKind> {
  const kind = options.task ?? ((await hasAnswers(path)) ? 'questions' : 'text');
  const other = kind === 'text' ? 'questions' : 'text';
  const foreign = OPTIONS_OF[other].find((name) => options[name] !== undefined);
  if (foreign === undefined) return kind;
  throw new UsageError(
    `${option(foreign)} belongs to ${NOUNS[other]}, and ${path} is measured as ${NOUNS[kind]}`,
    {
      help: `leave it out, or choose ${option('task', other)}`,
    },
  );
}

const NOUNS = { text: 'running text', questions: 'questions' } as const;

/** Tells whether a path is a data set with answers to its queries. */
async function hasAnswers(path: string): Promise<boolean> {
  const found = await findData(path, {});
  if (!(await isFolder(found))) return false;
  const [queries, answers] = await Promise.all([roleFiles(found, 'queries'), roleFiles(found, 'answers')]);
  return queries.length > 0 && answers.length > 0;
}

async function questionTask(
  model: LanguageModel,
  path: string,
  windows: TextWindows,
  { split = 'test', prompt, limitQueries, answerTokens, onNote, onProgress, ...reading }: OpenTaskOptions,
): Promise<EvaluationTask> {
  const data: RetrievalData = await loadData(path, {
    answers: true,
    splits: [split],
    columns: reading.columns,
    skipBadRows: reading.skipBadRows,
    ...(onProgress && { onProgress }),
  });
  const questions = questionsOf(model, data, { split, prompt, limitQueries, onNote });
  const isGenerated = answerTokens !== 0;
  return {
    kind: 'questions',
    name: data.name,
    fingerprint: data.fingerprint,
    documents: data.corpus.size,
    units: questions.map(({ id }) => id),
    metrics: ['natsPerAnswer', 'natsPerToken', ...(isGenerated ? ['exactMatch', 'f1'] : [])],
    corpus: data.corpus,
    windows,
    segments: () => questions.map(({ segment }) => segment),
    async measure(system, given) {
      const { questions: answered, ...means } = await answerQuestions(system, questions, {
        answerTokens,
        ...given,
      });
      const tokens = answered.reduce((sum, each) => sum + each.tokens, 0);
      const values = (of: (each: AnsweredQuestion) => number) => answered.map(of);
      return {
        metrics: { ...means },
        perUnit: {
          natsPerAnswer: values(({ nats }) => nats),
          natsPerToken: values(({ nats }) => (nats * answered.length) / tokens),
          ...(means.f1 !== undefined && {
            exactMatch: values(({ exactMatch }) => exactMatch!),
            f1: values(({ f1 }) => f1!),
          }),
        },
        questions: answered,
      };
    },
  };
}

async function textTask(
  model: LanguageModel,
  path: string,
  windows: TextWindows,
  { limitTokens, onNote, onProgress, columns, skipBadRows }: OpenTaskOptions,
): Promise<EvaluationTask> {
  const documents: TextDocument[] = [];
  const units: string[] = [];
  const hash = createHash('sha256');
  let left = limitTokens ?? Number.POSITIVE_INFINITY;
  for await (const document of streamTextCorpus(path, { columns, skipBadRows, onProgress, onNote })) {
    const { segments } = documentSegments({ model }, document, windows, left);
    documents.push(document);
    hash.update(JSON.stringify([document.id, document.text]));
    if (segments.length > 0) units.push(document.id);
    left -= countScored(segments);
    if (left <= 0) break;
  }
  if (units.length === 0) throw nothingToScore();
  return {
    kind: 'text',
    name: textCorpusName(path),
    fingerprint: hash.digest('hex').slice(0, 16),
    documents: documents.length,
    units,
    metrics: ['natsPerToken', 'perplexity', 'bitsPerByte'],
    corpus: undefined,
    windows,
    *segments() {
      let rest = limitTokens ?? Number.POSITIVE_INFINITY;
      for (const document of documents) {
        const { segments } = documentSegments({ model }, document, windows, rest);
        rest -= countScored(segments);
        yield* segments;
      }
    },
    async measure(system, given) {
      const found = await evaluateText(system, documents, { ...windows, limitTokens, onNote, ...given });
      const perDocument = (total: number) => found.documents.map(({ nats }) => (nats * units.length) / total);
      const { tokens, bytes, nats, perplexity, bitsPerByte } = found;
      return {
        metrics: { natsPerToken: nats / tokens, perplexity, bitsPerByte },
        perUnit: {
          natsPerToken: perDocument(tokens),
          bitsPerByte: perDocument(Math.LN2 * Math.max(1, bytes)),
        },
      };
    },
  };
}
