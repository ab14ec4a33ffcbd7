import { UsageError } from './errors.ts';
import { count, formatCount, formatDuration } from './format.ts';

/** Stream that progress is written to, such as `process.stderr`. */
export interface ProgressStream {
  /** Writes a text. */
  write(text: string): unknown;
  /** Whether the stream is a terminal, on which a line can be rewritten. Default false. */
  readonly isTTY?: boolean;
  /** Width of the terminal in characters. Default 80. */
  readonly columns?: number;
}

/** Options of a progress line. */
export interface ProgressLineOptions {
  /** Name of the activity: "encode", "train". */
  readonly label: string;
  /** Name of the units, in the plural, for count and rate: "texts", "steps". Default "". */
  readonly unit?: string;
  /** Number of units of the whole job, at least 0. Default: not known. */
  readonly total?: number;
  /**
   * Number of units done before this process began (in a resumed run). They do not count for the rate.
   * Default 0.
   */
  readonly initial?: number;
  /** Whether anything is written. Default true. */
  readonly enabled?: boolean;
  /** Shortest time between two rewrites of the line on a terminal, in milliseconds. Default 100. */
  readonly redrawMs?: number;
  /** Shortest time between two lines in a pipe or file, in milliseconds. Default 10,000. */
  readonly lineMs?: number;
  /** Stream to write to. Default `process.stderr`, because stdout is for results. */
  readonly stream?: ProgressStream;
  /** Monotonic clock in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** Extra values at the end of the line. Numbers are shown with four significant digits, texts unchanged. */
export type ProgressFields = Readonly<Record<string, number | string>>;

/**
 * Time constant of the smoothed rate: long enough to even out single steps, short enough to notice a slower
 * phase.
 */
const RATE_MEMORY_MS = 15_000;

const BAR_CELLS = 20;
/** Shortest bar worth showing. */
const LEAST_CELLS = 5;

/**
 * Shows the progress of a long job: one line that is rewritten on a terminal, a plain line from time to time elsewhere.
 *
 *     train ███████████░░░░░░░░░  56%  1,120/2,000 steps  7.05 steps/s  2m 05s left  loss 0.4312
 *
 * The rate is an exponential mean with a time constant of 15 s. The time left is the remaining count divided by the rate.
 *
 * @example
 * const progress = new ProgressLine({ label: 'encode', unit: 'texts', total: 5000 });
 * for (let done = 0; done <= 5000; done += 64) progress.update(done, { batch: 64 });
 * progress.finish();
 */
export class ProgressLine {
  private readonly label: string;
  private readonly unit: string;
  private readonly total: number | undefined;
  private readonly initial: number;
  private readonly stream: ProgressStream;
  private readonly isTerminal: boolean;
  private readonly enabled: boolean;
  private readonly intervalMs: number;
  private readonly now: () => number;
  private readonly startMs: number;
  private readonly rate: SmoothedRate;
  private done: number;
  private fields: ProgressFields = {};
  private lastWriteMs: number;
  private finished = false;
  /** Whether the terminal's current line is an unfinished progress line. */
  private lineOpen = false;

  constructor(options: ProgressLineOptions) {
    const { total, initial = 0 } = options;
    if (total !== undefined && !(total >= 0))
      throw new UsageError(`progress needs a total of at least 0, got ${total}`);
    this.label = options.label;
    this.unit = options.unit ?? '';
    this.total = total;
    this.initial = initial;
    this.done = initial;
    this.stream = options.stream ?? process.stderr;
    this.isTerminal = this.stream.isTTY === true;
    this.enabled = options.enabled ?? true;
    this.intervalMs = this.isTerminal ? (options.redrawMs ?? 100) : (options.lineMs ?? 10_000);
    this.now = options.now ?? (() => performance.now());
    this.startMs = this.now();
    this.rate = new SmoothedRate(initial, this.startMs);
    // The first update appears on a terminal at once, and in a log after the interval.
    this.lastWriteMs = this.isTerminal ? Number.NEGATIVE_INFINITY : this.startMs;
  }

  /**
   * Reports how many units are done. The call is cheap: a line is written only when one is due.
   *
   * @param done number of units since the job began, including `initial`
   * @param fields extra values, which replace earlier ones of the same name
   */
  update(done: number, fields?: ProgressFields): void {
    if (!this.enabled || this.finished) return;
    const nowMs = this.now();
    this.done = done;
    if (fields !== undefined) this.fields = { ...this.fields, ...fields };
    this.rate.add(done, nowMs);
    if (nowMs - this.lastWriteMs < this.intervalMs) return;
    this.write(nowMs);
  }

  /** Writes a permanent line above the progress line. */
  log(line: string): void {
    if (!this.enabled) return;
    this.clearLine();
    this.stream.write(`${line}\n`);
    // The next update redraws the progress line at once.
    if (this.isTerminal) this.lastWriteMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Writes the final state with the time taken and the average rate, and ends the line. Later updates are
   * ignored.
   */
  finish(): void {
    if (!this.enabled || this.finished) return;
    this.finished = true;
    this.write(this.now());
    if (this.isTerminal) this.stream.write('\n');
    this.lineOpen = false;
  }

  private write(nowMs: number): void {
    this.lastWriteMs = nowMs;
    if (!this.isTerminal) {
      this.stream.write(`${this.describe(nowMs).join('  ')}\n`);
      return;
    }
    const width = (this.stream.columns || 80) - 1;
    const line = this.fitting(nowMs, width);
    this.clearLine();
    this.stream.write(line.slice(0, Math.max(0, width)));
    this.lineOpen = true;
  }

  /**
   * Fits the line to a narrow terminal: with a shorter bar or none, then without some extra values, the last
   * ones first.
   */
  private fitting(nowMs: number, width: number): string {
    const length = (parts: readonly string[]) => parts.join('  ').length;
    const excess = Math.max(0, length(this.describe(nowMs, BAR_CELLS)) - width);
    const parts = this.describe(nowMs, excess > BAR_CELLS - LEAST_CELLS ? 0 : BAR_CELLS - excess);
    for (let fields = Object.keys(this.fields).length; fields > 0 && length(parts) > width; fields--)
      parts.pop();
    return parts.join('  ');
  }

  /** Moves to the first column and erases to the end of the line (ANSI EL). */
  private clearLine(): void {
    if (this.lineOpen) this.stream.write('\r\x1b[K');
    this.lineOpen = false;
  }

  private describe(nowMs: number, barCells = 0): string[] {
    const { total, done, unit } = this;
    const parts: string[] = [];
    const units = unit === '' ? '' : ` ${unit}`;
    if (total === undefined) parts.push(`${this.label} ${count(done)}${units}`);
    else {
      const ratio = total === 0 ? 1 : Math.min(1, Math.max(0, done / total));
      // The percentage is rounded down, so that 100 % appears only when the job is done.
      const percent = `${Math.floor(ratio * 100)}%`.padStart(4);
      const bar = barCells > 0 ? ` ${drawBar(ratio, barCells)}` : '';
      parts.push(`${this.label}${bar} ${percent}`, `${count(done)}/${count(total)}${units}`);
    }
    const elapsedMs = nowMs - this.startMs;
    const overall = elapsedMs > 0 ? ((done - this.initial) / elapsedMs) * 1000 : undefined;
    const perSecond = this.finished ? overall : this.rate.perSecond;
    if (perSecond !== undefined && perSecond > 0) {
      parts.push(`${formatCount(perSecond)}${units}/s`);
    }
    if (this.finished) parts.push(`in ${formatDuration(elapsedMs)}`);
    else if (total !== undefined && done < total && perSecond !== undefined && perSecond > 0) {
      parts.push(`${formatDuration(((total - done) / perSecond) * 1000)} left`);
    }
    for (const [name, value] of Object.entries(this.fields)) {
      parts.push(`${name} ${typeof value === 'number' ? formatValue(value) : value}`);
    }
    return parts;
  }
}

/**
 * Exponentially weighted mean of a rate over irregular intervals.
 *
 *     after Δ units in δ ms:  n ← n e^{−δ/τ} + Δ,  t ← t e^{−δ/τ} + δ,  rate = n / t
 *
 * Numerator and denominator decay alike, so the first estimates are plain means, without start-up bias.
 */
class SmoothedRate {
  private units = 0;
  private spanMs = 0;
  private lastDone: number;
  private lastMs: number;

  constructor(done: number, nowMs: number) {
    this.lastDone = done;
    this.lastMs = nowMs;
  }

  add(done: number, nowMs: number): void {
    const deltaMs = nowMs - this.lastMs;
    if (deltaMs <= 0) return; // counted with the next tick of the clock
    const decay = Math.exp(-deltaMs / RATE_MEMORY_MS);
    this.units = this.units * decay + Math.max(0, done - this.lastDone);
    this.spanMs = this.spanMs * decay + deltaMs;
    this.lastDone = done;
    this.lastMs = nowMs;
  }

  get perSecond(): number | undefined {
    return this.spanMs > 0 ? (this.units / this.spanMs) * 1000 : undefined;
  }
}

function drawBar(ratio: number, cells: number): string {
  const full = Math.floor(ratio * cells);
  return '█'.repeat(full) + '░'.repeat(cells - full);
}

/**
 * Formats a number with four significant digits; very large and very small numbers in scientific notation.
 */
function formatValue(value: number): string {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? value.toPrecision(4) : value.toExponential(2);
}
