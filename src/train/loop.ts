import type { CostLedger } from '../methods/cost-ledger.ts';
import type { RunningMethod, StepResult } from '../methods/method.ts';
import { type ScheduleOptions, scheduleRatio } from '../optim/schedule.ts';
import type { Learner } from '../runtime/learner.ts';
import { UndriftError } from '../util/errors.ts';
import type { Batches } from './batches.ts';

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

/** One update, as reported to whoever watches. */
export interface StepReport {
  /** Updates made, this one included. */
  step: number;
  /** Passes over the data. */
  epoch: number;
  learningRate: number;
  gradientNorm: number;
  /** Queries and documents that were encoded. */
  texts: number;
  trainingLoss: number;
  interpretableLoss: number;
  metrics: Readonly<Record<string, number>>;
  /** What the run has spent so far, by name. */
  ledger: Readonly<Record<string, number>>;
}

/** What the loop works on. */
export interface LoopParts {
  learner: Learner;
  method: RunningMethod;
  batches: Batches;
  ledger: CostLedger;
  /** Called after every update; the loop waits for it, and stops early when it gives `stop`. */
  onStep: (report: StepReport) => Promise<'go on' | 'stop'>;
}

/**
 * The training loop: batch → loss and gradients (the method's part) → update (the learner's) → report. Starts after the
 * learner's last step, so a restored learner goes on where it stopped.
 *
 * @throws UndriftError with the step when the loss is not finite; the parameters are then those of the step before
 */
export async function trainingLoop(
  { learner, method, batches, ledger, onStep }: LoopParts,
  options: LoopOptions,
): Promise<void> {
  const { accumulate, totalSteps, weightDecay, maxGradientNorm } = options;
  while (learner.step < totalSteps) {
    const step = learner.step + 1;
    const learningRate = options.learningRate * scheduleRatio(step, options.schedule);
    const results: StepResult[] = [];
    let texts = 0;
    for (let part = 0; part < accumulate; part++) {
      const draw = (step - 1) * accumulate + part;
      const batch = batches.batch(draw);
      const result = await method.step(batch, draw);
      if (!Number.isFinite(result.trainingLoss)) {
        throw new UndriftError(`step ${step}: the loss is ${result.trainingLoss}`, {
          help: 'lower the learning rate, clip gradients (--max-grad-norm 1), or raise the temperature',
        });
      }
      texts += batch.queryRows.length + batch.positiveRows.length + batch.negativeRows.length;
      if (accumulate > 1) await learner.accumulate(result.gradients, { first: part === 0 });
      results.push(result);
    }
    const gradients = accumulate > 1 ? learner.accumulated : results[0]!.gradients;
    const update = { learningRate, weightDecay, maxGradientNorm, gradientFactor: 1 / accumulate };
    const gradientNorm = await ledger.time('update', () => learner.apply(gradients, update));
    const afterwards = await method.updated(step);
    const verdict = await onStep({
      step,
      epoch: (step * accumulate) / batches.perEpoch,
      learningRate,
      gradientNorm,
      texts,
      trainingLoss: average(results.map((r) => r.trainingLoss)),
      interpretableLoss: average(results.map((r) => r.interpretableLoss)),
      metrics: { ...averages(results.map((r) => r.metrics)), ...afterwards },
      ledger: ledger.totals,
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
