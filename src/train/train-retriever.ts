import { join } from 'node:path';
import type { GivenCluster } from '../cluster/cluster-options.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import type { Method, RunPlan } from '../methods/contract/method.ts';
import type { TrainedPart } from '../methods/contract/trained-part.ts';
import { methodOf } from '../methods/methods.ts';
import type { OpenEmbedder } from '../models/background/row-embedder.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { StoredEmbeddings } from '../models/retriever/stored-embeddings.ts';
import { describeTuning, isFrozen } from '../models/retriever/tuning.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { GradientMemory } from '../runtime/gradients.ts';
import { DocumentStore } from '../store/document-store.ts';
import { UsageError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { count } from '../util/format.ts';
import { option, tellNote } from '../util/option-name.ts';
import type { TrainCallbacks } from './callbacks.ts';
import { clusterRefresh } from './cluster-refresh.ts';
import { composeRun, type PreparedRun } from './compose-run.ts';
import { readEventLog } from './event-log.ts';
import type { ExampleKind, SideTokens } from './examples/example-kind.ts';
import { exampleKind } from './examples/example-kinds.ts';
import { taughtExamples } from './examples/taught-examples.ts';
import { makeRetriever } from './make-retriever.ts';
import { Batches } from './pair-batches.ts';
import { pinModels } from './pin-models.ts';
import { refreshHistory, type TableRefresh } from './refresh-history.ts';
import { type RetrieverParts, retrieverSubject } from './retriever-subject.ts';
import type { RunResult } from './run.ts';
import { checkResumed, completeRun, LOG, MODEL, readRunSettings } from './run-folder.ts';
import { checkAbsentSplit, lengthOf, NO_SPLIT, noteOtherData, runFingerprint } from './run-plan.ts';
import {
  checkSameSettings,
  defaultRate,
  methodOptions,
  resolveSettings,
  type TrainOptions,
  type TrainSettings,
} from './settings.ts';
import { withMemoryError } from './step-memory.ts';
import { unknownTextsNote } from './unknown-texts.ts';

/** Result of training a retriever. */
export interface TrainResult extends RunResult {
  /** Folder of the best model by the evaluation metric, or of the last model where nothing was evaluated. */
  model: string;
  /** Id of the model's embedding space; see `embeddingSpaceId`. */
  embeddingSpace: string;
  /** Refreshes of a table that ran beside training. */
  refreshes: readonly TableRefresh[];
  /** Splits that the model can be evaluated on: those of `evalData`, or else of `data`. */
  splits: readonly string[];
  /** Settings of the run, with defaults filled in. */
  settings: TrainSettings;
}

/** Smallest default batch size. */
const SMALLEST_BATCH = 2;
/**
 * Trains a retriever from data to a model folder:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  model/  and with LoRA adapter/
 *
 * With `cluster`, its workers embed the table of a method that is refreshed by `async:n`.
 *
 * The same options, data and number of threads give the same bytes on the same machine. So does a run that was stopped or killed,
 * and then resumed.
 *
 * @param given  functions to call during training
 * @throws UsageError for options that are unknown, out of range or contradict each other
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 */
export async function trainRetriever(
  options: TrainOptions &
    ComputeOptions &
    GradientMemory &
    GivenCluster & { resume?: boolean; overwrite?: boolean },
  given: TrainCallbacks = {},
): Promise<TrainResult> {
  const asked = resolveSettings(options);
  const openEmbedder = await clusterRefresh(options, asked, given.onNote);
  return await composeRun(options, { asked, command: 'train' }, given, (run) =>
    train(options, { asked, openEmbedder }, run),
  );
}

/** Trains in a folder that no other process writes. */
async function train(
  options: TrainOptions,
  { asked, openEmbedder }: { readonly asked: TrainSettings; readonly openEmbedder: OpenEmbedder | undefined },
  run: PreparedRun,
): Promise<TrainResult> {
  const { begun, callbacks } = run;
  const pinned = await pinModels(begun ? await withStoredBatchSize(asked, options) : asked, callbacks);
  const method = methodOf(options.method ?? pinned.method);
  const kind = exampleKind(method);
  const store =
    pinned.store === null ? undefined : await DocumentStore.open(pinned.store, pinned.out, callbacks);
  try {
    return await trainOnData(options, { pinned, method, kind, store, openEmbedder }, run);
  } finally {
    await store?.close();
  }
}

/** Loads the data of a run, and trains on it. */
async function trainOnData(
  options: TrainOptions,
  {
    pinned,
    method,
    kind,
    store,
    openEmbedder,
  }: {
    readonly pinned: TrainSettings;
    readonly method: Method;
    readonly kind: ExampleKind;
    readonly store: DocumentStore | undefined;
    readonly openEmbedder: OpenEmbedder | undefined;
  },
  run: PreparedRun,
): Promise<TrainResult> {
  const { out } = pinned;
  const { begun, progress, compute, callbacks } = run;
  const { data, evaluation } = await kind.load(
    {
      ...pinned,
      // A store alone is its own data.
      data: options.data === (pinned.store ?? undefined) ? undefined : options.data,
      evalData: options.evalData,
    },
    {
      documents: store?.documents,
      answers: method.answers,
      missingDocuments: pinned.missingDocuments,
      skipBadRows: pinned.skipBadRows,
      columns: pinned.columns ?? undefined,
      passageWords: pinned.passageWords,
      passageOverlap: pinned.passageOverlap,
      onProgress: callbacks.onProgress,
      onNote: callbacks.onNote,
    },
  );
  for (const note of data.notes) callbacks.onNote?.(note);
  const fingerprint = runFingerprint(data, evaluation, options.evalData !== undefined);
  if (options.evalData !== undefined) noteOtherData(data, evaluation, pinned, callbacks);
  if (begun) await checkResumed(out, pinned, fingerprint);
  const retriever = await makeRetriever(pinned, data, {
    ...(callbacks.onNote && { onNote: callbacks.onNote }),
    fromRun: progress === 'saved' ? out : undefined,
    besideAnother: method.openPart !== undefined,
  });
  let part: TrainedPart | undefined;
  try {
    const rated = { ...pinned, lr: pinned.lr ?? defaultRate(retriever) };
    const frozenRetriever = isFrozen(retriever);
    if (frozenRetriever) checkFrozen(rated);
    const tokens = kind.tokenize(retriever, data, { spill: store?.spill, onProgress: callbacks.onProgress });
    const stored = await storedEmbeddings(store, retriever, pinned, callbacks);
    noteUnknownTexts(retriever, kind, tokens, callbacks);
    const { teacher } = pinned;
    const taught =
      teacher === null
        ? { examples: data.examples('train'), pairs: 0 }
        : await taughtExamples(
            data,
            { teacher, data: pinned.data },
            { onProgress: callbacks.onProgress, onNote: callbacks.onNote, ...compute },
          );
    const usable = kind.usable(taught.examples, {
      documents: tokens.documents,
      settings: rated,
      method,
      answers: data.answers,
    });
    const settings = { ...rated, batchSize: batchSizeFor(usable.examples, rated, options, callbacks) };
    if (begun) checkSameSettings(await readRunSettings(out), settings, out);
    const batches = batchesOf(usable.examples, tokens.documents, settings);
    const lengths = lengthOf(settings, batches);
    const { totalSteps, totalBatches } = lengths;
    const plan: RunPlan = {
      options: methodOptions(settings),
      updates: totalSteps,
      batchSize: settings.batchSize,
      accumulate: Math.min(settings.accumulate, totalBatches),
      negativesPerQuery: usable.examples.negatives ? settings.negatives : 0,
      chunkSize: settings.chunkSize,
      dropoutRatio: settings.dropout,
      documents: data.corpus.size,
      storedDocuments: stored?.count ?? 0,
      trainingQueries: usable.examples.queryRows.length,
      dimension: retriever.dimension,
      frozenRetriever,
    };
    method.check?.(plan);
    part = await method.openPart?.({
      options: plan.options,
      seed: settings.seed,
      onProgress: callbacks.onProgress,
      onNote: callbacks.onNote,
    });
    const parts: Omit<RetrieverParts, 'evaluation'> = {
      ...{ settings, method, kind, retriever, data, tokens, batches, compute, stored, part, plan },
      openEmbedder,
      taughtPairs: taught.pairs,
      examples: usable.examples,
    };
    const evaluates = checkPlan(parts, { evaluation, leftOut: usable.note }, callbacks);
    const subject = retrieverSubject(
      {
        ...parts,
        evaluation: evaluates
          ? {
              data: evaluation,
              tokens:
                evaluation === data
                  ? tokens
                  : kind.evaluationTokens(retriever, evaluation, { onProgress: callbacks.onProgress }),
            }
          : undefined,
      },
      callbacks,
    );
    if (progress === 'saved') await completeRun(out, retriever);
    const result = await withMemoryError({ settings, tokens, memory: run.memory }, () =>
      run.train(subject, { settings, fingerprint, model: retriever, lengths }),
    );
    const model = join(out, MODEL);
    const { embeddingSpace } = (await readJson(join(model, 'undrift.json'))) as { embeddingSpace: string };
    const refreshes = refreshHistory(await readEventLog(join(out, LOG)));
    return { ...result, model, embeddingSpace, refreshes, settings, splits: evaluation.splits };
  } finally {
    await part?.dispose();
    await retriever.dispose();
  }
}

/**
 * Checks the settings of a run that trains nothing of its retriever.
 *
 * @throws UsageError for settings that only the training of a retriever has
 */
function checkFrozen({ dropout, learnTemperature }: TrainSettings): void {
  const asked = dropout > 0 ? option('dropout', dropout) : learnTemperature ? option('learnTemperature') : '';
  if (asked === '') return;
  throw new UsageError(`${asked} is for a retriever that is trained, and all of it is frozen`, {
    help: `leave it out, or freeze less (${option('freeze')})`,
  });
}

/** Opens the vectors of a store that the model at the start of a run has made; notes it where there are none. */
async function storedEmbeddings(
  store: DocumentStore | undefined,
  retriever: Retriever,
  { store: location, model }: TrainSettings,
  { onNote }: TrainCallbacks,
): Promise<StoredEmbeddings | undefined> {
  const stored = await store?.embeddings(retriever);
  const { corpus } = store?.documents ?? {};
  if (stored && stored.count < corpus!.size) {
    onNote?.(
      `${location} has vectors of ${model} for ${count(stored.count)} of ${count(corpus!.size)} documents: ` +
        'the others are embedded where the method needs them',
    );
  } else if (store && !stored) {
    onNote?.(`${location} has no vectors of ${model}: documents are embedded where the method needs them`);
  }
  return stored;
}

/** Notes sides on which many texts consist of unknown tokens alone. */
function noteUnknownTexts(
  { tokenizer }: Retriever,
  { nouns }: ExampleKind,
  { queries, documents }: SideTokens,
  { onNote }: TrainCallbacks,
): void {
  // Texts that are their own queries are one side.
  const found = [
    queries !== documents && unknownTextsNote('queries', queries, tokenizer.specialIds),
    unknownTextsNote(nouns.texts, documents, tokenizer.specialIds),
  ];
  for (const note of found) if (note) onNote?.(note);
}

/** Settings to resume with: where no batch size is given, that of the run, whose default depends on its data. */
const withStoredBatchSize = async (
  settings: TrainSettings,
  { batchSize }: Pick<TrainOptions, 'batchSize'>,
): Promise<TrainSettings> =>
  batchSize === undefined
    ? { ...settings, batchSize: (await readRunSettings(settings.out)).batchSize }
    : settings;

/** Batch size of a run: the one given, or the default, halved until a batch is no more than all examples. */
function batchSizeFor(
  { queryRows }: RetrieverParts['examples'],
  { batchSize }: TrainSettings,
  given: Pick<TrainOptions, 'batchSize'>,
  { onNote }: TrainCallbacks,
): number {
  if (given.batchSize !== undefined) return batchSize;
  let size = batchSize;
  while (size > queryRows.length && size > SMALLEST_BATCH) size /= 2;
  if (size < batchSize)
    tellNote(
      onNote,
      `${option('batchSize', size)} instead of ${batchSize}, because there are ${count(queryRows.length)} examples`,
    );
  return size;
}

const batchesOf = (
  examples: RetrieverParts['examples'],
  documents: RetrieverParts['tokens']['documents'],
  { batchSize, negatives, seed }: TrainSettings,
): Batches => new Batches(examples, documents, { batchSize, negativesPerQuery: negatives, seed });

/**
 * Notes what the run will do, and checks that method, data and splits go together.
 *
 * @returns  whether the encoder is evaluated during training
 * @throws UsageError where they do not
 */
function checkPlan(
  { settings, method, kind, retriever, data, examples, plan }: Omit<RetrieverParts, 'evaluation'>,
  { evaluation, leftOut }: { evaluation: RetrievalData; leftOut: string | undefined },
  { onNote }: TrainCallbacks,
): boolean {
  const { texts, examples: trainedOn, batch } = kind.nouns;
  onNote?.(
    `${count(data.corpus.size)} ${texts}, ${count(examples.queryRows.length)} ${trainedOn}; ` +
      `${count(plan.updates)} steps of ${count(plan.batchSize * plan.accumulate)} ${batch}`,
  );
  if (leftOut) onNote?.(leftOut);
  const trained = describeTuning(retriever);
  if (trained) onNote?.(trained);
  for (const line of method.describe(plan)) onNote?.(`${method.id}: ${line}`);
  const { evalSplit } = settings;
  const evaluates = evalSplit !== NO_SPLIT && evaluation.splits.includes(evalSplit);
  if (!evaluates) checkAbsentSplit(kind, evaluation, settings);
  if (examples.negatives && settings.negatives === 0)
    tellNote(
      onNote,
      `the data has negatives, and none of them is used: ${option('negatives')} N takes N for each query`,
    );
  if (!evaluates) {
    const why = evalSplit === NO_SPLIT ? 'no evaluation' : `no split "${evalSplit}"`;
    onNote?.(`${why}: the last model is kept, not the best`);
  }
  return evaluates;
}
