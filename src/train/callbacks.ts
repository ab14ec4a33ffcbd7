import { UndriftError } from '../util/errors.ts';
import type { Progress } from '../util/progress.ts';
import type { StepReport } from './loop.ts';

/** An update, with what is known of the whole run. */
export interface ReportedStep extends StepReport {
  totalSteps: number;
  /** Work done per second of training in this process, and its unit: `texts`, `tokens`. */
  throughput: { readonly unit: string; readonly perSecond: number };
  /** Milliseconds before the first step, to fill a cache or to mine. 0 where the run was resumed. */
  prepareMs: number;
}

/** Functions that a run calls while it goes on. */
export interface TrainCallbacks {
  /** One-time facts: what was loaded, how many negatives a query has, what was assumed. */
  onNote?: (note: string) => void;
  /** Progress of work outside of steps: reading, tokenising, filling a cache. */
  onProgress?: (progress: Progress) => void;
  /** Progress of work beside the steps, such as a refresh in another process. */
  onBackground?: (progress: Progress) => void;
  onStep?: (report: ReportedStep) => void;
  /** Effect of staleness on training, every `diagnose` steps; see `TableProbe`. */
  onDiagnosis?: (diagnosis: { step: number; values: Readonly<Record<string, number>> }) => void;
  onEvaluation?: (evaluation: {
    step: number;
    metrics: Readonly<Record<string, number>>;
    best: boolean;
  }) => void;
  /**
   * Stops the run. Before the first step it stops at once; later it saves after the current step. Either way it throws
   * `InterruptedError`.
   */
  signal?: AbortSignal;
}

/** A run was stopped by its user; where training had begun, everything is saved. */
export class InterruptedError extends UndriftError {}

/**
 * Callbacks by which an aborted run stops at its next report of progress, until training begins.
 *
 * @returns  the callbacks, and the function to call when training begins
 */
export function stoppedWhilePreparing(given: TrainCallbacks): {
  callbacks: TrainCallbacks;
  trainingBegins: () => void;
} {
  let training = false;
  const callbacks: TrainCallbacks = {
    ...given,
    onProgress(progress) {
      // Work between two steps is finished, and saved after the step.
      if (given.signal?.aborted && !training) throw new InterruptedError('stopped before training began');
      given.onProgress?.(progress);
    },
  };
  const trainingBegins = () => {
    training = true;
  };
  return { callbacks, trainingBegins };
}
