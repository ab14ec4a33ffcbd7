import type { ReportedStep } from '../train/callbacks.ts';
import { count, formatCount } from '../util/format.ts';
import type { Progress } from '../util/progress.ts';
import type { ProgressFields } from '../util/progress-line.ts';
import type { Io } from './io.ts';

/** Minimum duration of work between two steps that gets its own line, in milliseconds. */
const QUICK_MS = 2000;

/**
 * Shows the progress of training runs, one after the other.
 *
 * Shows the stages before the first step, then the steps. A line of a step has the loss, the mean number of
 * document encodes per step, and the speed. If the method has them, the line also shows the staleness, the
 * lag of the table in steps, and the progress of background work. Work between two steps, such as a refresh
 * of a cache, is shown if it takes longer than `QUICK_MS`.
 */
export class TrainingProgress {
  private readonly io: Io;
  private readonly now: () => number;
  private label = 'train';
  private steps = 0;
  private encodes = 0;
  /** Progress of background work, by the name of the stage. */
  private beside: Record<string, string> = {};
  /** Stage of the work between two steps, with its start. */
  private between: { stage: string; startMs: number } | undefined;

  constructor(io: Io, { now = () => performance.now() }: { now?: () => number } = {}) {
    this.io = io;
    this.now = now;
  }

  /**
   * Begins another run and resets the counts.
   *
   * @param label  name of the run in the progress line
   */
  begin(label: string): void {
    this.label = label;
    this.steps = 0;
    this.encodes = 0;
    this.between = undefined;
    this.beside = {};
  }

  /** Updates the progress of background work, which is shown with the steps. */
  background({ stage, done, total, unit }: Progress): void {
    this.beside[stage] =
      total === undefined ? `${count(done)} ${unit}` : `${Math.floor((100 * done) / total)}%`;
  }

  /** Shows the progress of work before the first step or between two steps. */
  stage({ stage, done, total, unit }: Progress): void {
    if (this.steps > 0) {
      if (this.between?.stage !== stage) this.between = { stage, startMs: this.now() };
      if (this.now() - this.between.startMs < QUICK_MS) return;
    }
    this.io.progress(stage, done, { total, unit });
  }

  /** Shows a step. */
  step(report: ReportedStep): void {
    this.between = undefined;
    this.steps += 1;
    this.encodes += report.spent.documentEncodes ?? 0;
    this.io.progress(this.label, report.step, {
      total: report.totalSteps,
      unit: 'steps',
      initial: report.step - 1,
      fields: this.fields(report),
    });
  }

  private fields({ interpretableLoss, metrics, throughput }: ReportedStep): ProgressFields {
    const { staleness, refreshLagSteps } = metrics;
    return {
      loss: interpretableLoss.toPrecision(3),
      ...(staleness !== undefined && { staleness: staleness.toPrecision(2) }),
      ...(this.encodes > 0 && { 'encodes/step': formatCount(this.encodes / this.steps) }),
      [`${throughput.unit}/s`]: formatCount(throughput.perSecond),
      ...(refreshLagSteps !== undefined && { lag: refreshLagSteps }),
      ...this.beside,
    };
  }
}
