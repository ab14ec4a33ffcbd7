import { join } from 'node:path';
import { dataKind } from '../../data/documents.ts';
import { findData } from '../../data/find-data.ts';
import { loadData } from '../../data/load.ts';
import type { RetrievalData } from '../../data/retrieval-data.ts';
import { loadScoredPairs } from '../../data/scored-pairs.ts';
import type { CrossEncoderLoss } from '../../methods/contract/loss-names.ts';
import type { ScoreActivation } from '../../models/cross-encoder/cross-encoder.ts';
import { CrossEncoder } from '../../models/cross-encoder/cross-encoder.ts';
import { readCrossEncoder } from '../../models/cross-encoder/load-cross-encoder.ts';
import { PairTokens } from '../../models/cross-encoder/pair-tokens.ts';
import { findModel, pinModel } from '../../models/folder/find-model.ts';
import type { GradientMemory } from '../../runtime/gradients.ts';
import { count, plural } from '../../util/format.ts';
import { option } from '../../util/option-name.ts';
import type { TrainCallbacks } from '../callbacks.ts';
import { composeRun, type PreparedRun } from '../compose-run.ts';
import { loadBoth } from '../examples/pairs.ts';
import { CROSS_ENCODER_METHOD } from '../options.ts';
import { Batches } from '../pair-batches.ts';
import type { RunResult } from '../run.ts';
import { checkResumed, MODEL } from '../run-folder.ts';
import { checkAbsentSplit, lengthOf, NO_SPLIT, noteOtherData, runFingerprint } from '../run-plan.ts';
import { explainingMemory, orCheckpointing } from '../step-memory.ts';
import { type ListExamples, listExamples, randomNegatives } from './list-examples.ts';
import type { CrossEncoderTrainOptions } from './options.ts';
import { type CrossEncoderSettings, metricFor, resolveCrossEncoderSettings } from './settings.ts';
import { crossEncoderSubject } from './subject.ts';

/** Result of training a cross-encoder. */
export interface CrossEncoderTrainResult extends RunResult {
  /** Folder of the best model by the evaluation metric, or of the last model where nothing was evaluated. */
  readonly model: string;
  /** Splits that the model can be evaluated on: those of `evalData`, or else of `data`. */
  readonly splits: readonly string[];
  /** Settings of the run, with defaults filled in. */
  readonly settings: CrossEncoderSettings;
}

/**
 * Trains a cross-encoder from data to a model folder, which `loadCrossEncoder` and sentence-transformers read:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  model/
 *
 * The data are queries with their documents, of which each step scores a positive and `negatives` negatives a query, or pairs of texts
 * with a score each. An evaluation reranks the best documents of BM25 for the queries of the split.
 *
 * The same options, data and number of threads give the same bytes on the same machine. So does a run that was stopped or killed, and
 * then resumed.
 *
 * @throws UsageError for options that are unknown, out of range or contradict each other
 * @throws InterruptedError when `signal` fires, after saving what there is to save
 */
export async function trainCrossEncoder(
  options: CrossEncoderTrainOptions,
  given: TrainCallbacks = {},
): Promise<CrossEncoderTrainResult> {
  const asked = resolveCrossEncoderSettings(options);
  return await composeRun(options, { asked, command: 'train' }, given, (run) => train(options, asked, run));
}

/** Trains in a folder that no other process writes. */
async function train(
  options: CrossEncoderTrainOptions,
  asked: CrossEncoderSettings,
  { begun, compute, callbacks, ...run }: PreparedRun,
): Promise<CrossEncoderTrainResult> {
  const { onProgress, onNote } = callbacks;
  const { out } = asked;
  const pinned = { ...asked, model: await pinModel(asked.model, { option: 'model', onProgress, onNote }) };
  const { data, evaluation, scored } = await loadOf(options, pinned, callbacks);
  for (const note of data.notes) onNote?.(note);
  if (options.evalData !== undefined) noteOtherData(data, evaluation, pinned, callbacks);
  const list = await listExamples(data, pinned, { scored, onProgress });
  const settings: CrossEncoderSettings = {
    ...pinned,
    loss: list.loss,
    negativesFrom: list.negativesFrom,
    evalMetric: metricFor(pinned, scored),
  };
  const fingerprint = runFingerprint(data, evaluation, options.evalData !== undefined);
  if (begun) await checkResumed(out, settings, fingerprint);
  const crossEncoder = await modelOf(settings, list.loss, callbacks);
  try {
    const tokens = new PairTokens(crossEncoder, {
      query: (row) => data.queries.text(row),
      document: (row) => data.corpus.text(row),
    });
    const { batchSize, negatives, seed } = settings;
    const ordered = new Batches(list.examples, tokens, { batchSize, negativesPerQuery: negatives, seed });
    const batches =
      list.negativesFrom === 'random' ? randomNegatives(ordered, data, { negatives, seed }) : ordered;
    const lengths = lengthOf(settings, batches);
    const evaluates = notePlan(
      settings,
      { data, evaluation, list, totalSteps: lengths.totalSteps },
      callbacks,
    );
    const subject = crossEncoderSubject(
      {
        ...{ settings, crossEncoder, data, list, batches, tokens, scored, compute },
        evaluation: evaluates ? evaluation : undefined,
      },
      callbacks,
    );
    const result = await withRemedy(settings, run.memory, () =>
      run.train(subject, { settings, fingerprint, model: crossEncoder, lengths }),
    );
    return { ...result, model: join(out, MODEL), settings, splits: evaluation.splits };
  } finally {
    await crossEncoder.dispose();
  }
}

/** Loads the data of a run: queries with documents, or pairs with a score each. */
async function loadOf(
  { data, evalData }: CrossEncoderTrainOptions,
  settings: CrossEncoderSettings,
  { onProgress, onNote }: TrainCallbacks,
): Promise<{ data: RetrievalData; evaluation: RetrievalData; scored: boolean }> {
  const named = settings as unknown as Pick<
    CrossEncoderTrainOptions,
    'missingDocuments' | 'skipBadRows' | 'columns' | 'passageWords' | 'passageOverlap'
  >;
  const options = {
    missingDocuments: named.missingDocuments,
    skipBadRows: named.skipBadRows,
    columns: named.columns ?? undefined,
    passageWords: named.passageWords,
    passageOverlap: named.passageOverlap,
    onProgress,
    onNote,
  };
  const scored =
    typeof data === 'string'
      ? (await dataKind(await findData(data, options), options)) === 'scored pairs'
      : 'scoredPairs' in data;
  const load = scored ? loadScoredPairs : loadData;
  const { evalSplit } = settings;
  return { ...(await loadBoth(load, { data, evalData, evalSplit }, options)), scored };
}

/**
 * Reads the model to start from, with a new head for an encoder without one.
 *
 * Losses decide on the activation: `bce` fits probabilities, losses that follow scores fit the logits themselves. `softmax` fits
 * either, so a given cross-encoder keeps its own.
 */
async function modelOf(
  { model, maxTokens, seed }: CrossEncoderSettings,
  loss: CrossEncoderLoss,
  { onNote, onProgress }: TrainCallbacks,
): Promise<CrossEncoder> {
  const folder = await findModel(model, [], { onProgress, onNote });
  let isNew = false;
  const read = await readCrossEncoder(folder, {
    maxTokens: maxTokens ?? undefined,
    newHead: { seed },
    onNewHead: () => {
      isNew = true;
    },
    onNote: (note) => onNote?.(note),
  });
  const kept = isNew ? 'identity' : read.config.activation;
  const activation: ScoreActivation = loss === 'bce' ? 'sigmoid' : loss === 'softmax' ? kept : 'identity';
  if (activation === read.config.activation) return read;
  const { config, tokenizer, weights, trainedSteps } = read;
  return new CrossEncoder({ ...config, activation }, tokenizer, { weights, trainedSteps });
}

/**
 * Notes what the run will do, and checks its splits.
 *
 * @returns  whether the model is evaluated during training
 */
function notePlan(
  settings: CrossEncoderSettings,
  {
    data,
    evaluation,
    list,
    totalSteps,
  }: { data: RetrievalData; evaluation: RetrievalData; list: ListExamples; totalSteps: number },
  { onNote }: TrainCallbacks,
): boolean {
  const { batchSize, accumulate, evalSplit, rerankDepth } = settings;
  const { negatives, negativesFrom, loss, note, examples } = list;
  const pairs = batchSize * accumulate * (1 + negatives);
  onNote?.(
    `${count(data.corpus.size)} documents, ${count(examples.queryRows.length)} training examples; ` +
      `${count(totalSteps)} steps of ${count(pairs)} pairs`,
  );
  if (note) onNote?.(note);
  const sources = { data: 'of the data', bm25: 'that BM25 ranks high', random: 'drawn at random' };
  onNote?.(
    `${CROSS_ENCODER_METHOD}: loss ${loss}` +
      (negativesFrom === null
        ? ', pairs with a score each'
        : `; each query's positive and ${plural(negatives, 'negative')} ${sources[negativesFrom]}`),
  );
  const evaluates = evalSplit !== NO_SPLIT && evaluation.splits.includes(evalSplit);
  if (!evaluates) {
    checkAbsentSplit({ evalSplit: 'dev', ownSplits: [] }, evaluation, settings);
    const why = evalSplit === NO_SPLIT ? 'no evaluation' : `no split "${evalSplit}"`;
    onNote?.(`${why}: the last model is kept, not the best`);
  } else if (negativesFrom !== null) {
    onNote?.(
      `an evaluation reranks the ${count(rerankDepth)} best documents of BM25 for each query of ${evalSplit}`,
    );
  }
  return evaluates;
}

/** Runs training. Memory that runs out becomes an error that says what needs less. */
const withRemedy = <R>(
  { batchSize, negatives }: CrossEncoderSettings,
  memory: GradientMemory,
  train: () => Promise<R>,
): Promise<R> =>
  explainingMemory(train, () => ({
    batches: `batches of ${plural(batchSize * (1 + negatives), 'pair')}`,
    help: `take ${orCheckpointing(memory)}${option('batchSize', Math.max(2, Math.floor(batchSize / 2)))}, or shorten the pairs by ${option('maxTokens')}`,
  }));
