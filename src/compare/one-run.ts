import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { TrainCallbacks } from '../train/callbacks.ts';
import { readEventLog } from '../train/event-log.ts';
import { resolveSettings, type TrainOptions } from '../train/settings.ts';
import { readJson } from '../util/files.ts';
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
import type { Trainer } from './trainer.ts';

/** What is to be done for one arm and seed. */
export interface RunJob {
  readonly arm: Arm;
  readonly seed: number;
  /** Steps that the budget allows; null where the arm's own options say how long. */
  readonly length: Pick<TrainOptions, 'steps' | 'epochs'>;
  /** Folder of the comparison. */
  readonly out: string;
  readonly dataFingerprint: string;
}

/** How far a run has come. */
export type RunState =
  | { readonly kind: 'done'; readonly result: RunResult }
  /** Trained, but measured on something else than is asked for now. */
  | { readonly kind: 'trained'; readonly result: RunResult }
  | { readonly kind: 'begun' }
  | { readonly kind: 'new' }
  /** There is a run in its place that differs. */
  | { readonly kind: 'other'; readonly differences: readonly string[] };

const runFolder = ({ out, arm, seed }: RunJob): string => join(out, 'runs', runName(arm, seed));
const resultFile = (job: RunJob): string => `${runFolder(job)}.json`;

/** Options for the trainer. */
const trainOptions = (job: RunJob, data: string): TrainOptions & ComputeOptions => ({
  ...job.arm.options,
  ...job.length,
  method: job.arm.method,
  seed: job.seed,
  data,
  out: runFolder(job),
});

/** Settings to keep and compare: file names as they stand in the config file, which hold wherever it is moved to. */
function writtenSettings({ arm, length, seed }: RunJob): RunSettings {
  const options = { ...arm.written, ...length, method: arm.method, seed, data: '', out: '' };
  const { data: _, out: __, ...settings } = resolveSettings(options);
  return settings;
}

/** Looks at what lies in a run's place. */
export async function stateOfRun(job: RunJob, comparison: Comparison): Promise<RunState> {
  const result = await readRunResult(resultFile(job));
  if (result) {
    const differences = settingsDifferences(result.settings, writtenSettings(job));
    if (result.dataFingerprint !== job.dataFingerprint) {
      differences.push(`data: fingerprint ${result.dataFingerprint} then, ${job.dataFingerprint} now`);
    }
    if (differences.length > 0) return { kind: 'other', differences };
    const measured = samePlan(result.plan, comparison.evaluate);
    return { kind: measured ? 'done' : 'trained', result };
  }
  const settingsFile = join(runFolder(job), 'settings.json');
  if (!existsSync(settingsFile)) return { kind: 'new' };
  const stored = (await readJson(settingsFile)) as { fingerprint: string; settings: RunSettings };
  const now = resolveSettings(trainOptions(job, comparison.data));
  const differences = settingsDifferences(stored.settings, now);
  if (stored.fingerprint !== job.dataFingerprint) {
    differences.push(`data: fingerprint ${stored.fingerprint} then, ${job.dataFingerprint} now`);
  }
  return differences.length > 0 ? { kind: 'other', differences } : { kind: 'begun' };
}

/**
 * Brings a run to its end from wherever it stands, and writes its result beside its folder.
 *
 * @throws InterruptedError after saving, when `callbacks.signal` fires while it trains
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
  // A run that was killed before its first checkpoint has nothing to go on from.
  const saved = ['checkpoint', 'checkpoint.old'].some((name) => existsSync(join(folder, name)));
  const resume = state.kind === 'begun' && saved;
  // What was killed while its folder was being set up is no run yet; the folder's place is ours alone.
  if (state.kind === 'new') await rm(folder, { recursive: true, force: true });
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
