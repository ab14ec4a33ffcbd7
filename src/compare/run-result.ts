import { existsSync } from 'node:fs';
import { resolveSettings, type TrainOptions, type TrainSettings } from '../train/settings.ts';
import { DataError } from '../util/errors.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import type { EvaluationPlan } from './comparison.ts';
import type { Curve } from './curves.ts';
import type { Machine } from './machine.ts';

/** What one finished run leaves for the comparison: an arm trained with one seed, and measured. */
export interface RunResult {
  readonly arm: string;
  readonly seed: number;
  readonly settings: RunSettings;
  readonly dataFingerprint: string;
  readonly training: RunTraining;
  /** What `evaluation` was asked for. */
  readonly plan: EvaluationPlan;
  readonly evaluation: RunEvaluation;
}

/** Settings of a run but for where it lies; file names as written in the config file. */
export type RunSettings = Omit<TrainSettings, 'data' | 'out'>;

export interface RunTraining {
  readonly steps: number;
  readonly stoppedEarly: boolean;
  /** Best evaluation during training. */
  readonly best: { readonly step: number; readonly value: number | null };
  readonly embeddingSpace: string;
  /** Time of training, first fills of caches and mining included; evaluations, diagnoses, checkpoints and pauses not. */
  readonly wallMs: number;
  /** What the run spent, by name; see `describeCost`. */
  readonly ledger: Readonly<Record<string, number>>;
  readonly curves: readonly Curve[];
  readonly machine: Machine;
  /** ISO 8601 */
  readonly finished: string;
}

export interface RunEvaluation {
  readonly metrics: Readonly<Record<string, number>>;
  readonly queryIds: readonly string[];
  /** Values in the order of `queryIds`, by metric. */
  readonly perQuery: Readonly<Record<string, readonly number[]>>;
}

/** What decides nothing about what is learnt: where a run lies, how often it is saved and looked at. */
const FREE = ['data', 'out', 'saveEvery', 'diagnose'];

/**
 * What a run was told and what it would be told now, where the two differ: empty if it is the same run.
 *
 * A setting that did not exist when the run was made counts as having had its default.
 */
export function settingsDifferences(stored: RunSettings, now: RunSettings): string[] {
  const { model, method } = now;
  const defaults = resolveSettings({ model, method, data: '', out: '' } satisfies TrainOptions);
  const value = (settings: RunSettings, key: keyof RunSettings) =>
    JSON.stringify((settings[key] === undefined ? defaults[key] : settings[key]) ?? null);
  const keys = new Set([...Object.keys(stored), ...Object.keys(now)] as (keyof RunSettings)[]);
  return [...keys]
    .filter((key) => !FREE.includes(key) && value(stored, key) !== value(now, key))
    .map((key) => `${key}: ${value(stored, key)} then, ${value(now, key)} now`);
}

export const samePlan = (a: EvaluationPlan, b: EvaluationPlan): boolean =>
  a.split === b.split && a.queries === b.queries && a.metrics.join() === b.metrics.join();

/** The result in a file; undefined where there is none. @throws DataError for a file that is something else */
export async function readRunResult(file: string): Promise<RunResult | undefined> {
  if (!existsSync(file)) return undefined;
  const json = (await readJson(file)) as Partial<RunResult> | null;
  if (!json?.settings || !json.training || !json.evaluation || !json.plan) {
    throw new DataError('this is no result of a run', {
      file,
      help: 'move it away, and the run is done again',
    });
  }
  return json as RunResult;
}

export async function writeRunResult(file: string, result: RunResult): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(result)}\n`);
}
