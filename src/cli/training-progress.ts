import type { ReportedStep } from '../train/callbacks.ts';
import { count, formatCount } from '../util/format.ts';
import type { Progress } from '../util/progress.ts';
import type { ProgressFields } from '../util/progress-line.ts';
import type { Io } from './io.ts';

/** Work between two steps that takes less gets no line of its own. */
const QUICK_MS = 2000;

/**
 * Shows training runs, one after the other: what comes before the first step, then the steps with loss, staleness (where there is
 * one), mean document encodes of a step and speed, how many steps a table is behind and how far the next one has come. What happens between two steps, such as a refresh of a cache, is shown where it
 * takes long.
 */
export class TrainingProgress {
  private readonly io: Io;
  private readonly now: () => number;
  private label = 'train';
  private steps = 0;
  private encodes = 0;
  /** How far work has come that goes on beside the steps, by its name. */
  private beside: Record<string, string> = {};
  /** What goes on between two steps, and since when. */
  private between: { stage: string; startMs: number } | undefined;

  constructor(io: Io, { now = () => performance.now() }: { now?: () => number } = {}) {
    this.io = io;
    this.now = now;
  }

  /** Another run begins. */
  begin(label: string): void {
    this.label = label;
    this.steps = 0;
    this.encodes = 0;
    this.between = undefined;
    this.beside = {};
  }

  /** Shown with the steps. */
  background({ stage, done, total, unit }: Progress): void {
    this.beside[stage] =
      total === undefined ? `${count(done)} ${unit}` : `${Math.floor((100 * done) / total)}%`;
  }

  stage({ stage, done, total, unit }: Progress): void {
    if (this.steps > 0) {
      if (this.between?.stage !== stage) this.between = { stage, startMs: this.now() };
      if (this.now() - this.between.startMs < QUICK_MS) return;
    }
    this.io.progress(stage, done, { total, unit });
  }

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
      'encodes/step': formatCount(this.encodes / this.steps),
      [`${throughput.unit}/s`]: formatCount(throughput.perSecond),
      ...(refreshLagSteps !== undefined && { lag: refreshLagSteps }),
      ...this.beside,
    };
  }
}
