import { type CostLedger, isTime } from '../objective/cost-ledger.ts';
import type { Objective, StepResult } from '../objective/objective.ts';
import { type ScheduleOptions, scheduleRatio } from '../optim/schedule.ts';
import type { Learner } from '../runtime/learner.ts';
import { UndriftError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';

export interface LoopOptions {
  totalSteps: number;
  /** Peak learning rate. */
  learningRate: number;
  schedule: ScheduleOptions;
  weightDecay: number;
  /** Global-norm clipping; 0 for none. */
  maxGradientNorm: number;
  /** Batches whose gradients are averaged into one update. */
  accumulate: number;
}

/** The batches of a run, by number. Each can be made by itself, so that a resumed run needs none of the earlier ones. */
export interface BatchSource<Batch> {
  /** Batches of a pass over the data; a fraction where the data is no whole number of batches. */
  readonly perEpoch: number;
  /** @param number  place of the batch in the run, from 0 */
  batch(number: number): Batch;
}

/** One update, as reported to callbacks and the log. */
export interface StepReport {
  /** Updates made, this one included. */
  step: number;
  /** Passes over the data. */
  epoch: number;
  learningRate: number;
  gradientNorm: number;
  /** Counts that this update added to the ledger, by name; refreshes of caches are included, times are not. */
  spent: Readonly<Record<string, number>>;
  trainingLoss: number;
  interpretableLoss: number;
  /** Means over the batches of the update, and figures of the update itself. */
  metrics: Readonly<Record<string, number>>;
  /** Amounts that the run has spent so far, by name. */
  ledger: Readonly<Record<string, number>>;
}

/** The parts of a training loop. */
export interface LoopParts<Batch> {
  learner: Learner;
  objective: Objective<Batch>;
  batches: BatchSource<Batch>;
  ledger: CostLedger;
  /** Called after every update; the loop waits for it, and stops early when it gives `stop`. */
  onStep: (report: StepReport) => Promise<'go on' | 'stop'>;
}

/**
 * The training loop: batch → loss and gradients (by the objective) → update (by the learner) → report. Starts after the learner's last
 * step, so that a restored learner goes on where it stopped.
 *
 * @throws UndriftError naming the step when the loss is not finite; the parameters are then those of the step before
 */
export async function trainingLoop<Batch>(
  { learner, objective, batches, ledger, onStep }: LoopParts<Batch>,
  options: LoopOptions,
): Promise<void> {
  const { accumulate, totalSteps, weightDecay, maxGradientNorm } = options;
  while (learner.step < totalSteps) {
    const step = learner.step + 1;
    const learningRate = options.learningRate * scheduleRatio(step, options.schedule);
    const results: StepResult[] = [];
    const before = ledger.totals;
    for (let part = 0; part < accumulate; part++) {
      const draw = (step - 1) * accumulate + part;
      const batch = batches.batch(draw);
      const result = await ledger.time('step', () => objective.step(batch, draw));
      if (!Number.isFinite(result.trainingLoss)) {
        throw new UndriftError(`step ${step}: the loss is ${result.trainingLoss}`, {
          help: `lower the learning rate, clip gradients (${option('maxGradNorm', 1)}), or raise the temperature`,
        });
      }
      if (accumulate > 1)
        await ledger.time('update', () => learner.accumulate(result.gradients, { first: part === 0 }));
      results.push(result);
    }
    const gradients = accumulate > 1 ? learner.accumulated : results[0]!.gradients;
    const update = { learningRate, weightDecay, maxGradientNorm, gradientFactor: 1 / accumulate };
    // Not a number where the loss scale was too large: then nothing has moved.
    const gradientNorm = await ledger.time('update', () => learner.apply(gradients, update));
    const afterwards = await ledger.time('refresh', () => objective.updated(step));
    const totals = ledger.totals;
    const verdict = await onStep({
      step,
      epoch: (step * accumulate) / batches.perEpoch,
      learningRate,
      gradientNorm,
      spent: difference(totals, before),
      trainingLoss: average(results.map((r) => r.trainingLoss)),
      interpretableLoss: average(results.map((r) => r.interpretableLoss)),
      metrics: { ...averages(results.map((r) => r.metrics)), ...afterwards, ...learner.inspect() },
      ledger: totals,
    });
    if (verdict === 'stop') return;
  }
}

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const averages = (records: readonly Readonly<Record<string, number>>[]): Record<string, number> =>
  Object.fromEntries(
    [...new Set(records.flatMap(Object.keys))].map((key) => [
      key,
      average(records.flatMap((record) => record[key] ?? [])),
    ]),
  );

/** Growth of every count. */
const difference = (
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> =>
  Object.fromEntries(
    Object.entries(after).flatMap(([name, amount]) =>
      isTime(name) ? [] : [[name, amount - (before[name] ?? 0)]],
    ),
  );
