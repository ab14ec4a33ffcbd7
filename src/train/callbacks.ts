import { UndriftError } from '../util/errors.ts';
import type { NoteListener } from '../util/option-name.ts';
import type { Progress } from '../util/progress.ts';
import type { StepReport } from './loop.ts';

/** Report of an update, with facts about the whole run. */
export interface ReportedStep extends StepReport {
  /** Updates of the whole run. */
  totalSteps: number;
  /** Work done per second of training in this process, and its unit, such as `texts` or `tokens`. */
  throughput: { readonly unit: string; readonly perSecond: number };
  /** Milliseconds of preparation before the first step, such as filling a cache or mining. 0 for a resumed run. */
  prepareMs: number;
}

/** Ranker that needs no training, measured on the evaluation's queries. */
export interface Baseline {
  /** Name in messages: `BM25`. */
  readonly name: string;
  /** Metrics by name. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** Functions that a run calls during training. */
export interface TrainCallbacks {
  /** Called with facts that are stated once: what was loaded, how many negatives a query has, what was assumed. */
  onNote?: NoteListener;
  /** Called with the progress of work outside of steps: reading, tokenising, filling a cache. */
  onProgress?: (progress: Progress) => void;
  /** Called with the progress of work beside the steps, such as a refresh in another process. */
  onBackground?: (progress: Progress) => void;
  /** Called after every update. */
  onStep?: (report: ReportedStep) => void;
  /** Called every `diagnose` steps with the effect of staleness on training; see `TableProbe`. */
  onDiagnosis?: (diagnosis: { step: number; values: Readonly<Record<string, number>> }) => void;
  /** Called after every evaluation. `best` tells whether it is the best so far. */
  onEvaluation?: (evaluation: {
    step: number;
    metrics: Readonly<Record<string, number>>;
    best: boolean;
  }) => void;
  /** Called once, before the first evaluation, with the metrics of a ranker that needs no training. */
  onBaseline?: (baseline: Baseline) => void;
  /**
   * Signal that stops the run. Before the first step the run stops at once; later it saves after the current step. In both cases
   * it throws `InterruptedError`.
   */
  signal?: AbortSignal;
}

/** Error of a run that its user has stopped. If training had begun, everything is saved. */
export class InterruptedError extends UndriftError {}

/**
 * Wraps callbacks so that, until training begins, an aborted run stops at its next report of progress.
 *
 * @returns  the wrapped callbacks, and the function to call when training begins
 */
export function stoppedWhilePreparing(given: TrainCallbacks): {
  callbacks: TrainCallbacks;
  trainingBegins: () => void;
} {
  let training = false;
  const callbacks: TrainCallbacks = {
    ...given,
    onProgress(progress) {
      // Work between two steps is completed; the run saves after the step.
      if (given.signal?.aborted && !training) throw new InterruptedError('stopped before training began');
      given.onProgress?.(progress);
    },
  };
  const trainingBegins = () => {
    training = true;
  };
  return { callbacks, trainingBegins };
}
