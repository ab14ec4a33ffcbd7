import { type CostLedger, isTime } from '../objective/cost-ledger.ts';
import type { Objective, StepResult } from '../objective/objective.ts';
import { type ScheduleOptions, scheduleRatio } from '../optim/schedule.ts';
import type { Learner } from '../runtime/learner.ts';
import { UndriftError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';

/** Options of a training loop. */
export interface LoopOptions {
  /** Updates of the run. */
  totalSteps: number;
  /** Peak learning rate. */
  learningRate: number;
  /** Change of the learning rate during the run. */
  schedule: ScheduleOptions;
  /** Decoupled weight decay. */
  weightDecay: number;
  /** Global norm to which gradients are clipped; 0 for no clipping. */
  maxGradientNorm: number;
  /** Batches whose gradients are averaged into one update. */
  accumulate: number;
  /** Batches of the run, at most `totalSteps` × `accumulate`, which is the default. The last update averages those that remain. */
  totalBatches?: number | undefined;
}

/**
 * Source of the batches of a run, by number. Each batch can be made without the earlier ones, so that a resumed run needs none of
 * them.
 */
export interface BatchSource<Batch> {
  /** Batches of one pass over the data; a fraction where the data is not a whole number of batches. */
  readonly perEpoch: number;
  /**
   * Returns a batch of the run.
   *
   * @param number  number of the batch in the run, from 0
   */
  batch(number: number): Batch;
}

/** Report of one update, for callbacks and the log. */
export interface StepReport {
  /** Updates made, including this one. */
  step: number;
  /** Passes over the data so far, fractions included. */
  epoch: number;
  /** Learning rate of this update. */
  learningRate: number;
  /** Global norm of the gradient; NaN where the loss scale was too large, and no parameter has moved. */
  gradientNorm: number;
  /** Counts that this update added to the ledger, by name. Refreshes of caches are included, times are not. */
  spent: Readonly<Record<string, number>>;
  /** Loss that was differentiated, in nats; mean over the examples of the update. */
  trainingLoss: number;
  /** Loss to plot, in nats; mean over the examples of the update. */
  interpretableLoss: number;
  /** Figures of the update by name; those of its batches are means. */
  metrics: Readonly<Record<string, number>>;
  /** Costs of the run so far, by name. */
  ledger: Readonly<Record<string, number>>;
}

/** Parts of a training loop. */
export interface LoopParts<Batch> {
  /** Optimizer with its parameters. */
  learner: Learner;
  /** Objective that computes loss and gradients. */
  objective: Objective<Batch>;
  /** Source of the batches. */
  batches: BatchSource<Batch>;
  /** Ledger of the run. */
  ledger: CostLedger;
  /** Called after every update. The loop waits for the result, and ends early on `stop`. */
  onStep: (report: StepReport) => Promise<'go on' | 'stop'>;
}

/**
 * Trains: batch → loss and gradients (by the objective) → update (by the learner) → report. The loop starts after the learner's
 * last step, so that a restored learner continues where it stopped.
 *
 * @throws UndriftError, naming the step, where the loss is not finite; the parameters are then those of the step before
 */
export async function trainingLoop<Batch>(
  { learner, objective, batches, ledger, onStep }: LoopParts<Batch>,
  options: LoopOptions,
): Promise<void> {
  const { accumulate, totalSteps, weightDecay, maxGradientNorm } = options;
  const { totalBatches = totalSteps * accumulate } = options;
  while (learner.step < totalSteps) {
    const step = learner.step + 1;
    const learningRate = options.learningRate * scheduleRatio(step, options.schedule);
    const results: StepResult[] = [];
    const before = ledger.totals;
    const first = (step - 1) * accumulate;
    const end = Math.min(step * accumulate, totalBatches);
    for (let draw = first; draw < end; draw++) {
      const batch = batches.batch(draw);
      const result = await ledger.time('step', () => objective.step(batch, draw));
      if (!Number.isFinite(result.trainingLoss)) {
        throw new UndriftError(`step ${step}: the loss is ${result.trainingLoss}`, {
          help: `lower the learning rate, clip gradients (${option('maxGradNorm', 1)}), or raise the temperature`,
        });
      }
      results.push(result);
      if (accumulate > 1) {
        const options = { first: draw === first, weight: weightsOf(results).at(-1)! };
        await ledger.time('update', () => learner.accumulate(result.gradients, options));
      }
    }
    const weights = weightsOf(results);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const average = (values: readonly number[]) =>
      values.reduce((sum, value, i) => sum + weights[i]! * value, 0) / total;
    const gradients = accumulate > 1 ? learner.accumulated : results[0]!.gradients;
    const update = { learningRate, weightDecay, maxGradientNorm, gradientFactor: 1 / total };
    // NaN where the loss scale was too large; no parameter has moved then.
    const gradientNorm = await ledger.time('update', () => learner.apply(gradients, update));
    const afterwards = await ledger.time('refresh', () => objective.updated(step));
    const totals = ledger.totals;
    const verdict = await onStep({
      step,
      epoch: end / batches.perEpoch,
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

/** Weights of the batches of an update, relative to its first batch. */
const weightsOf = (results: readonly StepResult[]): number[] =>
  results.map(({ examples = 1 }) => examples / (results[0]!.examples ?? 1));

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const averages = (records: readonly Readonly<Record<string, number>>[]): Record<string, number> =>
  Object.fromEntries(
    [...new Set(records.flatMap(Object.keys))].map((key) => [
      key,
      mean(records.flatMap((record) => record[key] ?? [])),
    ]),
  );

/** Computes the growth of every count. */
const difference = (
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> =>
  Object.fromEntries(
    Object.entries(after).flatMap(([name, amount]) =>
      isTime(name) ? [] : [[name, amount - (before[name] ?? 0)]],
    ),
  );
