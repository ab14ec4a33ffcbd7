import { UndriftError } from '../util/errors.ts';
import { type ProgressFields, ProgressLine } from '../util/progress-line.ts';

/** A command that was stopped by Ctrl-C (or SIGTERM). */
export class Interrupted extends UndriftError {
  constructor() {
    super('interrupted');
  }
}

/** Exit code after Ctrl-C, as shells count it: 128 + SIGINT. */
export const INTERRUPTED_EXIT_CODE = 130;

/** What a command may use of the terminal. The standard output is not among it: it belongs to the command's result. */
export interface Io {
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal;
  /** A line for people, on stderr. */
  log(line: string): void;
  /**
   * Shows how far a stage of the work has come; another stage ends the one before.
   * @throws Interrupted after Ctrl-C, which is how long work stops
   */
  progress(stage: string, done: number, options?: StageOptions): void;
  /** Ends the last stage. */
  finishProgress(): void;
}

/** A stage that takes less gets no line in a log. */
const QUICK_MS = 2000;

export interface StageOptions {
  /** Units until the stage is done, where it is known. */
  total?: number | undefined;
  /** What is counted; default `texts`. */
  unit?: string | undefined;
  /** Units that were done before this process began. */
  initial?: number | undefined;
  /** Further values to show. */
  fields?: ProgressFields | undefined;
}

/** Writes progress and messages to stderr. */
export class TerminalIo implements Io {
  readonly signal: AbortSignal;
  private readonly quiet: boolean;
  private readonly graceful: boolean;
  private stage:
    | { name: string; total: number | undefined; done: number; startMs: number; progress: ProgressLine }
    | undefined;
  /** Time of the last sign of progress. */
  private lastMs = performance.now();

  /** @param options.graceful  the command looks after `signal` itself, and is not thrown out of its work */
  constructor(options: { signal: AbortSignal; quiet: boolean; graceful: boolean }) {
    this.signal = options.signal;
    this.quiet = options.quiet;
    this.graceful = options.graceful;
  }

  log(line: string): void {
    if (this.stage) this.stage.progress.log(line);
    else if (!this.quiet) process.stderr.write(`${line}\n`);
  }

  progress(name: string, done: number, options: StageOptions = {}): void {
    if (this.signal.aborted && !this.graceful) throw new Interrupted();
    const { total, unit = 'texts', initial = 0, fields } = options;
    // A count that begins again is the same work on something else.
    const goesOn = this.stage?.name === name && this.stage.total === total && done >= this.stage.done;
    if (!this.stage || !goesOn) {
      // The first report comes when something is done: the work began where the last stage was left.
      const startMs = this.lastMs;
      this.finishProgress();
      let clockReads = 0;
      const now = () => (clockReads++ === 0 ? startMs : performance.now());
      const settings = { label: name, unit, initial, enabled: !this.quiet, now };
      const progress = new ProgressLine(total === undefined ? settings : { ...settings, total });
      this.stage = { name, total, done, startMs, progress };
    }
    this.stage.done = done;
    this.stage.progress.update(done, fields);
    this.lastMs = performance.now();
  }

  finishProgress(): void {
    const worthALine = process.stderr.isTTY || performance.now() - (this.stage?.startMs ?? 0) >= QUICK_MS;
    if (worthALine) this.stage?.progress.finish();
    this.stage = undefined;
    this.lastMs = performance.now();
  }
}
