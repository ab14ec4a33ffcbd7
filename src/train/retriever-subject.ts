import { join } from 'node:path';
import type { TrainingExamples } from '../data/examples.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { TextIdentity } from '../data/text-identity.ts';
import type {
  HeldOutMeasure,
  HeldOutQuery,
  Method,
  RunPlan,
  TrainingBatch,
} from '../methods/contract/method.ts';
import type { TrainedPart } from '../methods/contract/trained-part.ts';
import type { OpenEmbedder } from '../models/background/row-embedder.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { writePeftAdapter } from '../models/folder/peft-adapter.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { StoredEmbeddings } from '../models/retriever/stored-embeddings.ts';
import { frozenHash, isFrozen } from '../models/retriever/tuning.ts';
import { Temperature } from '../objective/temperature.ts';
import { BASELINE } from '../retrieval/baseline.ts';
import type { RetrieverEvaluation } from '../retrieval/evaluate-retriever.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { joinParameters } from '../runtime/join-parameters.ts';
import type { TrainCallbacks } from './callbacks.ts';
import type { ExampleKind, SideTokens } from './examples/example-kind.ts';
import { checkHeldOutMetric, heldOutDepth, heldOutQueries } from './held-out-measure.ts';
import type { Batches } from './pair-batches.ts';
import { runCard } from './run-card.ts';
import { ADAPTER, MODEL } from './run-folder.ts';
import { methodOptions, type TrainSettings } from './settings.ts';
import { memoryNotes } from './step-memory.ts';
import type { Subject } from './subject.ts';

/** Parts from which `trainRetriever` makes the subject of a run. */
export interface RetrieverParts {
  /** Settings of the run. */
  readonly settings: TrainSettings;
  /** Training method. */
  readonly method: Method;
  /** Kind of example that the method trains on. */
  readonly kind: ExampleKind;
  /** Retriever that is trained. */
  readonly retriever: Retriever;
  /** Data to train on. */
  readonly data: RetrievalData;
  /** Tokens of the texts to train on. */
  readonly tokens: SideTokens;
  /** Examples that the method can use. */
  readonly examples: TrainingExamples;
  /** Pairs that a teacher has scored for these examples; 0 without a teacher. */
  readonly taughtPairs: number;
  /** Part that the method trains beside the retriever; undefined for most methods. */
  readonly part: TrainedPart | undefined;
  /** Batches of these examples. */
  readonly batches: Batches;
  /** Data and tokens to evaluate on; undefined for a run without evaluation. */
  readonly evaluation: { readonly data: RetrievalData; readonly tokens: SideTokens } | undefined;
  /** Embeddings of documents by the weights that the run starts from; undefined where there are none. */
  readonly stored: StoredEmbeddings | undefined;
  /** Plan of the run, for the method. */
  readonly plan: RunPlan;
  /** Device and threads for compiling programs. */
  readonly compute: ComputeOptions;
  /** Opens what embeds a table while training goes on; undefined for a process beside this one. */
  readonly openEmbedder: OpenEmbedder | undefined;
}

/** Makes the subject of a run from a retriever and its training method. */
export function retrieverSubject(parts: RetrieverParts, callbacks: TrainCallbacks): Subject<TrainingBatch> {
  const { settings, method, kind, retriever, data, tokens, examples, batches } = parts;
  const { evaluation, stored, plan, compute, part, openEmbedder } = parts;
  const temperature = new Temperature(settings.temperature, { learned: settings.learnTemperature });
  const own = {
    specs: [...retriever.specs, ...temperature.specs],
    weights: { ...retriever.weights, ...temperature.weights },
  };
  const { specs, weights } = joinParameters({ '': own, ...(part && { [part.prefix]: part }) });
  const stepsBefore = retriever.trainedSteps;
  const texts = {
    documents: data.corpus.size,
    document: (row: number) => data.corpus.text(row),
    queries: data.queries.size,
    query: (row: number) => data.queries.text(row),
  };
  const { onProgress, onBackground, onNote, signal } = callbacks;
  // A metric of the method's own comes beside those of the kind of example.
  const isOwnMetric = method.heldOutMetrics?.includes(settings.evalMetric) ?? false;
  const measured = isOwnMetric ? { ...settings, evalMetric: kind.evalMetric } : settings;
  let heldOut: HeldOutMeasure | undefined;
  const measureBaseline = async () =>
    settings.baseline && evaluation
      ? await kind.baseline?.(evaluation.data, measured, { limit: settings.evalQueries, onProgress })
      : undefined;
  const rank = async ({ data, tokens }: NonNullable<RetrieverParts['evaluation']>) => {
    let queries: HeldOutQuery[] = [];
    const ranking = heldOut && {
      depth: heldOutDepth(data, settings.evalSplit, heldOut),
      take: (found: RetrieverEvaluation) => {
        queries = heldOutQueries(data, found, heldOut!);
      },
    };
    const options = { limit: settings.evalQueries, tokens, ranking, ...compute };
    const metrics = await kind.measure(retriever, data, measured, options);
    return { metrics, queries };
  };
  // A frozen retriever ranks in each evaluation as in the first.
  let ranked: ReturnType<typeof rank> | undefined;
  const measure = async (on: NonNullable<RetrieverParts['evaluation']>) => {
    ranked = isFrozen(retriever) && ranked ? ranked : rank(on);
    const { metrics, queries } = await ranked;
    return { ...metrics, ...(queries.length > 0 && (await heldOut!.measure(queries))) };
  };
  return {
    specs,
    weights,
    ...(part && {
      groups: [{ prefix: `${part.prefix}/`, learningRateRatio: part.lr / settings.lr! }],
    }),
    frozen: frozenWeights({ source: settings.model, hash: frozenHash(retriever) }, part?.frozen),
    batches,
    work: {
      unit: 'texts',
      of: ({ spent }) => (spent.queryEncodes ?? 0) + (spent.documentEncodes ?? 0),
    },
    start: async ({ gradientBuffers, lossScale, gradientCheckpointing, ledger, onEvent }) => {
      // A resumed run has them in the ledger of its checkpoint, which replaces this one.
      if (parts.taughtPairs > 0) ledger.add('teacherPairs', parts.taughtPairs, { of: 'pairs' });
      const identity = new TextIdentity(texts, tokens);
      const running = await method.start({
        retriever,
        weights,
        ...(part && { part }),
        gradientBuffers,
        ...tokens,
        positives: identity.rightAnswers(data.positiveSets('train')),
        copies: (document) => identity.copies(document),
        temperature,
        dropoutRatio: settings.dropout,
        chunkSize: settings.chunkSize,
        seed: settings.seed,
        compute,
        precision: settings.precision,
        ...(lossScale && { lossScale }),
        gradientCheckpointing,
        options: methodOptions(settings),
        ledger,
        texts,
        ...(stored && { stored }),
        ...(openEmbedder && { openEmbedder }),
        ...(method.answers && { answers: data.answers }),
        examples,
        folder: settings.out,
        totalSteps: plan.updates,
        onEvent,
        ...(onProgress && { onProgress }),
        ...(onBackground && { onBackground }),
        ...(onNote && { onNote }),
        onNeed: memoryNotes({ settings, tokens, memory: { gradientCheckpointing } }, onNote),
        ...(signal && { signal }),
      });
      heldOut = running.heldOut;
      try {
        if (evaluation) {
          const own = { method, measure: heldOut, data: evaluation.data, split: settings.evalSplit };
          checkHeldOutMetric(settings.evalMetric, own);
        }
      } catch (error) {
        await running.dispose();
        throw error;
      }
      return running;
    },
    logged: ({ metrics, spent }) => ({
      temperature: temperature.value,
      ...metrics,
      documentEncodes: spent.documentEncodes ?? 0,
    }),
    evaluation: evaluation && {
      metric: settings.evalMetric,
      measure: () => measure(evaluation),
      baseline: { name: BASELINE, measure: measureBaseline },
    },
    nothingToDiagnose: `${method.id} keeps no embeddings whose staleness could be measured: there is nothing to diagnose`,
    async keep(metrics, { step, ledger }) {
      // A retriever that is frozen keeps its embedding space.
      retriever.trainedSteps = stepsBefore + (isFrozen(retriever) ? 0 : step);
      const baseline = Object.keys(metrics).length > 0 ? await measureBaseline() : undefined;
      const baselines = baseline && { [BASELINE]: baseline };
      await part?.save(join(settings.out, part.prefix), { trainedSteps: step });
      await writePeftAdapter(join(settings.out, ADAPTER), retriever, { baseModel: settings.model });
      await saveRetriever(join(settings.out, MODEL), retriever, {
        card: runCard(settings, data, examples, method, { metrics, ...(baselines && { baselines }), ledger }),
      });
    },
  };
}

/** Joins the frozen weights of the retriever and of the part beside it. A run of the retriever alone has those of the retriever. */
function frozenWeights(
  own: { readonly source: string; readonly hash: string | null },
  part: TrainedPart['frozen'] | undefined,
): { source: string; hash: string | null } {
  if (!part) return own;
  const isTrained = own.hash === null && part.hash === null;
  return {
    source: `${own.source} or ${part.source}`,
    hash: isTrained ? null : `${own.hash ?? ''}/${part.hash ?? ''}`,
  };
}
