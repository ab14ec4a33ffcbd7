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
import type { Arm, Budget } from './comparison.ts';
import { DOCUMENT_ENCODES } from './cost.ts';
import { type RunSettings, settingsDifferences } from './run-result.ts';
import type { Trainer } from './trainer.ts';

/** How many steps an arm gets, and what that was concluded from. */
interface Plan {
  readonly steps: number;
  readonly budget: Budget;
  readonly settings: RunSettings;
  readonly dataFingerprint: string;
  readonly measuredSteps: number;
}

export interface PlanContext {
  readonly data: string;
  readonly dataFingerprint: string;
  /** Folder for plans, and for pilots while they run. */
  readonly folder: string;
  readonly seed: number;
  readonly trainer: Trainer;
  readonly compute: ComputeOptions;
  readonly callbacks: TrainCallbacks & { onPlan?: (arm: string, steps: number | undefined) => void };
}

/** A pilot never gets so far: it is stopped when it has shown enough. */
const HORIZON = 1_000_000_000;
const LEAST_STEPS = 20;
/** Of the budget; rates that are to be had for less are noise of the first steps. */
const PILOT_SHARE = 0.1;

/**
 * The number of steps for which a budget of document encodes or of minutes lasts, so that the schedule of the learning rate ends
 * where the budget does, and all seeds of an arm take the same steps.
 *
 * A pilot of the arm is trained until it has spent a tenth of the budget and seen two periods of whatever it does every so many
 * steps; the cost of the last whole period is taken to go on:
 *
 *     steps = s + (budget − spent(s)) · P / (spent(s) − spent(s − P))
 *
 * What is spent before the first step, to fill a cache or to mine, is in spent(1) and in no period. A budget of minutes is one of
 * training: evaluations, diagnoses and checkpoints take none of it.
 *
 * @throws UndriftError where the budget does not last for one step
 *
 * The plan is kept in a file and serves until the arm, the data or the budget changes. What runs really spend is in their ledger.
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
  const stored = existsSync(file) ? ((await readJson(file)) as Plan) : undefined;
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

/** Steps between refreshes, re-minings, or whatever else an arm does every so many steps; 1 if nothing. */
function longestPeriod({ refresh, mineEvery, snapshotEvery }: RunSettings): number {
  const { every, async } = parseRefreshPolicy(refresh ?? 'never');
  const periods = [every, async?.every, mineEvery, snapshotEvery].flatMap((period) => period ?? []);
  return Math.max(1, ...periods);
}

/** @param spent  of the budget after 0, 1, 2, … steps */
export function stepsFor(budget: number, spent: readonly number[], period: number): number {
  const beyond = spent.findIndex((value) => value > budget);
  if (beyond >= 0) return Math.max(1, beyond - 1);
  const last = spent.length - 1;
  const from = last - period * Math.max(1, Math.floor((last - 1) / period));
  const each = (spent[last]! - spent[Math.max(0, from)]!) / (last - Math.max(0, from));
  // A count is what it is: only the rounding of the sum needs some room.
  return each > 0 ? Math.max(1, Math.floor(last + (budget - spent[last]!) / each + 1e-6)) : last;
}

/** Trains until the rate is known; gives what was spent after 0, 1, 2, … steps. */
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

/** Minutes of training. The first step compiles and warms up; it counts as much as the second. */
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
