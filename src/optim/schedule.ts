import { UsageError } from '../util/errors.ts';

export type ScheduleName = 'constant' | 'linear' | 'cosine';

export const SCHEDULES: readonly ScheduleName[] = ['constant', 'linear', 'cosine'];

/** How the learning rate moves over a run. */
export interface ScheduleOptions {
  name: ScheduleName;
  /** Steps over which the rate rises linearly from 0. */
  warmupSteps: number;
  totalSteps: number;
  /** Rate at the end of `linear` and `cosine`, as a share of the peak. Default 0. */
  floorRatio?: number;
}

/**
 * Learning rate of an update as a share of the peak.
 *
 *   step ≤ warm-up:  step / warmup;     then, with p from 0 at the end of warm-up to 1 at the last step:
 *   constant 1,     linear  1 − p (1−f),     cosine  f + (1−f)(1 + cos πp)/2
 *
 * @param step  number of the update, from 1
 */
export function scheduleRatio(
  step: number,
  { name, warmupSteps, totalSteps, floorRatio = 0 }: ScheduleOptions,
): number {
  if (!(totalSteps > 0) || warmupSteps < 0 || step < 1) {
    throw new UsageError(`no schedule for step ${step} of ${totalSteps} with ${warmupSteps} warm-up steps`);
  }
  if (step <= warmupSteps) return step / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  if (name === 'constant') return 1;
  if (name === 'linear') return 1 - progress * (1 - floorRatio);
  return floorRatio + ((1 - floorRatio) * (1 + Math.cos(Math.PI * progress))) / 2;
}
