import { type NoteListener, option, tellNote } from '../util/option-name.ts';
import type { StepReport } from './loop.ts';

/** Consecutive updates without any gradient after which a note is given. */
const ZERO_GRADIENTS = 3;
/** Updates that the watched part of a run has at least. */
const LEAST_UPDATES = 20;
/** Loss, in nats, below which nothing is left to learn. */
const FLOOR = 1e-5;
/** Relative range within which a loss counts as not moving. Losses of different batches differ by far more. */
const STILL = 1e-4;

/**
 * Watches the updates of a run, and notes once each when something is off:
 *
 * - gradients that are all zero
 * - a loss at its floor for a tenth of the run
 * - a loss that does not move for a tenth of the run
 */
export class TrainingWatch {
  private readonly onNote: NoteListener | undefined;
  private readonly span: number;
  private readonly noted = new Set<string>();
  private zeros = 0;
  private seen = 0;
  private low = Number.POSITIVE_INFINITY;
  private high = Number.NEGATIVE_INFINITY;

  /** @param totalSteps  updates of the whole run */
  constructor(totalSteps: number, onNote: NoteListener | undefined) {
    this.span = Math.max(LEAST_UPDATES, Math.ceil(totalSteps / 10));
    this.onNote = onNote;
  }

  /** Looks at an update. */
  step({
    step,
    gradientNorm,
    trainingLoss,
  }: Pick<StepReport, 'step' | 'gradientNorm' | 'trainingLoss'>): void {
    this.zeros = gradientNorm === 0 ? this.zeros + 1 : 0;
    if (this.zeros === ZERO_GRADIENTS) {
      this.note(
        'gradients',
        `step ${step}: all gradients of the last ${ZERO_GRADIENTS} updates are zero, and nothing is learnt: the texts of a batch ` +
          `may all be the same to the model, or the loss may be at its floor (raise ${option('temperature')}, look at the data)`,
      );
    }
    const low = Math.min(this.low, trainingLoss);
    const high = Math.max(this.high, trainingLoss);
    this.seen++;
    const whole = this.seen === this.span;
    this.low = whole ? Number.POSITIVE_INFINITY : low;
    this.high = whole ? Number.NEGATIVE_INFINITY : high;
    if (!whole) return;
    this.seen = 0;
    if (high < FLOOR) {
      this.note(
        'floor',
        `step ${step}: the loss has been at its floor (below ${FLOOR}) for ${this.span} updates, and little is left to learn: ` +
          `give harder negatives (undrift mine), larger batches, or a higher ${option('temperature')}`,
      );
    } else if (high - low <= STILL * Math.abs(high)) {
      this.note(
        'still',
        `step ${step}: the loss has not moved from ${high.toPrecision(4)} for ${this.span} updates: ` +
          `look at ${option('lr')}, and whether the model reads the texts (undrift doctor)`,
      );
    }
  }

  private note(kind: string, text: string): void {
    if (this.noted.has(kind)) return;
    this.noted.add(kind);
    tellNote(this.onNote, text);
  }
}
