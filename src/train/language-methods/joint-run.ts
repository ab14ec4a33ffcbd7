import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { atlas, atlasReadings } from '../../methods/atlas.ts';
import type { HeldOutQuery } from '../../methods/contract/method.ts';
import {
  type AnswerContext,
  answerQueries,
  type FoundFor,
  type HeldOutAnswer,
  writeAnswer,
} from '../../methods/joint/held-out-answers.ts';
import type { JointReadings } from '../../methods/joint/joint-form.ts';
import { JOINT_READER_OPTIONS } from '../../methods/joint/joint-options.ts';
import type { CurrentReader, JointReader, WritingOptions } from '../../methods/joint/joint-reader.ts';
import { openReader } from '../../methods/joint/open-reader.ts';
import { realm, realmReadings } from '../../methods/realm.ts';
import { READER_OPTIONS } from '../../methods/table/reader-options.ts';
import { loadRetriever } from '../../models/folder/load-retriever.ts';
import type { Retriever } from '../../models/retriever/retriever.ts';
import { Temperature } from '../../objective/temperature.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { type NoteListener, option } from '../../util/option-name.ts';
import { type OptionTable, optionValues, pickOptions } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';
import { MODEL, READER, readRunSettings } from '../run-folder.ts';
import { methodOptions, type TrainSettings } from '../settings.ts';

const JOINT = [
  { method: realm, readings: realmReadings },
  { method: atlas, readings: atlasReadings },
] as const;

/** Methods that train a reader beside the retriever. */
export const jointMethods = JOINT.map(({ method }) => method);

/** Ids of the methods that train a reader beside the retriever. */
export const JOINT_METHODS: readonly string[] = jointMethods.map(({ id }) => id);

/** Documents that the reader of a run reads: those that its retriever finds, none, random ones, or the judged one. */
const READ = ['found', 'none', 'random', 'gold'] as const;

/** Options of what the reader of a run reads. */
export const READ_OPTIONS = {
  /** Documents that the reader reads. Default those that the retriever finds. */
  read: {
    type: 'choice',
    choices: READ,
    default: 'found',
    help: 'documents that the reader reads: those that the retriever of the run finds, none, random ones, or the judged one (gold)',
  },
  /** Seed of random documents. Default 0. */
  readSeed: {
    type: 'integer',
    value: 'n',
    min: 0,
    default: 0,
    help: 'seed of random documents',
  },
} as const satisfies OptionTable;

const OWN_OPTIONS = {
  ...pickOptions(READER_OPTIONS, 'leaveOutPositives'),
  ...pickOptions(JOINT_READER_OPTIONS, 'readerAnswerTokens'),
};

/** Tells whether a folder is that of a run that has trained a reader beside the retriever. */
export const isJointRun = (run: string): boolean =>
  [MODEL, READER].every((name) => existsSync(join(run, name)));

/** Run that has trained a reader beside the retriever: both models, which answer queries by the settings of the run. */
export class JointRun {
  /** Id of the method. */
  readonly method: string;
  readonly retriever: Retriever;
  readonly readings: JointReadings;
  /** Whether documents that are judged right are not read. */
  readonly withoutPositives: boolean;
  /** Longest answer that the evaluations of the run generate, in tokens. */
  readonly answerTokens: number;
  private readonly reader: JointReader;
  private readonly current: CurrentReader;
  private readonly context: AnswerContext;

  private constructor(
    parts: { retriever: Retriever; reader: JointReader; current: CurrentReader; context: AnswerContext },
    settings: TrainSettings,
  ) {
    const options = methodOptions(settings);
    const { leaveOutPositives, readerAnswerTokens } = optionValues(OWN_OPTIONS, options);
    this.method = settings.method;
    this.retriever = parts.retriever;
    this.reader = parts.reader;
    this.current = parts.current;
    this.context = parts.context;
    this.readings = JOINT.find(({ method }) => method.id === settings.method)!.readings(options);
    this.withoutPositives = leaveOutPositives ?? false;
    this.answerTokens = readerAnswerTokens;
  }

  /**
   * Opens the run in a folder, which has `model/` and `reader/`.
   *
   * @param options.method  id of the method that the run must have; default any
   * @throws UsageError for a folder without such a run
   */
  static async open(
    run: string,
    options: {
      readonly method?: string | undefined;
      /** Name of the option by which the run was given, for messages. Default `model`. */
      readonly option?: string | undefined;
      readonly onProgress?: ((progress: Progress) => void) | undefined;
      readonly onNote?: NoteListener | undefined;
    } & ComputeOptions = {},
  ): Promise<JointRun> {
    const { method, option: by = 'model', onProgress, onNote, ...compute } = options;
    const settings = await settingsOf(run, { method, by });
    const given = { ...methodOptions(settings), ...{ reader: join(run, READER), readerTuning: 'frozen' } };
    const retriever = await loadRetriever(join(run, MODEL), { ...(onNote && { onNote }) });
    let reader: JointReader | undefined;
    try {
      reader = await openReader({ options: given, seed: settings.seed, onNote, onProgress });
      const current = await reader.current();
      const temperature = new Temperature(settings.temperature, { learned: false });
      const context = { retriever, temperature, compute, options: given };
      return new JointRun({ retriever, reader, current, context }, settings);
    } catch (error) {
      await reader?.dispose();
      await retriever.dispose();
      throw error;
    }
  }

  /** Number of documents that are read for a query. */
  get depth(): number {
    const { candidates, passages, readings } = this.readings;
    return readings.includes('together') ? passages : candidates;
  }

  /**
   * Answers queries as the evaluations of the run do. A query without documents is read alone.
   *
   * @param answerTokens  longest answer that is generated; 0 for none. Default: that of the run
   */
  async answer(
    queries: readonly HeldOutQuery[],
    answerTokens: number = this.answerTokens,
  ): Promise<HeldOutAnswer[]> {
    const { current: model, readings: form } = this;
    return await answerQueries(this.context, { queries, model, form, tokens: answerTokens });
  }

  /**
   * Writes an answer to a query as the reader has learnt it: from all documents together, or by the mixture of what it predicts given each
   * and given none, weighted as the retriever weights them. Greedy by default.
   *
   * @param documents  best documents, with their scores; those beyond `depth` are not read
   */
  async write(query: string, documents: FoundFor['documents'], options: WritingOptions): Promise<string> {
    const found = { query, documents: documents.slice(0, this.depth) };
    const { current: model, readings: form } = this;
    return (
      await writeAnswer(this.context, found, { ...this.context.compute, ...options, model, form })
    ).trim();
  }

  /** Frees both models. */
  async dispose(): Promise<void> {
    await this.current.dispose();
    await this.reader.dispose();
    await this.retriever.dispose();
  }
}

/** Reads the settings of a run, and checks that they fit. */
async function settingsOf(
  run: string,
  { method: id, by }: { method: string | undefined; by: string },
): Promise<TrainSettings> {
  const help = `give the folder of a run of ${JOINT_METHODS.join(' or ')}, with ${MODEL}/ and ${READER}/`;
  if (!isJointRun(run)) {
    throw new UsageError(`${option(by, run)} is no run that has trained a reader`, { help });
  }
  const settings = await readRunSettings(run);
  if (id === undefined ? !JOINT_METHODS.includes(settings.method) : settings.method !== id) {
    throw new UsageError(
      `the run ${run} is one of ${settings.method}, not ${id ?? JOINT_METHODS.join(' or ')}`,
      {
        help: id === undefined ? help : `use ${option('method', settings.method)}`,
      },
    );
  }
  if (settings.method === realm.id && settings.learnTemperature) {
    throw new UsageError(`the run ${run} has learnt its temperature, which its models do not hold`, {
      help: `train with a fixed ${option('temperature')}`,
    });
  }
  return settings;
}
