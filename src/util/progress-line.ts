import { UsageError } from './errors.ts';
import { formatCount, formatDuration } from './format.ts';

/** What progress is written to; `process.stderr` is one. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressLineOptions {
  /** What is going on: "encode", "train". */
  readonly label: string;
  /** What is counted, for the rate: "texts", "steps". Default "". */
  readonly unit?: string;
  /** Units until done; leave it out where nobody knows. */
  readonly total?: number;
  /** Units done before this process began (a resumed run); they do not count for the rate. Default 0. */
  readonly initial?: number;
  /** `false` writes nothing at all. Default true. */
  readonly enabled?: boolean;
  /** Least time between two rewritten lines of a terminal. Default 100. */
  readonly redrawMs?: number;
  /** Least time between two lines of a pipe or file. Default 10,000. */
  readonly lineMs?: number;
  /** Default `process.stderr`; never the standard output, which belongs to results. */
  readonly stream?: ProgressStream;
  /** Milliseconds of a clock that never goes back. Default `performance.now`. */
  readonly now?: () => number;
}

/** Extra values at the end of the line: numbers get four significant digits, texts stay. */
export type ProgressFields = Readonly<Record<string, number | string>>;

/** Time over which the rate forgets: long enough to even out single steps, short enough to notice a slower phase. */
const RATE_MEMORY_MS = 15_000;

const BAR_CELLS = 20;
/** Of a shorter bar nothing is to be seen. */
const LEAST_CELLS = 5;

/**
 * Progress of a long job on stderr: on a terminal one line that is rewritten, elsewhere a plain line now and then.
 *
 *     train ███████████░░░░░░░░░  56%  1,120/2,000 steps  7.05 steps/s  2m 05s left  loss 0.4312
 *
 * The rate is an exponential mean with a memory of 15 s, and the time left is what remains divided by it.
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
  /** Whether a line without its end stands on the terminal. */
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
    // A terminal shows the first update at once; a log gets its first line after the interval.
    this.lastWriteMs = this.isTerminal ? Number.NEGATIVE_INFINITY : this.startMs;
  }

  /**
   * Says how many units are done by now. Cheap: a line is written only when one is due.
   *
   * @param done units since the job began, `initial` included.
   * @param fields replace the earlier ones with the same name; the others stay.
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

  /** Writes a line that stays, above the progress line. */
  log(line: string): void {
    if (!this.enabled) return;
    this.clearLine();
    this.stream.write(`${line}\n`);
    // Drawn again by the next update.
    if (this.isTerminal) this.lastWriteMs = Number.NEGATIVE_INFINITY;
  }

  /** Writes the last state with the time taken and the overall rate, and ends the line. Later calls do nothing. */
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

  /** The line of a narrow terminal: a shorter bar or none, then fewer of the extra values, the last ones first. */
  private fitting(nowMs: number, width: number): string {
    const length = (parts: readonly string[]) => parts.join('  ').length;
    const excess = Math.max(0, length(this.describe(nowMs, BAR_CELLS)) - width);
    const parts = this.describe(nowMs, excess > BAR_CELLS - LEAST_CELLS ? 0 : BAR_CELLS - excess);
    for (let fields = Object.keys(this.fields).length; fields > 0 && length(parts) > width; fields--)
      parts.pop();
    return parts.join('  ');
  }

  /** Back to the first column, and erase to the end of the line (ANSI EL). */
  private clearLine(): void {
    if (this.lineOpen) this.stream.write('\r\x1b[K');
    this.lineOpen = false;
  }

  private describe(nowMs: number, barCells = 0): string[] {
    const { total, done, unit } = this;
    const parts: string[] = [];
    const count = unit === '' ? '' : ` ${unit}`;
    if (total === undefined) parts.push(`${this.label} ${formatInteger(done)}${count}`);
    else {
      const ratio = total === 0 ? 1 : Math.min(1, Math.max(0, done / total));
      // Rounded down: 100 % means that it is done.
      const percent = `${Math.floor(ratio * 100)}%`.padStart(4);
      const bar = barCells > 0 ? ` ${drawBar(ratio, barCells)}` : '';
      parts.push(`${this.label}${bar} ${percent}`, `${formatInteger(done)}/${formatInteger(total)}${count}`);
    }
    const elapsedMs = nowMs - this.startMs;
    const overall = elapsedMs > 0 ? ((done - this.initial) / elapsedMs) * 1000 : undefined;
    const perSecond = this.finished ? overall : this.rate.perSecond;
    if (perSecond !== undefined && perSecond > 0) {
      parts.push(`${formatCount(perSecond)}${count}/s`);
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
 *   after Δ units in δ ms:  n ← n e^{−δ/τ} + Δ,  t ← t e^{−δ/τ} + δ,  rate = n / t
 *
 * Numerator and denominator decay alike, so the first estimates are the plain mean: no start-up bias.
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

function formatInteger(value: number): string {
  return value.toLocaleString('en-US');
}

/** Four significant digits; very large and very small numbers in scientific notation. */
function formatValue(value: number): string {
  if (!Number.isFinite(value) || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? value.toPrecision(4) : value.toExponential(2);
}
