import { join } from 'node:path';
import { CostLedger } from '../objective/cost-ledger.ts';
import type { Objective } from '../objective/objective.ts';
import { findOptimizer } from '../optim/find-optimizer.ts';
import { deviceTraffic } from '../runtime/device-memory.ts';
import { Learner } from '../runtime/learner.ts';
import { LossScale } from '../runtime/loss-scale.ts';
import { DataError, UndriftError } from '../util/errors.ts';
import { type Lock, lockInside, withLock } from '../util/lock.ts';
import { option, tellNote } from '../util/option-name.ts';
import { type Baseline, InterruptedError, type TrainCallbacks } from './callbacks.ts';
import { CHECKPOINT, type Checkpoint, hasCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { EventLog } from './event-log.ts';
import { type StepReport, trainingLoop } from './loop.ts';
import { type ResolvedRunOptions, type RunOptions, resolveRunOptions, type Subject } from './subject.ts';
import { TrainingClock } from './training-clock.ts';
import { TrainingWatch } from './training-watch.ts';

/** Result of a run. */
export interface RunResult {
  /** Updates made. */
  steps: number;
  /** Whether the run ended before its last step for lack of better evaluations. */
  stoppedEarly: boolean;
  /** Best evaluation during training. Its value is null where there was none. */
  best: { step: number; value: number | null };
  /** Ranker that needs no training, measured on the evaluation's queries. Null where there was none. */
  baseline: Baseline | null;
  /** Seconds of wall time in this process, from the preparation to the last step, including evaluations and saving. */
  seconds: number;
  /** Costs of the run, by name; see `CostLedger`. */
  ledger: Readonly<Record<string, number>>;
}

const NOTHING_TO_DIAGNOSE = 'nothing is kept whose age could be measured: there is nothing to diagnose';

/** Steps between lines of the log. */
const LOG_EVERY = 10;

/**
 * Runs the training of a subject in a folder, with log, checkpoints, evaluations, diagnoses, resumption, and a stop by signal.
 *
 * The same subject, options and number of threads give the same bytes on the same machine. So does a run that was stopped or
 * killed, and then resumed.
 *
 * @throws InterruptedError when `callbacks.signal` fires, after saving
 * @throws UndriftError where the frozen weights are not those of the checkpoint, where the evaluation lacks the metric that
 *   decides, and where the loss is not finite
 */
export async function runTraining<Batch>(
  subject: Subject<Batch>,
  given: RunOptions,
  callbacks: TrainCallbacks = {},
): Promise<RunResult> {
  const options = resolveRunOptions(given);
  return await withLock(lockInside(options.folder), (lock) => runLocked(subject, options, callbacks, lock));
}

/** Runs the training in a folder that no other process writes. */
async function runLocked<Batch>(
  subject: Subject<Batch>,
  options: ResolvedRunOptions,
  callbacks: TrainCallbacks,
  lock: Lock,
): Promise<RunResult> {
  const { compute, gradientCheckpointing, precision, folder, resume = false } = options;
  const lossScale = precision === 'f16' ? new LossScale() : undefined;
  const learner = await Learner.create(subject.specs, subject.weights, findOptimizer(options.optimizer), {
    ...compute,
    stayOnDevice: true,
    lossScale,
    groups: subject.groups,
  });
  const { device = 'cpu' } = compute;
  if (device !== 'cpu') callbacks.onNote?.(`${device}: ${learner.whereWeightsAre}`);
  const ledger = new CostLedger();
  let log: EventLog | undefined;
  let objective: Objective<Batch> | undefined;
  try {
    objective = await subject.start({
      gradientBuffers: learner.gradientBuffers,
      lossScale,
      gradientCheckpointing,
      ledger,
      // Events come from steps and from work between them: the log is open by then.
      onEvent: (kind, values) =>
        log?.write({ step: learner.step, epoch: epochOf(learner.step, subject, options), kind, values }),
    });
    const checkpoint =
      resume && hasCheckpoint(folder) ? await checkedCheckpoint(subject, options) : undefined;
    if (checkpoint) {
      learner.restore(checkpoint.step, checkpoint.parameters, checkpoint.optimizer);
      await objective.restore(checkpoint.method);
      ledger.restore(checkpoint.ledger);
      if (!checkpoint.verified) callbacks.onNote?.(UNVERIFIED);
      callbacks.onNote?.(`resumed at step ${checkpoint.step}`);
    } else {
      if (resume) callbacks.onNote?.('nothing was saved yet: the run begins anew');
      await options.begin?.();
    }
    const clock = new TrainingClock();
    log = await EventLog.open(folder, {
      ...(resume && { resumeStep: checkpoint?.step ?? 0 }),
      elapsedMs: () => clock.elapsedMs,
    });
    const parts = { learner, objective, ledger, log, clock, lock, best: checkpoint?.best };
    return await new TrainingRun(subject, options, callbacks, parts).train(checkpoint === undefined);
  } finally {
    log?.close();
    await objective?.dispose();
    await subject.dispose?.();
    await learner.dispose();
  }
}

const UNVERIFIED =
  'the checkpoint was written by an earlier version, without digests: damage to it would not be noticed';

/** Run between its first and its last step. */
class TrainingRun<Batch> {
  private readonly subject: Subject<Batch>;
  private readonly options: ResolvedRunOptions;
  private readonly callbacks: TrainCallbacks;
  private readonly learner: Learner;
  private readonly objective: Objective<Batch>;
  private readonly ledger: CostLedger;
  private readonly log: EventLog;
  private readonly clock: TrainingClock;
  private readonly lock: Lock;
  private readonly watch: TrainingWatch;
  private best: Checkpoint['best'];
  private baseline: Baseline | null | undefined;
  private stoppedEarly = false;
  private workDone = 0;
  private prepareMs = 0;
  private readonly startMs = performance.now();
  private copied: { step: number; upBytes: number; downBytes: number };

  constructor(
    subject: Subject<Batch>,
    options: ResolvedRunOptions,
    callbacks: TrainCallbacks,
    parts: {
      learner: Learner;
      objective: Objective<Batch>;
      ledger: CostLedger;
      log: EventLog;
      clock: TrainingClock;
      lock: Lock;
      best: Checkpoint['best'] | undefined;
    },
  ) {
    this.subject = subject;
    this.options = options;
    this.callbacks = callbacks;
    this.learner = parts.learner;
    this.objective = parts.objective;
    this.ledger = parts.ledger;
    this.log = parts.log;
    this.clock = parts.clock;
    this.lock = parts.lock;
    this.watch = new TrainingWatch(options.totalSteps, callbacks.onNote);
    this.best = parts.best ?? { value: null, step: 0, evaluationsSince: 0 };
    this.copied = { ...deviceTraffic, step: this.learner.step };
  }

  /**
   * Trains to the last step.
   *
   * @param begins  whether the objective has to be prepared, because it was not restored from a checkpoint
   */
  async train(begins: boolean): Promise<RunResult> {
    const { subject, options, learner, objective, ledger } = this;
    if (options.diagnose > 0 && !objective.diagnose)
      this.callbacks.onNote?.(subject.nothingToDiagnose ?? NOTHING_TO_DIAGNOSE);
    if (begins) {
      await ledger.time('prepare', () => objective.begin());
      this.prepareMs = this.clock.elapsedMs;
    }
    options.trainingBegins?.();
    const { totalSteps, accumulate, weightDecay } = options;
    const warmupSteps = stepsOfWarmup(options.warmup, totalSteps);
    await trainingLoop(
      { learner, objective, batches: subject.batches, ledger, onStep: (report) => this.onStep(report) },
      {
        totalSteps,
        learningRate: options.lr,
        schedule: { name: options.schedule, warmupSteps, totalSteps },
        weightDecay,
        maxGradientNorm: options.maxGradNorm,
        accumulate,
        totalBatches: options.totalBatches,
      },
    );
    if (!subject.evaluation) await this.keep({});
    this.noteBelowBaseline();
    return {
      steps: learner.step,
      stoppedEarly: this.stoppedEarly,
      best: { step: this.best.step, value: this.best.value },
      baseline: this.baseline ?? null,
      seconds: (performance.now() - this.startMs) / 1000,
      ledger: ledger.totals,
    };
  }

  private async onStep(report: StepReport): Promise<'go on' | 'stop'> {
    const { subject, options, callbacks, ledger, clock, prepareMs } = this;
    const { step } = report;
    this.watch.step(report);
    const { totalSteps, diagnose, evalEvery, patience, saveEvery } = options;
    const last = step === totalSteps;
    this.workDone += subject.work.of(report);
    if (step % LOG_EVERY === 0 || last || step === 1) this.logStep(report);
    const perSecond = this.workDone / ((clock.elapsedMs - prepareMs) / 1000);
    callbacks.onStep?.({
      ...report,
      totalSteps,
      throughput: { unit: subject.work.unit, perSecond },
      prepareMs,
    });
    let interrupted = false;
    await clock.aside(async () => {
      if (this.objective.diagnose && diagnose > 0 && step % diagnose === 0)
        await ledger.time('diagnose', () => this.diagnose(report));
      const evaluates = subject.evaluation !== undefined && (step % evalEvery === 0 || last);
      if (evaluates) await ledger.time('evaluate', () => this.evaluate(report));
      this.stoppedEarly = evaluates && patience > 0 && this.best.evaluationsSince >= patience && !last;
      interrupted = callbacks.signal?.aborted ?? false;
      const due = saveEvery ? step % saveEvery === 0 : evaluates;
      if (due || last || this.stoppedEarly || interrupted) await ledger.time('save', () => this.save());
    });
    if (interrupted && !last) {
      throw new InterruptedError(`stopped after step ${step} of ${totalSteps}; everything is saved`, {
        help: options.resumeCommand ? `go on with: ${options.resumeCommand}` : 'resume the run to go on',
      });
    }
    return this.stoppedEarly ? 'stop' : 'go on';
  }

  private logStep(report: StepReport): void {
    const { step, epoch, trainingLoss, interpretableLoss, learningRate, gradientNorm } = report;
    const values = {
      trainingLoss,
      interpretableLoss,
      learningRate,
      gradientNorm,
      ...(this.subject.logged?.(report) ?? report.metrics),
      ...this.deviceCopies(step),
      ...this.objective.inspect(),
    };
    this.log.write({ step, epoch, kind: 'train', values });
    this.log.write({ step, epoch, kind: 'ledger', values: report.ledger });
  }

  /** Measures the baseline before the first evaluation in this process. Null where there is none. */
  private async measureBaseline(at: Pick<StepReport, 'step' | 'epoch'>): Promise<Baseline | null> {
    const baseline = this.subject.evaluation?.baseline;
    const metrics = await baseline?.measure();
    if (!baseline || !metrics) return null;
    const measured = { name: baseline.name, metrics };
    // A resumed run has it in its log.
    if (this.best.value === null) this.log.write({ ...at, kind: 'baseline', values: metrics });
    this.callbacks.onBaseline?.(measured);
    return measured;
  }

  /** Notes a run whose best model falls short of the baseline. */
  private noteBelowBaseline(): void {
    const { evaluation } = this.subject;
    const { value } = this.best;
    const theirs = this.baseline?.metrics[evaluation?.metric ?? ''];
    if (!this.baseline || !evaluation || value === null || theirs === undefined) return;
    if (evaluation.lowerIsBetter ? value <= theirs : value >= theirs) return;
    const { name } = this.baseline;
    tellNote(
      this.callbacks.onNote,
      `the best model falls short of ${name}: ${evaluation.metric} ${value.toFixed(4)} against ${theirs.toFixed(4)}, so that ${name} ` +
        `ranks better without any training; train longer (${option('epochs')}), look at ${option('lr')}, or start from a trained model`,
    );
  }

  private async evaluate({ step, epoch }: StepReport): Promise<void> {
    const { evaluation } = this.subject;
    const { metric, lowerIsBetter = false } = evaluation!;
    this.baseline ??= await this.measureBaseline({ step, epoch });
    const metrics = await evaluation!.measure();
    const value = metrics[metric];
    if (value === undefined) {
      throw new UndriftError(`the evaluation gives no ${metric}`, {
        help: `it gives ${Object.keys(metrics).join(', ')}`,
      });
    }
    const { best } = this;
    const better = best.value === null || (lowerIsBetter ? value < best.value : value > best.value);
    this.best = better
      ? { value, step, evaluationsSince: 0 }
      : { ...best, evaluationsSince: best.evaluationsSince + 1 };
    if (better) await this.keep(metrics);
    this.log.write({ step, epoch, kind: 'eval', values: metrics });
    this.callbacks.onEvaluation?.({ step, metrics, best: better });
  }

  private async diagnose({ step, epoch }: StepReport): Promise<void> {
    const values = await this.objective.diagnose!();
    this.log.write({ step, epoch, kind: 'diagnosis', values });
    this.callbacks.onDiagnosis?.({ step, values });
  }

  private async keep(metrics: Readonly<Record<string, number>>): Promise<void> {
    await this.lock.check();
    await this.learner.bringToHost();
    await this.subject.keep(metrics, { step: this.learner.step, ledger: this.ledger.totals });
  }

  private async save(): Promise<void> {
    const { learner, options } = this;
    // A folder that was removed is not made again: what lies in it would not be a whole run.
    await this.lock.check();
    this.log.flush();
    await learner.bringToHost();
    const checkpoint = {
      step: learner.step,
      parameters: learner.parameters,
      frozen: this.subject.frozen?.hash ?? null,
      optimizer: learner.state().tensors,
      method: this.objective.state(),
      best: this.best,
      ledger: this.ledger.totals,
    };
    await writeCheckpoint(options.folder, checkpoint, options.identity);
  }

  /** Returns the bytes per step that were copied to and from the device since the last line of the log. */
  private deviceCopies(step: number): Record<string, number> {
    const { device = 'cpu' } = this.options.compute;
    if (device === 'cpu') return {};
    const steps = Math.max(1, step - this.copied.step);
    const perStep = (name: 'upBytes' | 'downBytes') => (deviceTraffic[name] - this.copied[name]) / steps;
    const found = { deviceUpBytes: perStep('upBytes'), deviceDownBytes: perStep('downBytes') };
    this.copied = { ...deviceTraffic, step };
    return found;
  }
}

function epochOf<Batch>(step: number, { batches }: Subject<Batch>, options: ResolvedRunOptions): number {
  const { accumulate, totalBatches = Number.POSITIVE_INFINITY } = options;
  return Math.min(step * accumulate, totalBatches) / batches.perEpoch;
}

const stepsOfWarmup = (warmup: number, totalSteps: number): number =>
  warmup < 1 ? Math.round(warmup * totalSteps) : Math.round(warmup);

/** Reads the checkpoint of a run, and checks that the subject can go on from it. */
async function checkedCheckpoint<Batch>(
  { frozen }: Subject<Batch>,
  { folder, identity, totalSteps }: ResolvedRunOptions,
): Promise<Awaited<ReturnType<typeof readCheckpoint>>> {
  const checkpoint = await readCheckpoint(folder, identity);
  if (checkpoint.step > totalSteps) {
    throw new DataError(`step ${checkpoint.step} is after the last step ${totalSteps} of the run`, {
      file: join(folder, CHECKPOINT, 'state.json'),
      help: 'the checkpoint is that of another run, or damaged',
    });
  }
  if (checkpoint.frozen !== (frozen?.hash ?? null)) {
    throw new UndriftError(
      `${frozen?.source ?? 'the subject'} is not the model that the run in ${folder} was started from`,
      {
        help: 'its frozen weights are others, and they are no part of the checkpoint: resume with the same model',
      },
    );
  }
  return checkpoint;
}
