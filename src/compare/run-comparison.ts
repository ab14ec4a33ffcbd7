import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BASELINE } from '../retrieval/baseline.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { type Baseline, InterruptedError, type TrainCallbacks } from '../train/callbacks.ts';
import { GIVEN_MODEL_OPTIONS } from '../train/make-retriever.ts';
import { UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { type Lock, lockInside, withLock } from '../util/lock.ts';
import { option } from '../util/option-name.ts';
import { removeLeftoversIn } from '../util/temporary-name.ts';
import { type Arm, type Comparison, runName } from './comparison.ts';
import { finishRun, type RunJob, type RunState, stateOfRun } from './one-run.ts';
import { type PlanContext, planSteps } from './plan-steps.ts';
import {
  type ArmSettings,
  type ComparisonResults,
  combineRuns,
  type RunFailure,
  readResults,
} from './results.ts';
import { type RunResult, samePlan } from './run-result.ts';
import { readingOf, realTrainer, type Trainer } from './trainer.ts';
import { REPORT } from './write-report.ts';

/** Options of a comparison that are not part of its config. */
export interface ComparisonOptions extends ComputeOptions {
  /** Repeats runs whose settings or data no longer match the config. Default: throws an error. */
  overwrite?: boolean | undefined;
}

/** Options of `runComparison`. */
export interface RunComparisonOptions extends ComparisonOptions {
  /** Trainer that does the runs. Default: the package's own training and evaluation. */
  trainer?: Trainer | undefined;
}

/** Callbacks of `runComparison`. */
export interface ComparisonCallbacks extends TrainCallbacks {
  /** Called before each run that is not done yet. `number` counts the runs from 1. */
  onRun?: (run: { arm: string; seed: number; number: number; runs: number; state: RunState['kind'] }) => void;
  /**
   * Called before the cost of an arm is measured, without `steps`, and again with the number of steps that
   * fit into the budget.
   */
  onPlan?: (arm: string, steps: number | undefined) => void;
  /** Called after each run. */
  onResult?: (result: RunResult) => void;
  /** Called after each run that failed. */
  onFailure?: (failure: RunFailure) => void;
  /** Puts the error of a failed run into words, for its `message`. Default: the error's own, with options named as in the library. */
  describe?: (error: UndriftError) => string;
}

/** Name of the result file in the folder of a comparison. */
export const RESULTS = 'results.json';
/** Folder of the plans of arms, in the folder of a comparison. */
const PLANS = 'plans';

/**
 * Runs every arm with every seed, one after the other, and evaluates the models.
 *
 *     out/results.json  runs/<arm>-<seed>/  runs/<arm>-<seed>.json
 *
 * Finished runs are kept. A run that was stopped is resumed and gives the same bytes. `results.json` is
 * rewritten after each run, and at the end with significance tests. A failed run is reported, and the
 * remaining runs continue.
 *
 * @throws InterruptedError after saving, when `callbacks.signal` fires
 * @throws UndriftError before any training, if a run in the folder differs from the config file and
 *   `overwrite` is not set
 */
export async function runComparison(
  comparison: Comparison,
  options: RunComparisonOptions = {},
  callbacks: ComparisonCallbacks = {},
): Promise<ComparisonResults> {
  return await withLock(lockInside(comparison.out), (lock) =>
    runLocked(comparison, options, callbacks, lock),
  );
}

async function runLocked(
  comparison: Comparison,
  options: RunComparisonOptions,
  callbacks: ComparisonCallbacks,
  lock: Lock,
): Promise<ComparisonResults> {
  const { overwrite = false, trainer = realTrainer, ...compute } = options;
  const { out, evaluate, arms, seeds } = comparison;
  const resultsFile = join(out, RESULTS);
  await tidyFolder(out);
  // An existing file of that name must be a result file, or it would be overwritten.
  const before = existsSync(resultsFile) ? await readResults(resultsFile) : undefined;

  const data = await trainer.describeData(
    comparison.data,
    readingOf({ ...arms[0]!.options }),
    callbacks.onProgress,
  );
  requireSplit(comparison, data.splits);
  const lengths = await lengthsOf(comparison, data.fingerprint, trainer, compute, callbacks);
  const jobs = seeds.flatMap((seed) =>
    arms.map((arm, i): RunJob => {
      return { arm, seed, length: lengths[i]!, out, dataFingerprint: data.fingerprint };
    }),
  );
  const states: RunState[] = [];
  for (const job of jobs) states.push(await stateOfRun(job, comparison));
  if (!overwrite) {
    const runs = jobs.map(({ arm, seed }, i) => {
      const state = states[i]!;
      return { name: runName(arm, seed), differences: state.kind === 'other' ? state.differences : [] };
    });
    requireSameRuns(runs, out);
  }

  let baselines: readonly Baseline[] = [];
  const done: RunResult[] = [];
  const failures: RunFailure[] = [];
  const { name, fingerprint, documents } = data;
  const write = async (tests: boolean) => {
    await lock.check();
    const results = combineRuns(comparison, { name, fingerprint, documents }, done, {
      baselines,
      failures,
      tests,
    });
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
      const failure = { arm: arm.name, seed, message: callbacks.describe?.(error) ?? error.message };
      failures.push(failure);
      callbacks.onFailure?.(failure);
    }
    await write(false);
  }
  baselines = await baselinesOf(comparison, {
    ...{ before, fingerprint: data.fingerprint, trainer, compute, callbacks },
  });
  return await write(true);

  function requireSplit({ data: path }: Comparison, splits: readonly string[]): void {
    if (splits.includes(evaluate.split)) return;
    throw new UndriftError(`${path} has no split "${evaluate.split}" to measure on`, {
      help: `splits present: ${splits.join(', ') || 'none'}; choose one as "evaluate": {"split": …}`,
    });
  }
}

/** Removes what killed processes have left of files that they were writing. Runs tidy their folders themselves. */
async function tidyFolder(out: string): Promise<void> {
  await removeLeftoversIn(out, (name) => name === RESULTS || name === REPORT);
  for (const inner of ['runs', PLANS]) await removeLeftoversIn(join(out, inner), () => true);
}

/**
 * Measures BM25, unless all arms are trained without a baseline, and the given models that arms start from. Earlier figures for the same data
 * and queries are taken over.
 */
async function baselinesOf(
  { data, evaluate, arms }: Comparison,
  {
    before,
    fingerprint,
    trainer,
    compute,
    callbacks: { onProgress },
  }: {
    before: ComparisonResults | undefined;
    fingerprint: string;
    trainer: Trainer;
    compute: ComputeOptions;
    callbacks: ComparisonCallbacks;
  },
): Promise<Baseline[]> {
  const isSame = before?.data.fingerprint === fingerprint && samePlan(before.evaluate, evaluate);
  const stored = new Map(before?.arms.map(({ name, settings }) => [name, settings]));
  const isStart = ({ name, written }: Arm) => startOf(stored.get(name) ?? {}) === startOf(written);
  const known = (name: string, arm?: Arm) =>
    isSame && (!arm || isStart(arm)) ? before.baselines.find((each) => each.name === name) : undefined;
  const reading = readingOf({ ...arms[0]!.options });
  const lexical = async () =>
    arms.every(({ options }) => options.baseline === false)
      ? undefined
      : await trainer.baseline(data, evaluate, reading, onProgress);
  const starts = arms.filter(
    ({ written }, i) => arms.findIndex((each) => startOf(each.written) === startOf(written)) === i,
  );
  const wanted: { name: string; arm?: Arm; measure: () => Promise<Baseline['metrics'] | undefined> }[] = [
    { name: BASELINE, measure: lexical },
    ...starts.map((arm) => ({
      ...{ name: starts.length === 1 ? ZERO_SHOT : `${ZERO_SHOT} (${arm.name})`, arm },
      measure: () =>
        trainer.zeroShot({ ...arm.options, method: arm.method, data, out: '' }, evaluate, {
          ...{ ...compute, ...reading },
          ...(onProgress && { onProgress }),
        }),
    })),
  ];
  const found: Baseline[] = [];
  for (const { name, arm, measure } of wanted) {
    const metrics = known(name, arm)?.metrics ?? (await measure());
    if (metrics) found.push({ name, metrics });
  }
  return found;
}

/** Name of a given model that is not trained further. */
const ZERO_SHOT = 'zero-shot';

/** Describes the model that an arm starts from, by the options of the arm or the settings of a run. */
const startOf = (options: Partial<Arm['written']> | ArmSettings): string =>
  JSON.stringify(GIVEN_MODEL_OPTIONS.map((name) => options[name] ?? null));

/** Determines the length of training of each arm. */
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
    folder: join(out, PLANS),
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

/**
 * Checks that runs in the folder of a comparison are those of its config.
 *
 * @throws UndriftError with the differences of each run that is not
 */
export function requireSameRuns(
  runs: readonly { readonly name: string; readonly differences: readonly string[] }[],
  out: string,
): void {
  const others = runs.flatMap(({ name, differences }) =>
    differences.length > 0 ? [`${name}: ${differences.join('; ')}`] : [],
  );
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
