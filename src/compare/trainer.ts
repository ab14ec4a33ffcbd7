import { loadData } from '../data/load.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { measureBaseline } from '../retrieval/baseline.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TrainCallbacks } from '../train/callbacks.ts';
import type { TrainOptions } from '../train/settings.ts';
import { type TrainResult, trainRetriever } from '../train/train-retriever.ts';
import type { Progress } from '../util/progress.ts';
import type { EvaluationPlan } from './comparison.ts';
import type { RunEvaluation } from './run-result.ts';

/** Callback that receives the progress of a stage. */
export type OnProgress = (progress: Progress) => void;

/** Work that a comparison delegates: the package's own training and evaluation, or a substitute in tests. */
export interface Trainer {
  /** Reads the name, the size and the splits of a data set. */
  describeData(path: string, onProgress?: OnProgress): Promise<TrainerData>;
  /** Trains one run. */
  train(
    options: TrainOptions & ComputeOptions & { resume?: boolean; overwrite?: boolean },
    callbacks: TrainCallbacks,
  ): Promise<TrainResult>;
  /** Measures BM25, by metric; undefined for a corpus that is too large. */
  baseline(
    data: string,
    plan: EvaluationPlan,
    onProgress?: OnProgress,
  ): Promise<Readonly<Record<string, number>> | undefined>;
  /** Evaluates the model in a folder. */
  evaluate(
    model: string,
    data: string,
    plan: EvaluationPlan,
    options: ComputeOptions & { onProgress?: OnProgress },
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
  async describeData(path, onProgress) {
    const data = await loadData(path, { onProgress });
    const { name, fingerprint, corpus, splits } = data;
    return { name, fingerprint, documents: corpus.size, splits };
  },
  train: trainRetriever,
  async baseline(path, { split, metrics, queries }, onProgress) {
    const data = await loadData(path, { splits: [split] });
    return await measureBaseline(data, split, { metrics, limitQueries: queries ?? undefined, onProgress });
  },
  async evaluate(model, path, { split, metrics, queries }, { onProgress, ...compute }) {
    const data = await loadData(path, { splits: [split] });
    const retriever = await loadRetriever(model);
    try {
      const evaluation = await evaluateRetriever(retriever, data, split, {
        metrics,
        limitQueries: queries ?? undefined,
        onProgress,
        ...compute,
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
  },
};
