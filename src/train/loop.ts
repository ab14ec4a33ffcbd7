import type { RunningMethod, StepResult } from '../methods/contract/method.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import { type ScheduleOptions, scheduleRatio } from '../optim/schedule.ts';
import type { Learner } from '../runtime/learner.ts';
import { UndriftError } from '../util/errors.ts';
import type { Batches } from './pair-batches.ts';

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
  /** Texts that this update embedded, each as often as it was; refreshes of caches included. */
  encodes: { readonly queries: number; readonly documents: number };
  trainingLoss: number;
  interpretableLoss: number;
  /** Means over the batches of the update, and what the update itself found. */
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
    const before = ledger.encodes;
    for (let part = 0; part < accumulate; part++) {
      const draw = (step - 1) * accumulate + part;
      const batch = batches.batch(draw);
      const result = await ledger.time('step', () => method.step(batch, draw));
      if (!Number.isFinite(result.trainingLoss)) {
        throw new UndriftError(`step ${step}: the loss is ${result.trainingLoss}`, {
          help: 'lower the learning rate, clip gradients (--max-grad-norm 1), or raise the temperature',
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
    const afterwards = await ledger.time('refresh', () => method.updated(step));
    const { queries, documents } = ledger.encodes;
    const verdict = await onStep({
      step,
      epoch: (step * accumulate) / batches.perEpoch,
      learningRate,
      gradientNorm,
      encodes: { queries: queries - before.queries, documents: documents - before.documents },
      trainingLoss: average(results.map((r) => r.trainingLoss)),
      interpretableLoss: average(results.map((r) => r.interpretableLoss)),
      metrics: { ...averages(results.map((r) => r.metrics)), ...afterwards, ...learner.inspect() },
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
