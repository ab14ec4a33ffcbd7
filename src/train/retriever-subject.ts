import { join } from 'node:path';
import type { TrainingExamples } from '../data/examples.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { Method, RunPlan, TrainingBatch } from '../methods/contract/method.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { writePeftAdapter } from '../models/folder/peft-adapter.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { frozenHash } from '../models/retriever/tuning.ts';
import { Temperature } from '../objective/temperature.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TrainCallbacks } from './callbacks.ts';
import type { ExampleKind, SideTokens } from './examples/example-kind.ts';
import type { Batches } from './pair-batches.ts';
import { runCard } from './run-card.ts';
import { ADAPTER, MODEL } from './run-folder.ts';
import { methodOptions, type TrainSettings } from './settings.ts';
import type { Subject } from './subject.ts';

/** The parts of which `trainRetriever` makes a subject. */
export interface RetrieverParts {
  readonly settings: TrainSettings;
  readonly method: Method;
  readonly kind: ExampleKind;
  readonly retriever: Retriever;
  readonly data: RetrievalData;
  readonly tokens: SideTokens;
  readonly examples: TrainingExamples;
  readonly batches: Batches;
  /** Data and tokens to evaluate on; absent where nothing is evaluated. */
  readonly evaluation: { readonly data: RetrievalData; readonly tokens: SideTokens } | undefined;
  readonly plan: RunPlan;
  readonly compute: ComputeOptions;
}

/** A retriever and its training method as the subject of a run. */
export function retrieverSubject(parts: RetrieverParts, callbacks: TrainCallbacks): Subject<TrainingBatch> {
  const { settings, method, kind, retriever, data, tokens, examples, batches, evaluation, plan, compute } =
    parts;
  const temperature = new Temperature(settings.temperature, { learned: settings.learnTemperature });
  const weights = { ...retriever.weights, ...temperature.weights };
  const stepsBefore = retriever.trainedSteps;
  const { onProgress, onBackground, onNote, signal } = callbacks;
  return {
    specs: [...retriever.specs, ...temperature.specs],
    weights,
    frozen: { source: settings.model, hash: frozenHash(retriever) },
    batches,
    work: {
      unit: 'texts',
      of: ({ spent }) => (spent.queryEncodes ?? 0) + (spent.documentEncodes ?? 0),
    },
    start: ({ gradientBuffers, lossScale, ledger, onEvent }) =>
      method.start({
        retriever,
        weights,
        gradientBuffers,
        ...tokens,
        positives: data.positiveSets('train'),
        temperature,
        dropoutRatio: settings.dropout,
        chunkSize: settings.chunkSize,
        seed: settings.seed,
        compute,
        precision: settings.precision,
        ...(lossScale && { lossScale }),
        options: methodOptions(settings),
        ledger,
        texts: { query: (row) => data.queries.text(row), document: (row) => data.corpus.text(row) },
        examples,
        folder: settings.out,
        totalSteps: plan.updates,
        onEvent,
        ...(onProgress && { onProgress }),
        ...(onBackground && { onBackground }),
        ...(onNote && { onNote }),
        ...(signal && { signal }),
      }),
    logged: ({ metrics, spent }) => ({
      temperature: temperature.value,
      ...metrics,
      documentEncodes: spent.documentEncodes ?? 0,
    }),
    evaluation: evaluation && {
      metric: settings.evalMetric,
      measure: () =>
        kind.measure(retriever, evaluation.data, settings, {
          limit: settings.evalQueries,
          tokens: evaluation.tokens,
          ...compute,
        }),
    },
    nothingToDiagnose: `${method.id} keeps no embeddings whose staleness could be measured: there is nothing to diagnose`,
    async keep(metrics, { step, ledger }) {
      retriever.trainedSteps = stepsBefore + step;
      await writePeftAdapter(join(settings.out, ADAPTER), retriever, { baseModel: settings.model });
      await saveRetriever(join(settings.out, MODEL), retriever, {
        card: runCard(settings, data, method, { metrics, ledger }),
      });
    },
  };
}
