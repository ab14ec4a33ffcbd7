import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import { atlas, atlasReadings } from '../../methods/atlas.ts';
import { heldOutAnswers } from '../../methods/joint/held-out-answers.ts';
import { openReader } from '../../methods/joint/open-reader.ts';
import { realm, realmReadings } from '../../methods/realm.ts';
import { loadRetriever } from '../../models/folder/load-retriever.ts';
import { Temperature } from '../../objective/temperature.ts';
import { retrievalTask, retrieve } from '../../retrieval/retrieve.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { UsageError } from '../../util/errors.ts';
import { type NoteListener, option } from '../../util/option-name.ts';
import type { Progress } from '../../util/progress.ts';
import { heldOutDepth, heldOutQueries } from '../held-out-measure.ts';
import { MODEL, READER, readRunSettings } from '../run-folder.ts';
import { methodOptions, type TrainSettings } from '../settings.ts';

const JOINT = [
  { method: realm, readings: realmReadings },
  { method: atlas, readings: atlasReadings },
] as const;

/** Ids of the methods that train a reader beside the retriever. */
export const JOINT_METHODS: readonly string[] = JOINT.map(({ method }) => method.id);

/** Measures of the answers of a reader and its retriever. */
export interface JointAnswers {
  /** Mean of −log p(preferred answer) over the questions, in nats. */
  readonly natsPerAnswer: number;
  /** Share of right greedy answers; absent where no answer is generated. */
  readonly exactMatch?: number;
  /** Number of questions. */
  readonly questions: number;
}

/**
 * Answers the questions of a split with the retriever and the reader of a run, as its evaluations do: by the settings of the run, from the
 * documents of `data`.
 *
 * @param run  folder of the run, which has `model/` and `reader/`
 * @param options.method  method that the run must have
 * @throws UsageError for a folder without such a run, and where no question of the split has an answer
 */
export async function evaluateJointRun(
  run: string,
  data: RetrievalData,
  {
    method: id,
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
): Promise<JointAnswers> {
  const settings = await settingsOf(run, id);
  const options = {
    ...methodOptions(settings),
    ...{ reader: join(run, READER), readerTuning: 'frozen' },
    ...{ readerEvalQueries: limitQueries ?? Math.max(1, data.queries.size) },
    ...(answerTokens !== undefined && { readerAnswerTokens: answerTokens }),
  };
  const retriever = await loadRetriever(join(run, MODEL), { ...(onNote && { onNote }) });
  const reader = await openReader({ options, seed: settings.seed, onNote, onProgress });
  try {
    const temperature = new Temperature(settings.temperature, { learned: false });
    const { readings } = JOINT.find(({ method }) => method.id === id)!;
    const measure = heldOutAnswers({ retriever, temperature, compute, options }, reader, readings(options))!;
    const task = retrievalTask(data, split);
    const topK = heldOutDepth(data, split, measure);
    const found = await retrieve(retriever, data, task, { topK, onProgress, ...compute });
    const queries = heldOutQueries(data, { run: found, task }, measure);
    if (queries.length === 0) {
      throw new UsageError(`no question of the split "${split}" has an answer and a document to read`, {
        help: `choose another ${option('split')}`,
      });
    }
    const { answerLogLikelihood, ...others } = await measure.measure(queries);
    return { natsPerAnswer: -answerLogLikelihood!, ...others, questions: queries.length };
  } finally {
    await reader.dispose();
    await retriever.dispose();
  }
}

/** Reads the settings of a run, and checks that they fit. */
async function settingsOf(run: string, id: string): Promise<TrainSettings> {
  const help = `give the folder of a run of ${JOINT_METHODS.join(' or ')}, with ${MODEL}/ and ${READER}/`;
  if (![MODEL, READER].every((name) => existsSync(join(run, name)))) {
    throw new UsageError(`${option('model', run)} is no run that has trained a reader`, { help });
  }
  const settings = await readRunSettings(run);
  if (settings.method !== id) {
    throw new UsageError(`the run ${run} is one of ${settings.method}, not ${id}`, {
      help: `use ${option('method', settings.method)}`,
    });
  }
  if (id === realm.id && settings.learnTemperature) {
    throw new UsageError(`the run ${run} has learnt its temperature, which its models do not hold`, {
      help: `train with a fixed ${option('temperature')}`,
    });
  }
  return settings;
}
