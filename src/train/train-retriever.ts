import { join } from 'node:path';
import { HELD_OUT } from '../data/held-out.ts';
import type { RunningMethod } from '../methods/contract/method.ts';
import { findMethod } from '../methods/methods.ts';
import { diagnosisProbe } from '../methods/table/diagnosis-probe.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { writePeftAdapter } from '../models/folder/peft-adapter.ts';
import type { Retriever } from '../models/retriever/retriever.ts';
import { describeTuning, frozenHash } from '../models/retriever/tuning.ts';
import { CostLedger } from '../objective/cost-ledger.ts';
import { Temperature } from '../objective/temperature.ts';
import { findOptimizer } from '../optim/find-optimizer.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import { evaluateScoredPairs } from '../retrieval/evaluate-scored-pairs.ts';
import { checkDevice } from '../runtime/check-device.ts';
import { checkPrecision } from '../runtime/check-precision.ts';
import { deviceTraffic } from '../runtime/device-memory.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { Learner } from '../runtime/learner.ts';
import { LossScale } from '../runtime/loss-scale.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { readJson } from '../util/files.ts';
import { type Checkpoint, writeCheckpoint } from './checkpoint.ts';
import { EventLog, readEventLog } from './event-log.ts';
import { type StepReport, trainingLoop } from './loop.ts';
import { makeRetriever } from './make-retriever.ts';
import { Batches } from './pair-batches.ts';
import { pinModels } from './pin-models.ts';
import { refreshHistory, type TableRefresh } from './refresh-history.ts';
import { runCard } from './run-card.ts';
import { ADAPTER, checkFree, LOG, MODEL, openRun, startRun } from './run-folder.ts';
import { methodOptions, resolveSettings, type TrainOptions, type TrainSettings } from './settings.ts';
import { tokenize, tokenizeWhole } from './tokenize-data.ts';
import { TrainingClock } from './training-clock.ts';
import { loadTrainingData, usableExamples } from './training-data.ts';

/** What a run tells while it goes on. */
export interface TrainCallbacks {
  /** One-time facts: what was loaded, how many negatives a query sees, what was assumed. */
  onNote?: (note: string) => void;
  onProgress?: (stage: string, done: number, total: number) => void;
  /** The same of work that goes on beside steps. */
  onBackground?: (stage: string, done: number, total: number) => void;
  onStep?: (report: ReportedStep) => void;
  /** What staleness does to the training, every so many steps where `diagnose` says so; see `TableProbe`. */
  onDiagnosis?: (diagnosis: { step: number; values: Readonly<Record<string, number>> }) => void;
  onEvaluation?: (evaluation: {
    step: number;
    metrics: Readonly<Record<string, number>>;
    best: boolean;
  }) => void;
  /** Aborted by Ctrl-C: the run saves after the current step and throws `InterruptedError`; while it still reads, at once. */
  signal?: AbortSignal;
}

export interface ReportedStep extends StepReport {
  totalSteps: number;
  /** Texts embedded per second of training, in this process. */
  textsPerSecond: number;
  /** Time that was taken before the first step: to fill a cache, to mine. 0 where the run was resumed. */
  prepareMs: number;
}

export interface TrainResult {
  /** Folder of the best model by the evaluation metric, or of the last one where nothing was evaluated. */
  model: string;
  steps: number;
  stoppedEarly: boolean;
  /** Best evaluation during training; null where there was none. */
  best: { step: number; value: number | null };
  embeddingSpace: string;
  seconds: number;
  /** What was spent, by name; see `CostLedger`. */
  ledger: Readonly<Record<string, number>>;
  /** Refreshes of a table beside training: which weights made it, and from which step on it was used. */
  refreshes: readonly TableRefresh[];
  settings: TrainSettings;
}

/** A run that was stopped by its user; everything is saved. */
export class InterruptedError extends UndriftError {}

/** Asks for no evaluation during training, whatever splits there are. */
const NO_SPLIT = 'none';

/** Steps between lines of the log. */
const LOG_EVERY = 10;

/**
 * Trains a retriever from data to a model folder:
 *
 *     out/settings.json  metrics.jsonl  tensorboard/  checkpoint/  model/  and with LoRA adapter/
 *
 * With the same options, data and number of threads, the same machine gives the same bytes; so does a run that was stopped, or
 * killed, and resumed.
 *
 * @throws InterruptedError when `signal` fires: after saving, where there is anything to save
 */
export async function trainRetriever(
  options: TrainOptions & ComputeOptions & { resume?: boolean; overwrite?: boolean },
  given: TrainCallbacks = {},
): Promise<TrainResult> {
  /** Whether there is something to save. */
  let training = false;
  const callbacks: TrainCallbacks = {
    ...given,
    onProgress(...progress) {
      // Later on what a method does between two steps is finished, and then saved.
      if (given.signal?.aborted && !training) throw new InterruptedError('stopped before training began');
      given.onProgress?.(...progress);
    },
  };
  const { device, threads, resume = false, overwrite = false, ...own } = options;
  const compute: ComputeOptions = { ...(device && { device }), ...(threads && { threads }) };
  const asked = resolveSettings(own);
  const { out } = asked;
  const method = findMethod(asked.method);
  const optimizer = findOptimizer(asked.optimizer);
  const { precision } = asked;
  await checkDevice(compute);
  await checkPrecision(precision, compute);
  if (!resume) await checkFree(out, overwrite);
  const settings = await pinModels(asked, callbacks);

  const { data, evaluation } = await loadTrainingData(settings, method, {
    onProgress: ({ bytes, totalBytes }) => callbacks.onProgress?.('read', bytes, totalBytes),
    onDownload: ({ done, total }) => callbacks.onProgress?.('download', done, total),
    onNote: callbacks.onNote,
  });
  for (const note of data.notes) callbacks.onNote?.(note);
  const fingerprint = data.fingerprint;
  const checkpoint = resume ? await openRun(out, settings, fingerprint) : undefined;
  const retriever = await makeRetriever(settings, data, {
    ...(callbacks.onNote && { onNote: callbacks.onNote }),
    fromRun: resume ? out : undefined,
  });

  const onTexts = method.trainsOn === 'texts';
  const onPairs = method.trainsOn === 'scored-pairs';
  const documents = onTexts
    ? tokenizeWhole(retriever, data, callbacks)
    : tokenize(retriever, 'document', data, callbacks);
  const queries = onTexts ? documents : tokenize(retriever, 'query', data, callbacks);
  const { examples, note: leftOut } = usableExamples(method, data.examples('train'), {
    documents,
    file: settings.data,
    loss: settings.loss,
  });
  const { batchSize, negatives, accumulate, seed } = settings;
  const batches = new Batches(examples, documents, { batchSize, negativesPerQuery: negatives, seed });
  const stepsPerEpoch = batches.perEpoch / accumulate;
  const totalSteps = settings.steps ?? Math.max(1, Math.round(settings.epochs * stepsPerEpoch));
  const evalEvery = settings.evalEvery ?? Math.max(1, Math.ceil(totalSteps / 10));
  const evaluated = settings.evalSplit !== NO_SPLIT && evaluation.splits.includes(settings.evalSplit);
  const count = (value: number) => value.toLocaleString('en-US');
  callbacks.onNote?.(
    `${count(data.corpus.size)} ${onPairs ? 'second texts' : 'documents'}, ${count(examples.queryRows.length)} ` +
      `${onTexts ? 'of them trained on' : onPairs ? 'training pairs' : 'training queries'}; ` +
      `${count(totalSteps)} steps of ${count(batchSize * accumulate)} ${onTexts ? 'documents' : onPairs ? 'pairs' : 'queries'}`,
  );
  if (leftOut) callbacks.onNote?.(leftOut);
  const plan = {
    options: methodOptions(settings),
    updates: totalSteps,
    batchSize,
    accumulate,
    negativesPerQuery: examples.negatives ? negatives : 0,
    chunkSize: settings.chunkSize,
    dropoutRatio: settings.dropout,
    documents: data.corpus.size,
    trainingQueries: examples.queryRows.length,
    dimension: retriever.dimension,
  };
  const trained = describeTuning(retriever);
  if (trained) callbacks.onNote?.(trained);
  method.check?.(plan);
  for (const line of method.describe(plan)) callbacks.onNote?.(`${method.id}: ${line}`);
  const asksForSplit = ![NO_SPLIT, onTexts ? HELD_OUT : 'dev'].includes(settings.evalSplit);
  if (!evaluated && asksForSplit) {
    throw new UsageError(`no split "${settings.evalSplit}" to evaluate on during training`, {
      help: `splits present: ${[...(onTexts ? [HELD_OUT] : []), ...evaluation.splits].join(', ')}; "${NO_SPLIT}" for no evaluation`,
    });
  }
  if (examples.negatives && negatives === 0) {
    callbacks.onNote?.(
      'the data has negatives, and none of them is used: --negatives N takes N for each query',
    );
  }
  if (!evaluated) {
    const why = settings.evalSplit === NO_SPLIT ? 'no evaluation' : `no split "${settings.evalSplit}"`;
    callbacks.onNote?.(`${why}: the last model is kept, not the best`);
  }
  const ownTokens = (side: 'query' | 'document') => tokenize(retriever, side, evaluation, callbacks);
  const evaluationTokens =
    onTexts && evaluated
      ? { queries: ownTokens('query'), documents: ownTokens('document') }
      : { queries, documents };

  const temperature = new Temperature(settings.temperature, { learned: settings.learnTemperature });
  const weights = { ...retriever.weights, ...temperature.weights };
  const frozen = frozenHash(retriever);
  const lossScale = precision === 'f16' ? new LossScale() : undefined;
  const learner = await Learner.create([...retriever.specs, ...temperature.specs], weights, optimizer, {
    ...compute,
    stayOnDevice: true,
    lossScale,
  });
  if (device && device !== 'cpu') callbacks.onNote?.(`${device}: ${learner.whereWeightsAre}`);
  const ledger = new CostLedger();
  const running = await method.start({
    retriever,
    weights,
    gradientBuffers: learner.gradientBuffers,
    queries,
    documents,
    positives: data.positiveSets('train'),
    temperature,
    dropoutRatio: settings.dropout,
    chunkSize: settings.chunkSize,
    seed,
    compute,
    precision,
    ...(lossScale && { lossScale }),
    options: methodOptions(settings),
    ledger,
    texts: { query: (row) => data.queries.text(row), document: (row) => data.corpus.text(row) },
    examples,
    folder: out,
    totalSteps,
    // Comes from steps, and from what is between them: the log is open by then.
    onEvent: (kind, values) => {
      const step = learner.step;
      log.write({ step, epoch: (step * accumulate) / batches.perEpoch, kind, values });
    },
    ...(callbacks.onProgress && { onProgress: callbacks.onProgress }),
    ...(callbacks.onBackground && { onBackground: callbacks.onBackground }),
    ...(callbacks.onNote && { onNote: callbacks.onNote }),
    ...(callbacks.signal && { signal: callbacks.signal }),
  });

  let best: Checkpoint['best'] = { value: null, step: 0, evaluationsSince: 0 };
  if (checkpoint) {
    if (checkpoint.frozen !== frozen) {
      throw new UndriftError(`${settings.model} is not the model that the run in ${out} was started from`, {
        help: 'its frozen weights are others, and they are no part of the checkpoint: resume with the same model',
      });
    }
    learner.restore(checkpoint.step, checkpoint.parameters, checkpoint.optimizer);
    await running.restore(checkpoint.method);
    ledger.restore(checkpoint.ledger);
    best = checkpoint.best;
    callbacks.onNote?.(`resumed at step ${checkpoint.step}`);
  }
  // Not before everything that can be wrong with data, options and device has been seen: an earlier run is replaced here.
  else if (!resume) await startRun(out, settings, fingerprint, retriever);
  const clock = new TrainingClock();
  const startMs = performance.now();
  const log = await EventLog.open(out, {
    ...(resume && { resumeStep: checkpoint?.step ?? 0 }),
    elapsedMs: () => clock.elapsedMs,
  });
  if (settings.diagnose > 0 && !running.diagnose)
    callbacks.onNote?.(
      `${method.id} keeps no embeddings whose staleness could be measured: there is nothing to diagnose`,
    );
  const probe = diagnosisProbe(examples, seed);
  const stepsBefore = retriever.trainedSteps;
  const model = join(out, MODEL);
  let stoppedEarly = false;
  let textsSeen = 0;
  let prepareMs = 0;
  let copied = { ...deviceTraffic, step: learner.step };

  const keepModel = async (metrics: Readonly<Record<string, number>>) => {
    retriever.trainedSteps = stepsBefore + learner.step;
    await learner.bringToHost();
    await writePeftAdapter(join(out, ADAPTER), retriever, { baseModel: settings.model });
    return await saveRetriever(model, retriever, {
      card: runCard(settings, data, method, { metrics, ledger: ledger.totals }),
    });
  };
  const evaluate = async (report: StepReport): Promise<void> => {
    const common = { tokens: evaluationTokens, ...compute };
    const measured = onPairs
      ? await evaluateScoredPairs(retriever, evaluation, settings.evalSplit, {
          limitPairs: settings.evalQueries,
          ...common,
        })
      : await evaluateRetriever(retriever, evaluation, settings.evalSplit, {
          metrics: [...new Set([settings.evalMetric, 'ndcg@10', 'mrr@10', 'recall@10'])],
          limitQueries: settings.evalQueries,
          ...common,
        });
    const metrics: Readonly<Record<string, number>> = measured.metrics;
    const value = metrics[settings.evalMetric]!;
    const better = best.value === null || value > best.value;
    best = better
      ? { value, step: report.step, evaluationsSince: 0 }
      : { ...best, evaluationsSince: best.evaluationsSince + 1 };
    if (better) await keepModel(metrics);
    log.write({ step: report.step, epoch: report.epoch, kind: 'eval', values: metrics });
    callbacks.onEvaluation?.({ step: report.step, metrics, best: better });
  };
  const diagnose = async ({ step, epoch }: StepReport): Promise<void> => {
    const values = await running.diagnose!(probe);
    log.write({ step, epoch, kind: 'diagnosis', values });
    callbacks.onDiagnosis?.({ step, values });
  };
  const save = async (): Promise<void> => {
    log.flush();
    await learner.bringToHost();
    await writeCheckpoint(out, {
      step: learner.step,
      parameters: learner.parameters,
      frozen,
      optimizer: learner.state().tensors,
      method: running.state(),
      best,
      ledger: ledger.totals,
    });
  };

  /** Bytes copied to and from the device, a step, since the last line of the log. */
  const deviceCopies = (step: number): Record<string, number> => {
    if (!device || device === 'cpu') return {};
    const steps = Math.max(1, step - copied.step);
    const perStep = (name: 'upBytes' | 'downBytes') => (deviceTraffic[name] - copied[name]) / steps;
    const found = { deviceUpBytes: perStep('upBytes'), deviceDownBytes: perStep('downBytes') };
    copied = { ...deviceTraffic, step };
    return found;
  };

  const onStep = async (report: StepReport): Promise<'go on' | 'stop'> => {
    const { step, epoch, learningRate, gradientNorm, trainingLoss, interpretableLoss, metrics } = report;
    textsSeen += report.encodes.queries + report.encodes.documents;
    const last = step === totalSteps;
    if (step % LOG_EVERY === 0 || last || step === 1) {
      const values = {
        trainingLoss,
        interpretableLoss,
        learningRate,
        gradientNorm,
        temperature: temperature.value,
        ...metrics,
        documentEncodes: report.encodes.documents,
        ...deviceCopies(step),
        ...running.inspect(),
      };
      log.write({ step, epoch, kind: 'train', values });
      log.write({ step, epoch, kind: 'ledger', values: report.ledger });
    }
    const textsPerSecond = textsSeen / ((clock.elapsedMs - prepareMs) / 1000);
    callbacks.onStep?.({ ...report, totalSteps, textsPerSecond, prepareMs });
    let interrupted = false;
    await clock.aside(async () => {
      if (running.diagnose && settings.diagnose > 0 && step % settings.diagnose === 0)
        await ledger.time('diagnose', () => diagnose(report));
      const evaluates = evaluated && (step % evalEvery === 0 || last);
      if (evaluates) await ledger.time('evaluate', () => evaluate(report));
      stoppedEarly =
        evaluates && settings.patience > 0 && best.evaluationsSince >= settings.patience && !last;
      interrupted = callbacks.signal?.aborted ?? false;
      const due = settings.saveEvery ? step % settings.saveEvery === 0 : evaluates;
      if (due || last || stoppedEarly || interrupted) await ledger.time('save', save);
    });
    if (interrupted && !last) {
      throw new InterruptedError(`stopped after step ${step} of ${totalSteps}; everything is saved`, {
        help: `go on with: undrift train --out ${out} --resume`,
      });
    }
    return stoppedEarly ? 'stop' : 'go on';
  };

  try {
    if (!checkpoint) {
      await ledger.time('prepare', () => running.begin());
      prepareMs = clock.elapsedMs;
    }
    training = true;
    await trainingLoop(
      { learner, method: running, batches, ledger, onStep },
      {
        totalSteps,
        learningRate: settings.lr,
        schedule: {
          name: settings.schedule,
          warmupSteps: warmupSteps(settings.warmup, totalSteps),
          totalSteps,
        },
        weightDecay: settings.weightDecay,
        maxGradientNorm: settings.maxGradNorm,
        accumulate,
      },
    );
    if (!evaluated) await keepModel({});
  } finally {
    log.close();
    await release(running, learner, retriever);
  }
  const { embeddingSpace } = (await readJson(join(model, 'undrift.json'))) as { embeddingSpace: string };
  const seconds = (performance.now() - startMs) / 1000;
  return {
    model,
    steps: learner.step,
    stoppedEarly,
    best: { step: best.step, value: best.value },
    embeddingSpace,
    seconds,
    ledger: ledger.totals,
    refreshes: refreshHistory(await readEventLog(join(out, LOG))),
    settings,
  };
}

const warmupSteps = (warmup: number, totalSteps: number): number =>
  warmup < 1 ? Math.round(warmup * totalSteps) : Math.round(warmup);

async function release(running: RunningMethod, learner: Learner, retriever: Retriever): Promise<void> {
  await running.dispose();
  await learner.dispose();
  await retriever.dispose();
}
