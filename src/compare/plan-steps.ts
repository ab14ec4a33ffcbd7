import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseRefreshPolicy } from '../cache/refresh-policy.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { InterruptedError, type ReportedStep, type TrainCallbacks } from '../train/callbacks.ts';
import { resolveSettings } from '../train/settings.ts';
import { UndriftError } from '../util/errors.ts';
import { readJson, writeFileAtomic } from '../util/files.ts';
import { count } from '../util/format.ts';
import { checkShape } from '../util/json-shape.ts';
import type { Arm, Budget } from './comparison.ts';
import { DOCUMENT_ENCODES } from './cost.ts';
import { type RunSettings, settingsDifferences } from './run-result.ts';
import { PLAN } from './stored-shapes.ts';
import type { Trainer } from './trainer.ts';

/** Number of steps of an arm, with the facts that it was derived from. */
interface Plan {
  readonly steps: number;
  readonly budget: Budget;
  readonly settings: RunSettings;
  readonly dataFingerprint: string;
  readonly measuredSteps: number;
}

/** Context of `planSteps`. */
export interface PlanContext {
  /** Path of the data set. */
  readonly data: string;
  /** Fingerprint of the data set. */
  readonly dataFingerprint: string;
  /** Folder for plans, and for pilots while they run. */
  readonly folder: string;
  /** Seed of the pilots. */
  readonly seed: number;
  /** Trainer that runs the pilots. */
  readonly trainer: Trainer;
  /** Device and number of threads. */
  readonly compute: ComputeOptions;
  /**
   * Callbacks of the pilots. `onPlan` is called before an arm is measured, without `steps`, and again with
   * the result.
   */
  readonly callbacks: TrainCallbacks & { onPlan?: (arm: string, steps: number | undefined) => void };
}

/** Number of steps that a pilot is given. The pilot is stopped long before. */
const HORIZON = 1_000_000_000;
const LEAST_STEPS = 20;
/**
 * Share of the budget that a pilot spends at least. Rates from less are dominated by noise of the first
 * steps.
 */
const PILOT_SHARE = 0.1;

/**
 * Computes the number of steps that fit into a budget of document encodes or minutes.
 *
 * With a fixed number of steps, the learning rate schedule ends with the budget, and all seeds of an arm take
 * the same steps.
 *
 * A pilot of the arm is trained until it has spent a tenth of the budget and covered two periods of its
 * periodic work, such as refreshes. The cost of the last whole period is then extrapolated, where s is the
 * last step of the pilot and P the period:
 *
 *     steps = s + (budget − spent(s)) · P / (spent(s) − spent(s − P))
 *
 * The cost of work before the first step, such as filling a cache or mining, is part of spent(1) but of no
 * period. A budget in minutes covers training only, not evaluations, diagnoses and checkpoints.
 *
 * The plan is stored in a file. It is reused until the arm, the data or the budget changes. The ledger of a
 * run shows what it actually spent.
 *
 * @throws UndriftError if the budget is too small for one step
 */
export async function planSteps(arm: Arm, budget: Budget, context: PlanContext): Promise<number> {
  const { folder, dataFingerprint, seed } = context;
  const file = join(folder, `${arm.name}.json`);
  const {
    data: _,
    out: __,
    ...settings
  } = resolveSettings({
    ...arm.written,
    method: arm.method,
    seed,
    data: '',
    out: '',
  });
  const stored = existsSync(file) ? await readPlan(file) : undefined;
  const holds =
    stored?.dataFingerprint === dataFingerprint &&
    stored.budget.kind === budget.kind &&
    stored.budget.amount === budget.amount &&
    settingsDifferences(stored.settings, settings).length === 0;
  if (holds) return stored.steps;

  context.callbacks.onPlan?.(arm.name, undefined);
  const period = longestPeriod(settings);
  const spent = await pilot(arm, budget, period, context);
  if (spent[1]! > budget.amount) {
    const amount = spent[1]!.toLocaleString('en-US', { maximumSignificantDigits: 3 });
    throw new UndriftError(
      `${arm.name} has spent ${amount} ${budget.kind} after its first step, more than the budget of ` +
        count(budget.amount),
      { help: 'raise the budget, or let the arm fill a smaller cache or mine less before it begins' },
    );
  }
  const steps = stepsFor(budget.amount, spent, period);
  const plan: Plan = { steps, budget, settings, dataFingerprint, measuredSteps: spent.length - 1 };
  await writeFileAtomic(file, `${JSON.stringify(plan, null, 2)}\n`);
  context.callbacks.onPlan?.(arm.name, steps);
  return steps;
}

async function readPlan(file: string): Promise<Plan> {
  const json = await readJson(file);
  checkShape(json, PLAN, {
    file,
    help: 'the file is damaged: remove it, and the cost of the arm is measured again',
  });
  return json as Plan;
}

/**
 * Returns the longest interval of the arm's periodic work (refreshes, mining, snapshots), in steps; 1 if
 * there is none.
 */
function longestPeriod({ refresh, mineEvery, snapshotEvery }: RunSettings): number {
  const { every, async } = parseRefreshPolicy(refresh ?? 'never');
  const periods = [every, async?.every, mineEvery, snapshotEvery].flatMap((period) => period ?? []);
  return Math.max(1, ...periods);
}

/**
 * Computes the number of steps from the spending of a pilot.
 *
 * @param budget  amount to spend
 * @param spent  amount spent after 0, 1, 2, … steps
 * @param period  interval of the periodic work, in steps
 */
export function stepsFor(budget: number, spent: readonly number[], period: number): number {
  const beyond = spent.findIndex((value) => value > budget);
  if (beyond >= 0) return Math.max(1, beyond - 1);
  const last = spent.length - 1;
  const from = last - period * Math.max(1, Math.floor((last - 1) / period));
  const each = (spent[last]! - spent[Math.max(0, from)]!) / (last - Math.max(0, from));
  // Counts are exact, so only the rounding of the sum needs a margin.
  return each > 0 ? Math.max(1, Math.floor(last + (budget - spent[last]!) / each + 1e-6)) : last;
}

/**
 * Trains a pilot until the rate is known.
 *
 * @returns  amounts spent after 0, 1, 2, … steps
 */
async function pilot(arm: Arm, budget: Budget, period: number, context: PlanContext): Promise<number[]> {
  const { trainer, callbacks, compute, data, seed, folder } = context;
  const out = join(folder, arm.name);
  await rm(out, { recursive: true, force: true });
  const enough = new AbortController();
  const meter = budget.kind === 'minutes' ? timeMeter() : encodesMeter(arm);
  const spent = [0];
  const onStep = (report: ReportedStep) => {
    const now = meter(report);
    spent.push(now);
    const knowsRate = spent.length > LEAST_STEPS && spent.length > 2 * period + 1;
    const known = now > budget.amount || (knowsRate && now >= PILOT_SHARE * budget.amount);
    if (known || callbacks.signal?.aborted) enough.abort();
  };
  const { onStep: _, onEvaluation: __, ...others } = callbacks;
  const length = { steps: HORIZON, evalEvery: HORIZON, saveEvery: HORIZON, diagnose: 0 };
  try {
    await trainer.train(
      { ...arm.options, ...compute, ...length, method: arm.method, seed, data, out },
      { ...others, signal: enough.signal, onStep },
    );
  } catch (error) {
    if (!(error instanceof InterruptedError) || callbacks.signal?.aborted) throw error;
  } finally {
    await rm(out, { recursive: true, force: true });
  }
  return spent;
}

type Meter = (report: ReportedStep) => number;

/**
 * Measures minutes of training. The first step includes compilation and warm-up, so it is counted with the
 * mean time of the steps after it.
 */
function timeMeter(): Meter {
  let steps = 0;
  let startMs = 0;
  return ({ prepareMs }) => {
    const nowMs = performance.now();
    if (steps++ === 0) startMs = nowMs;
    const measuredMs = nowMs - startMs;
    return (prepareMs + measuredMs + (steps > 1 ? measuredMs / (steps - 1) : 0)) / 60_000;
  };
}

function encodesMeter(arm: Arm): Meter {
  return ({ ledger }) => {
    const encodes = ledger[DOCUMENT_ENCODES];
    if (encodes !== undefined) return encodes;
    throw new UndriftError(`${arm.method} does not count its document encodes`, {
      help: 'give the budget in steps or minutes',
    });
  };
}
