import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { architectures } from '../models/architectures/all.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TrainCallbacks } from '../train/callbacks.ts';
import { hasCheckpoint } from '../train/checkpoint.ts';
import { readEventLog } from '../train/event-log.ts';
import { storedSettings } from '../train/run-folder.ts';
import { defaultRate, resolveSettings, type TrainOptions } from '../train/settings.ts';
import { optionalJson } from '../util/json-objects.ts';
import type { Arm, Comparison } from './comparison.ts';
import { runName } from './comparison.ts';
import { curvesOf } from './curves.ts';
import { thisMachine } from './machine.ts';
import {
  type RunResult,
  type RunSettings,
  type RunTraining,
  readRunResult,
  samePlan,
  settingsDifferences,
  writeRunResult,
} from './run-result.ts';
import { readingOf, type Trainer } from './trainer.ts';

/** Run to do: one arm with one seed. */
export interface RunJob {
  /** Arm to train. */
  readonly arm: Arm;
  /** Seed of the run. */
  readonly seed: number;
  /** Length that the budget allows. Empty if the options of the arm determine the length. */
  readonly length: Pick<TrainOptions, 'steps' | 'epochs'>;
  /** Folder of the comparison. */
  readonly out: string;
  /** Fingerprint of the data set. */
  readonly dataFingerprint: string;
}

/** Progress of a run. */
export type RunState =
  | { readonly kind: 'done'; readonly result: RunResult }
  /** The run is trained, but its evaluation differs from the one asked for now. */
  | { readonly kind: 'trained'; readonly result: RunResult }
  | { readonly kind: 'begun' }
  | { readonly kind: 'new' }
  /** A different run occupies the folder. */
  | { readonly kind: 'other'; readonly differences: readonly string[] };

const runFolder = ({ out, arm, seed }: RunJob): string => join(out, 'runs', runName(arm, seed));
const resultFile = (job: RunJob): string => `${runFolder(job)}.json`;

/** Makes the options for the trainer. */
const trainOptions = (job: RunJob, data: string): TrainOptions & ComputeOptions => ({
  ...job.arm.options,
  ...job.length,
  method: job.arm.method,
  seed: job.seed,
  data,
  out: runFolder(job),
});

/**
 * Makes the settings to store and compare. Paths stay as written in the config file, so that they remain
 * valid if the comparison is moved.
 */
function writtenSettings({ arm, length, seed }: RunJob): RunSettings {
  const options = { ...arm.written, ...length, method: arm.method, seed, data: '', out: '' };
  const { data: _, out: __, ...settings } = resolveSettings(options);
  return settings;
}

/** Determines the state of a run from the files in its place. */
export async function stateOfRun(job: RunJob, comparison: Comparison): Promise<RunState> {
  const result = await readRunResult(resultFile(job));
  if (result) {
    const now = writtenSettings(job);
    // A rate that is not given is null now, and was a number in results of earlier versions.
    const lr = now.lr ?? (result.settings.lr == null ? null : await defaultRateOfRun(job));
    const differences = settingsDifferences(result.settings, { ...now, lr });
    const { arm, seed } = result;
    if (arm !== job.arm.name) differences.push(`arm: "${arm}" then, "${job.arm.name}" now`);
    if (seed !== job.seed) differences.push(`seed: ${seed} then, ${job.seed} now`);
    if (result.dataFingerprint !== job.dataFingerprint) {
      differences.push(`data: fingerprint ${result.dataFingerprint} then, ${job.dataFingerprint} now`);
    }
    if (differences.length > 0) return { kind: 'other', differences };
    const measured = samePlan(result.plan, comparison.evaluate);
    return { kind: measured ? 'done' : 'trained', result };
  }
  const stored = await storedSettings(runFolder(job));
  if (!stored) return { kind: 'new' };
  const now = resolveSettings(trainOptions(job, comparison.data));
  // The default rate of a given model is known to the trainer alone, which checks it when the run is resumed.
  const differences = settingsDifferences(stored.settings, {
    ...now,
    lr: now.lr ?? stored.settings.lr,
    batchSize: job.arm.options.batchSize === undefined ? stored.settings.batchSize : now.batchSize,
  });
  if (stored.fingerprint !== job.dataFingerprint) {
    differences.push(`data: fingerprint ${stored.fingerprint} then, ${job.dataFingerprint} now`);
  }
  return differences.length > 0 ? { kind: 'other', differences } : { kind: 'begun' };
}

/** Finds the default rate of a run of a given model, by the kind of the model that it trained; null if that is gone. */
async function defaultRateOfRun(job: RunJob): Promise<number | null> {
  const config = await optionalJson(join(runFolder(job), 'model', 'config.json'));
  const architecture = architectures.get(String(config?.model_type));
  return architecture ? defaultRate({ encoder: architecture }) : null;
}

/**
 * Completes a run from any state, and writes its result beside its folder.
 *
 * @throws InterruptedError after saving, when `callbacks.signal` fires during training
 */
export async function finishRun(
  job: RunJob,
  state: RunState,
  { data, evaluate: plan }: Comparison,
  trainer: Trainer,
  compute: ComputeOptions,
  callbacks: TrainCallbacks,
): Promise<RunResult> {
  if (state.kind === 'done') return state.result;
  const folder = runFolder(job);
  const training =
    state.kind === 'trained'
      ? state.result.training
      : await train(job, state, { ...trainOptions(job, data), ...compute }, trainer, callbacks);
  const { device, threads } = { ...job.arm.options, ...compute };
  const evaluation = await trainer.evaluate(join(folder, 'model'), data, plan, {
    ...(device && { device }),
    ...(threads && { threads }),
    ...readingOf({ ...job.arm.options }),
    ...(callbacks.onProgress && { onProgress: callbacks.onProgress }),
  });
  const result: RunResult = {
    arm: job.arm.name,
    seed: job.seed,
    settings: writtenSettings(job),
    dataFingerprint: job.dataFingerprint,
    training,
    plan,
    evaluation,
  };
  await writeRunResult(resultFile(job), result);
  return result;
}

async function train(
  job: RunJob,
  state: RunState,
  options: TrainOptions & ComputeOptions,
  trainer: Trainer,
  callbacks: TrainCallbacks,
): Promise<RunTraining> {
  const folder = runFolder(job);
  if (state.kind === 'other') await rm(resultFile(job), { force: true });
  // A run that was killed before its first checkpoint begins anew.
  const resume = state.kind === 'begun' && hasCheckpoint(folder);
  const result = await trainer.train(
    { ...options, ...(resume ? { resume } : { overwrite: true }) },
    callbacks,
  );
  const events = await readEventLog(join(folder, 'metrics.jsonl'));
  return {
    steps: result.steps,
    stoppedEarly: result.stoppedEarly,
    best: result.best,
    embeddingSpace: result.embeddingSpace,
    wallMs: events.at(-1)?.wallMs ?? result.seconds * 1000,
    ledger: result.ledger,
    curves: curvesOf(events),
    machine: thisMachine(),
    finished: new Date().toISOString(),
  };
}
