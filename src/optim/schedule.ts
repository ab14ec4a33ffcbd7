import { UsageError } from '../util/errors.ts';

/** Name of a learning-rate schedule. */
export type ScheduleName = 'constant' | 'linear' | 'cosine';

/** Names of all learning-rate schedules. */
export const SCHEDULES: readonly ScheduleName[] = ['constant', 'linear', 'cosine'];

/** Learning-rate schedule of a run. */
export interface ScheduleOptions {
  /** Shape of the curve after warm-up. */
  name: ScheduleName;
  /** Number of steps over which the rate rises linearly from 0 to the peak; 0 for no warm-up. */
  warmupSteps: number;
  /** Number of steps of the whole run, above 0. */
  totalSteps: number;
  /** Rate that `linear` and `cosine` would reach in the update after the last one, relative to the peak. Default 0. */
  floorRatio?: number;
}

/**
 * Learning rate of an update, relative to the peak. It is above 0 in every update of a run.
 *
 *     step ≤ warmup:  step / warmup
 *     constant:       1
 *     linear:         1 − p (1−f)
 *     cosine:         f + (1−f)(1 + cos πp)/2
 *
 * Here f is `floorRatio`, and p = (step − 1 − warmup) / (totalSteps − warmup): 0 in the first update after the warm-up, and 1 only
 * in the update that would follow the last one.
 *
 * After the warm-up, the values are those of the schedulers of Hugging Face's transformers. Within it they are one update ahead:
 * transformers begins with a rate of 0, with which the first update would change nothing.
 *
 * @param step number of the update, from 1
 * @throws UsageError if `totalSteps` is not positive, `warmupSteps` is negative, or `step` is below 1.
 */
export function scheduleRatio(
  step: number,
  { name, warmupSteps, totalSteps, floorRatio = 0 }: ScheduleOptions,
): number {
  if (!(totalSteps > 0) || warmupSteps < 0 || step < 1) {
    throw new UsageError(`no schedule for step ${step} of ${totalSteps} with ${warmupSteps} warm-up steps`);
  }
  if (step <= warmupSteps) return step / warmupSteps;
  const progress = Math.min(1, (step - 1 - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  if (name === 'constant') return 1;
  if (name === 'linear') return 1 - progress * (1 - floorRatio);
  return floorRatio + ((1 - floorRatio) * (1 + Math.cos(Math.PI * progress))) / 2;
}
