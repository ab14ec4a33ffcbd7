import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ComputeOptions } from '../runtime/devices.ts';
import { InterruptedError, type TrainCallbacks } from '../train/callbacks.ts';
import { UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import { type Comparison, runName } from './comparison.ts';
import { finishRun, type RunJob, type RunState, stateOfRun } from './one-run.ts';
import { type PlanContext, planSteps } from './plan-steps.ts';
import { type ComparisonResults, combineRuns, type RunFailure, readResults } from './results.ts';
import type { RunResult } from './run-result.ts';
import { realTrainer, type Trainer } from './trainer.ts';

export interface RunComparisonOptions extends ComputeOptions {
  /** Do runs again whose settings or data are no longer those of the config file. Default: refuse to start. */
  overwrite?: boolean | undefined;
  trainer?: Trainer | undefined;
}

export interface ComparisonCallbacks extends TrainCallbacks {
  /** Before a run that is not done yet. */
  onRun?: (run: { arm: string; seed: number; number: number; runs: number; state: RunState['kind'] }) => void;
  /** When it is found out how many steps a budget lasts for an arm, and when that is known. */
  onPlan?: (arm: string, steps: number | undefined) => void;
  onResult?: (result: RunResult) => void;
  onFailure?: (failure: RunFailure) => void;
}

/** Name of the file in a comparison's folder. */
export const RESULTS = 'results.json';

/**
 * Runs every arm with every seed, one after the other, and measures the models:
 *
 *     out/results.json  runs/<arm>-<seed>/  runs/<arm>-<seed>.json
 *
 * Runs that are done are not done again, a run that was stopped goes on where it stopped, to the same bytes. `results.json` is
 * written anew after each run, at the end with significance tests. A run that fails is reported, and the others go on.
 *
 * @throws InterruptedError after saving, when `callbacks.signal` fires; UndriftError where a run in the folder differs from what is
 *   asked for, before anything is started
 */
export async function runComparison(
  comparison: Comparison,
  options: RunComparisonOptions = {},
  callbacks: ComparisonCallbacks = {},
): Promise<ComparisonResults> {
  const { overwrite = false, trainer = realTrainer, ...compute } = options;
  const { out, evaluate, arms, seeds } = comparison;
  const resultsFile = join(out, RESULTS);
  // A file of that name that is not ours is not to be lost.
  if (existsSync(resultsFile)) await readResults(resultsFile);

  const data = await trainer.describeData(comparison.data, callbacks.onProgress);
  requireSplit(comparison, data.splits);
  const lengths = await lengthsOf(comparison, data.fingerprint, trainer, compute, callbacks);
  const jobs = seeds.flatMap((seed) =>
    arms.map((arm, i): RunJob => {
      return { arm, seed, length: lengths[i]!, out, dataFingerprint: data.fingerprint };
    }),
  );
  const states: RunState[] = [];
  for (const job of jobs) states.push(await stateOfRun(job, comparison));
  if (!overwrite) requireSameRuns(jobs, states, out);

  const done: RunResult[] = [];
  const failures: RunFailure[] = [];
  const { name, fingerprint, documents } = data;
  const write = async (tests: boolean) => {
    const results = combineRuns(comparison, { name, fingerprint, documents }, done, { failures, tests });
    await writeFileAtomic(resultsFile, `${JSON.stringify(results)}\n`);
    return results;
  };
  done.push(...states.flatMap((state) => (state.kind === 'done' ? [state.result] : [])));

  for (const [i, job] of jobs.entries()) {
    const state = states[i]!;
    if (state.kind === 'done') continue;
    if (callbacks.signal?.aborted) throw interrupted(`${done.length} of ${jobs.length} runs are done`);
    const { seed, arm } = job;
    callbacks.onRun?.({ arm: arm.name, seed, number: i + 1, runs: jobs.length, state: state.kind });
    try {
      const result = await finishRun(job, state, comparison, trainer, compute, callbacks);
      done.push(result);
      callbacks.onResult?.(result);
    } catch (error) {
      if (error instanceof InterruptedError)
        throw interrupted(`${runName(arm, seed)}: ${firstLine(error)}`, error);
      if (!(error instanceof UndriftError)) throw error;
      const failure = { arm: arm.name, seed, message: error.message };
      failures.push(failure);
      callbacks.onFailure?.(failure);
    }
    await write(false);
  }
  return await write(true);

  function requireSplit({ data: path }: Comparison, splits: readonly string[]): void {
    if (splits.includes(evaluate.split)) return;
    throw new UndriftError(`${path} has no split "${evaluate.split}" to measure on`, {
      help: `splits present: ${splits.join(', ') || 'none'}; choose one as "evaluate": {"split": …}`,
    });
  }
}

/** How long the runs of each arm train. */
async function lengthsOf(
  { budget, arms, out, data, seeds }: Comparison,
  dataFingerprint: string,
  trainer: Trainer,
  compute: ComputeOptions,
  callbacks: ComparisonCallbacks,
): Promise<RunJob['length'][]> {
  if (budget === null) return arms.map(() => ({}));
  const { kind, amount } = budget;
  if (kind === 'steps' || kind === 'epochs') return arms.map(() => ({ [kind]: amount }));
  const context: PlanContext = {
    data,
    dataFingerprint,
    folder: join(out, 'plans'),
    seed: seeds[0]!,
    trainer,
    compute,
    callbacks,
  };
  const lengths: RunJob['length'][] = [];
  for (const arm of arms) {
    try {
      lengths.push({ steps: await planSteps(arm, budget, context) });
    } catch (error) {
      throw error instanceof InterruptedError
        ? interrupted(`the pilot of ${arm.name} was stopped`, error)
        : error;
    }
  }
  return lengths;
}

function requireSameRuns(jobs: readonly RunJob[], states: readonly RunState[], out: string): void {
  const others = jobs.flatMap(({ arm, seed }, i) => {
    const state = states[i]!;
    return state.kind === 'other' ? [`${runName(arm, seed)}: ${state.differences.join('; ')}`] : [];
  });
  if (others.length === 0) return;
  const shown = others.slice(0, 8);
  if (others.length > shown.length) shown.push(`and ${others.length - shown.length} more`);
  throw new UndriftError(
    `${others.length} of the runs in ${out} are not those of the config file\n  ${shown.join('\n  ')}`,
    {
      help: `choose another "out" (or ${option('out')}), rename the arms, or do these runs again by ${option('overwrite', true)}`,
    },
  );
}

function interrupted(message: string, cause?: unknown): InterruptedError {
  return new InterruptedError(message, { help: 'the same command goes on from here', cause });
}

const firstLine = (error: Error): string => error.message.split('\n')[0]!;
