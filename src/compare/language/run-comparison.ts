import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findModel } from '../../models/folder/find-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { languageModelId } from '../../models/language/language-model-id.ts';
import { type EvaluationTask, openTask, TASK_OPTIONS } from '../../rlm/evaluation-task.ts';
import type { TextWindows } from '../../rlm/text-windows.ts';
import type { ComputeOptions } from '../../runtime/devices.ts';
import { InterruptedError } from '../../train/callbacks.ts';
import { findComparedSystem } from '../../train/language-methods/joint-systems.ts';
import { UndriftError } from '../../util/errors.ts';
import { readJson, writeFileAtomic } from '../../util/files.ts';
import { checkShape } from '../../util/json-shape.ts';
import { lockInside, withLock } from '../../util/lock.ts';
import type { NoteListener } from '../../util/option-name.ts';
import { type GivenValues, optionValues } from '../../util/option-table.ts';
import type { Progress } from '../../util/progress.ts';
import { removeLeftoversIn } from '../../util/temporary-name.ts';
import type { EvaluationPlan } from '../comparison.ts';
import { thisMachine } from '../machine.ts';
import {
  type ComparisonResults,
  combineRuns,
  type MeasuredRun,
  type RunFailure,
  readResults,
} from '../results.ts';
import { RESULTS, requireSameRuns } from '../run-comparison.ts';
import { LANGUAGE_RUN } from '../stored-shapes.ts';
import { REPORT } from '../write-report.ts';
import type { LanguageArm, LanguageComparison } from './comparison.ts';

/** Options of a comparison that are not part of its config. */
export interface LanguageComparisonOptions extends ComputeOptions {
  /** Measures arms again whose settings or data no longer match the config. Default: throws an error. */
  readonly overwrite?: boolean | undefined;
}

/** Callbacks of a comparison of language systems. */
export interface LanguageComparisonCallbacks {
  /** Ends the comparison after the arm that is being measured. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly onNote?: NoteListener | undefined;
  /** Called before each arm that is not done yet. `number` counts the arms from 1. */
  readonly onArm?:
    | ((arm: { readonly name: string; readonly number: number; readonly arms: number }) => void)
    | undefined;
  /** Called after each arm. */
  readonly onResult?: ((run: MeasuredRun) => void) | undefined;
  /** Called after each arm that failed. */
  readonly onFailure?: ((failure: RunFailure) => void) | undefined;
  /** Puts the error of a failed arm into words, for its `message`. Default: the error's own, with options named as in the library. */
  readonly describe?: ((error: UndriftError) => string) | undefined;
}

/** Result of one arm, as it is stored. */
interface StoredArm extends MeasuredRun {
  readonly dataFingerprint: string;
  readonly plan: EvaluationPlan;
}

/** Folder of the results of arms, in the folder of a comparison. */
const ARMS = 'arms';
/** Seed in the files of arms, which have none. */
const SEED = 0;

/**
 * Measures every arm on the same tokens.
 *
 *     out/results.json  arms/<arm>.json
 *
 * Finished arms are kept. `results.json` is rewritten after each arm, and at the end with intervals and tests. A failed arm is reported,
 * and the remaining arms continue.
 *
 * @throws InterruptedError between two arms, when `callbacks.signal` fires
 * @throws UndriftError before any work, if an arm in the folder differs from the config and `overwrite` is not set
 */
export async function runLanguageComparison(
  comparison: LanguageComparison,
  options: LanguageComparisonOptions = {},
  callbacks: LanguageComparisonCallbacks = {},
): Promise<ComparisonResults> {
  const { out, model: folder, data, evaluate } = comparison;
  const { onProgress, onNote } = callbacks;
  return await withLock(lockInside(out), async () => {
    await removeLeftoversIn(out, (name) => name === RESULTS || name === REPORT);
    await removeLeftoversIn(join(out, ARMS), () => true);
    // An existing file of that name must be a result file, or it would be overwritten.
    if (existsSync(join(out, RESULTS))) await readResults(join(out, RESULTS));
    const found = await findModel(folder, [], { onProgress, onNote });
    const model = await LanguageModel.load(found, { ...(onNote && { onNote }) });
    try {
      const ownWindows = await windowsIn(found, comparison.arms);
      const task = await openTask(model, data, { ...evaluate, ownWindows, onProgress, onNote });
      return await new LanguageRun({ ...comparison, model: found }, model, task, options, callbacks).finish();
    } finally {
      await model.dispose();
    }
  });
}

/** Windows in which the model reads running text, as the first arm says that has its own. All arms read in the same ones. */
async function windowsIn(folder: string, arms: readonly LanguageArm[]): Promise<TextWindows | undefined> {
  const spec = arms.map(({ method }) => findComparedSystem(method)).find(({ windows }) => windows);
  return await spec?.windows?.(folder);
}

/** One call of a comparison. */
class LanguageRun {
  private readonly comparison: LanguageComparison;
  private readonly model: LanguageModel;
  private readonly task: EvaluationTask;
  private readonly options: LanguageComparisonOptions;
  private readonly callbacks: LanguageComparisonCallbacks;
  private readonly plan: EvaluationPlan;
  /** Digest of the model's weights. */
  private readonly modelId: string;

  constructor(
    comparison: LanguageComparison,
    model: LanguageModel,
    task: EvaluationTask,
    options: LanguageComparisonOptions,
    callbacks: LanguageComparisonCallbacks,
  ) {
    this.comparison = comparison;
    this.model = model;
    this.task = task;
    this.options = options;
    this.callbacks = callbacks;
    this.modelId = languageModelId(model);
    this.plan = {
      split: task.kind === 'questions' ? optionValues(TASK_OPTIONS, comparison.evaluate).split : 'text',
      metrics: task.metrics,
      queries: comparison.evaluate.limitQueries ?? null,
    };
  }

  async finish(): Promise<ComparisonResults> {
    const { arms, out } = this.comparison;
    const stored = await Promise.all(arms.map((arm) => this.stored(arm)));
    const differing = arms.map((arm, i) => ({
      name: arm.name,
      differences: stored[i] ? this.differences(arm, stored[i]) : [],
    }));
    if (!this.options.overwrite) requireSameRuns(differing, out);
    const done = stored.flatMap((run, i) => (run && differing[i]!.differences.length === 0 ? [run] : []));
    const failures: RunFailure[] = [];
    await mkdir(join(out, ARMS), { recursive: true });
    for (const [i, arm] of arms.entries()) {
      if (done.some((run) => run.arm === arm.name)) continue;
      if (this.callbacks.signal?.aborted) {
        throw new InterruptedError(`${done.length} of ${arms.length} arms are done`, {
          help: 'the same command goes on from here',
        });
      }
      this.callbacks.onArm?.({ name: arm.name, number: i + 1, arms: arms.length });
      try {
        const run = await this.measure(arm);
        await writeFileAtomic(this.file(arm), `${JSON.stringify(run)}\n`);
        done.push(run);
        this.callbacks.onResult?.(run);
      } catch (error) {
        if (!(error instanceof UndriftError) || error instanceof InterruptedError) throw error;
        const failure = {
          arm: arm.name,
          seed: SEED,
          message: this.callbacks.describe?.(error) ?? error.message,
        };
        failures.push(failure);
        this.callbacks.onFailure?.(failure);
      }
      await this.write(done, failures, false);
    }
    return await this.write(done, failures, true);
  }

  private async measure(arm: LanguageArm): Promise<StoredArm> {
    const { task, model, options } = this;
    const { onProgress, onNote } = this.callbacks;
    const { device, threads } = options;
    const compute = { ...(device && { device }), ...(threads && { threads }) };
    const spec = findComparedSystem(arm.method);
    const start = performance.now();
    const system = await spec.open(model, optionValues(spec.options, arm.options), {
      ...{ modelFolder: this.comparison.model, windows: task.windows, corpus: task.corpus },
      ...{ onProgress, onNote, ...compute },
    });
    try {
      const { metrics, perUnit } = await task.measure(system, { onProgress, ...compute });
      return {
        arm: arm.name,
        seed: SEED,
        settings: this.settings(arm),
        dataFingerprint: task.fingerprint,
        training: {
          wallMs: performance.now() - start,
          ledger: system.ledger.totals,
          curves: [],
          machine: thisMachine(),
          finished: new Date().toISOString(),
        },
        plan: this.plan,
        evaluation: { metrics, queryIds: task.units, perQuery: perUnit },
      };
    } finally {
      await system.dispose();
    }
  }

  private settings(arm: LanguageArm): StoredArm['settings'] {
    const measured = optionValues(TASK_OPTIONS, this.comparison.evaluate);
    const values: GivenValues = {
      ...{ model: this.comparison.writtenModel, modelId: this.modelId, method: arm.method },
      ...optionValues(findComparedSystem(arm.method).options, arm.written),
      ...{
        ...measured,
        task: this.task.kind,
        window: this.task.windows.window,
        stride: this.task.windows.stride,
      },
    };
    const stated = Object.entries(values).map(([key, value]) => [key, value ?? null]);
    return Object.fromEntries(stated) as StoredArm['settings'];
  }

  private differences(arm: LanguageArm, stored: StoredArm): string[] {
    const now = this.settings(arm);
    const keys = [...new Set([...Object.keys(stored.settings), ...Object.keys(now)])];
    const text = (settings: StoredArm['settings'], key: string) => JSON.stringify(settings[key] ?? null);
    const differences = keys
      .filter((key) => text(stored.settings, key) !== text(now, key))
      .map((key) => `${key}: ${text(stored.settings, key)} then, ${text(now, key)} now`);
    const { fingerprint } = this.task;
    if (stored.dataFingerprint !== fingerprint) {
      differences.push(`data: fingerprint ${stored.dataFingerprint} then, ${fingerprint} now`);
    }
    return differences;
  }

  private async stored(arm: LanguageArm): Promise<StoredArm | undefined> {
    const file = this.file(arm);
    if (!existsSync(file)) return undefined;
    const json = await readJson(file);
    checkShape(json, LANGUAGE_RUN, {
      file,
      help: 'the file is damaged: remove it, and the arm is measured again',
    });
    return json as StoredArm;
  }

  private async write(
    done: readonly StoredArm[],
    failures: readonly RunFailure[],
    tests: boolean,
  ): Promise<ComparisonResults> {
    const { name, arms, out } = this.comparison;
    const { task, plan } = this;
    const facts = { name: task.name, fingerprint: task.fingerprint, documents: task.documents };
    const results = combineRuns({ name, arms, budget: null, seeds: [SEED], evaluate: plan }, facts, done, {
      ...{ failures, tests },
      units: task.kind === 'questions' ? 'questions' : 'documents',
    });
    await writeFileAtomic(join(out, RESULTS), `${JSON.stringify(results)}\n`);
    return results;
  }

  private file({ name }: LanguageArm): string {
    return join(this.comparison.out, ARMS, `${name}.json`);
  }
}
