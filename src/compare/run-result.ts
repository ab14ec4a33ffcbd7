import { existsSync } from 'node:fs';
import { FREE_SETTINGS, resolveSettings, type TrainOptions, type TrainSettings } from '../train/settings.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { checkShape } from '../util/json-shape.ts';
import type { EvaluationPlan } from './comparison.ts';
import type { Curve } from './curves.ts';
import type { Machine } from './machine.ts';
import { RUN_RESULT } from './stored-shapes.ts';

/** Result of one finished run: an arm trained with one seed and evaluated. */
export interface RunResult {
  /** Name of the arm. */
  readonly arm: string;
  /** Seed of the run. */
  readonly seed: number;
  /** Settings of the run. */
  readonly settings: RunSettings;
  /** Fingerprint of the data set. */
  readonly dataFingerprint: string;
  /** Facts about the training. */
  readonly training: RunTraining;
  /** Evaluation that was asked for. */
  readonly plan: EvaluationPlan;
  /** Evaluation of the finished model. */
  readonly evaluation: RunEvaluation;
}

/** Settings of a run without its folder and data. Paths are as written in the config file. */
export type RunSettings = Omit<TrainSettings, 'data' | 'out'>;

/** Facts about the training of a run. */
export interface RunTraining {
  /** Number of training steps. */
  readonly steps: number;
  /** Whether training stopped early. */
  readonly stoppedEarly: boolean;
  /** Best evaluation during training. `value` is null if there was none. */
  readonly best: { readonly step: number; readonly value: number | null };
  /** Embedding space of the finished model. */
  readonly embeddingSpace: string;
  /**
   * Time of training, in milliseconds. Includes the first fill of a cache and mining, but not evaluations,
   * diagnoses, checkpoints and pauses.
   */
  readonly wallMs: number;
  /** Amounts that the run spent, by name; see `describeCost`. */
  readonly ledger: Readonly<Record<string, number>>;
  /** Curves of the logged values. */
  readonly curves: readonly Curve[];
  /** Machine on which the run took place. */
  readonly machine: Machine;
  /** Time of completion, in ISO 8601. */
  readonly finished: string;
}

/** Evaluation of a finished model. */
export interface RunEvaluation {
  /** Mean of each metric over the queries. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Ids of the queries. */
  readonly queryIds: readonly string[];
  /** Values of each metric, in the order of `queryIds`. */
  readonly perQuery: Readonly<Record<string, readonly number[]>>;
}

/**
 * Compares the settings of a stored run with those asked for now. A setting that did not exist when the run
 * was made counts as having its default.
 *
 * @returns  descriptions of the differences; empty if the settings are the same
 */
export function settingsDifferences(stored: RunSettings, now: RunSettings): string[] {
  const { model, method } = now;
  const defaults = resolveSettings({ model, method, data: '', out: '' } satisfies TrainOptions);
  const value = (settings: RunSettings, key: keyof RunSettings) =>
    JSON.stringify((settings[key] === undefined ? defaults[key] : settings[key]) ?? null);
  const keys = new Set([...Object.keys(stored), ...Object.keys(now)] as (keyof RunSettings)[]);
  return [...keys]
    .filter((key) => !FREE_SETTINGS.has(key) && value(stored, key) !== value(now, key))
    .map((key) => `${key}: ${value(stored, key)} then, ${value(now, key)} now`);
}

/** Tests whether two evaluations have the same split, queries and metrics. */
export const samePlan = (a: EvaluationPlan, b: EvaluationPlan): boolean =>
  a.split === b.split && a.queries === b.queries && a.metrics.join() === b.metrics.join();

/**
 * Reads the result of a run; undefined if the file does not exist.
 *
 * @throws DataError that names the field if the file is not the result of a run
 */
export async function readRunResult(file: string): Promise<RunResult | undefined> {
  if (!existsSync(file)) return undefined;
  const json = await readJson(file);
  checkShape(json, RUN_RESULT, {
    file,
    help: 'the file is damaged: remove it, and the run is evaluated or done again',
  });
  return json as RunResult;
}

/** Writes the result of a run. */
export async function writeRunResult(file: string, result: RunResult): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(result)}\n`);
}
