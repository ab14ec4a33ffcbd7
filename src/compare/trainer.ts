import { loadData } from '../data/load.ts';
import { ANY_DATA_OPTIONS } from '../data/load-options.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { measureBaseline } from '../retrieval/baseline.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TrainCallbacks } from '../train/callbacks.ts';
import { makeRetriever } from '../train/make-retriever.ts';
import { runFingerprint } from '../train/run-plan.ts';
import { isNewModel, resolveSettings, type TrainOptions } from '../train/settings.ts';
import { type TrainResult, trainRetriever } from '../train/train-retriever.ts';
import type { GivenOptions } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import type { EvaluationPlan } from './comparison.ts';
import type { RunEvaluation } from './run-result.ts';

/** Options for reading the data of a run, and other data to evaluate on. */
export interface Reading extends GivenOptions<typeof ANY_DATA_OPTIONS> {
  /** Data to evaluate on. Default: the data of the comparison. */
  readonly evalData?: string | undefined;
}

/** Picks the options for reading data from those of a run. */
export const readingOf = (options: Readonly<Record<string, unknown>>): Reading =>
  Object.fromEntries(
    [...Object.keys(ANY_DATA_OPTIONS), 'evalData'].flatMap((key) =>
      options[key] === undefined ? [] : [[key, options[key]]],
    ),
  );

/** Callback that receives the progress of a stage. */
export type OnProgress = (progress: Progress) => void;

/** Work that a comparison delegates: the package's own training and evaluation, or a substitute in tests. */
export interface Trainer {
  /**
   * Reads the name and the size of a data set, and the splits of the data to evaluate on, which is the same unless `reading` names
   * another.
   */
  describeData(path: string, reading: Reading, onProgress?: OnProgress): Promise<TrainerData>;
  /** Trains one run. */
  train(
    options: TrainOptions & ComputeOptions & { resume?: boolean; overwrite?: boolean },
    callbacks: TrainCallbacks,
  ): Promise<TrainResult>;
  /** Measures BM25, by metric; undefined for a corpus that is too large. */
  baseline(
    data: string,
    plan: EvaluationPlan,
    reading: Reading,
    onProgress?: OnProgress,
  ): Promise<Readonly<Record<string, number>> | undefined>;
  /** Measures the given model that a run starts from, by metric; undefined where the run creates its model. */
  zeroShot(
    options: TrainOptions,
    plan: EvaluationPlan,
    how: ComputeOptions & Reading & { onProgress?: OnProgress },
  ): Promise<Readonly<Record<string, number>> | undefined>;
  /** Evaluates the model in a folder. */
  evaluate(
    model: string,
    data: string,
    plan: EvaluationPlan,
    options: ComputeOptions & Reading & { onProgress?: OnProgress },
  ): Promise<RunEvaluation>;
}

/** Facts about a data set. */
export interface TrainerData {
  /** Name of the data set. */
  readonly name: string;
  /** Fingerprint of its content. */
  readonly fingerprint: string;
  /** Number of documents. */
  readonly documents: number;
  /** Names of the splits. */
  readonly splits: readonly string[];
}

/**
 * Trainer that uses the package's own training and evaluation. Reads the data anew each time, so that no data
 * is held in memory while a run trains.
 */
export const realTrainer: Trainer = {
  async describeData(path, { evalData, ...reading }, onProgress) {
    const data = await loadData(path, { ...reading, onProgress });
    const evaluation = evalData === undefined ? data : await loadData(evalData, { ...reading, onProgress });
    const fingerprint = runFingerprint(data, evaluation, evalData !== undefined);
    return { name: data.name, fingerprint, documents: data.corpus.size, splits: evaluation.splits };
  },
  train: trainRetriever,
  async baseline(path, { split, metrics, queries }, { evalData, ...reading }, onProgress) {
    const data = await loadData(evalData ?? path, { ...reading, splits: [split] });
    return await measureBaseline(data, split, { metrics, limitQueries: queries ?? undefined, onProgress });
  },
  async zeroShot(options, plan, how) {
    const settings = resolveSettings(options);
    if (isNewModel(settings.model)) return undefined;
    const data = await evaluationData(settings.data, plan, how);
    return (await evaluated(await makeRetriever(settings, data, {}), data, plan, how)).metrics;
  },
  async evaluate(model, path, plan, how) {
    const data = await evaluationData(path, plan, how);
    return await evaluated(await loadRetriever(model), data, plan, how);
  },
};

const evaluationData = async (path: string, { split }: EvaluationPlan, how: Reading) =>
  await loadData(how.evalData ?? path, { ...readingOf({ ...how, evalData: undefined }), splits: [split] });

/** Evaluates a retriever, and disposes of it. */
async function evaluated(
  retriever: Retriever,
  data: RetrievalData,
  { split, metrics, queries }: EvaluationPlan,
  { onProgress, device, threads }: ComputeOptions & { onProgress?: OnProgress },
): Promise<RunEvaluation> {
  try {
    const evaluation = await evaluateRetriever(retriever, data, split, {
      metrics,
      limitQueries: queries ?? undefined,
      onProgress,
      ...(device && { device }),
      ...(threads && { threads }),
    });
    const { perQuery } = evaluation;
    const values = (metric: string) => [...perQuery.values()].map((query) => query[metric]!);
    return {
      metrics: evaluation.metrics,
      queryIds: [...perQuery.keys()],
      perQuery: Object.fromEntries(metrics.map((metric) => [metric, values(metric)])),
    };
  } finally {
    await retriever.dispose();
  }
}
