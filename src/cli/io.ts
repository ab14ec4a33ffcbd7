import { UndriftError } from '../util/errors.ts';
import { type ProgressFields, ProgressLine } from '../util/progress-line.ts';
import { writeOut } from './stdout.ts';

/** Error of a command that was stopped by Ctrl-C or SIGTERM. */
export class Interrupted extends UndriftError {
  constructor() {
    super('interrupted');
  }
}

/** Exit code after Ctrl-C, following the convention of shells: 128 + SIGINT. */
export const INTERRUPTED_EXIT_CODE = 130;

/**
 * Terminal as seen by a command. Standard output is not part of it, since only the result of the command goes
 * there.
 */
export interface Io {
  /** Signal that the first Ctrl-C aborts. */
  readonly signal: AbortSignal;
  /** Prints a line for people to stderr. */
  log(line: string): void;
  /** Prints a part of the result to stdout as soon as it is there. With `--json` nothing is printed. */
  stream(text: string): Promise<void>;
  /**
   * Shows the progress of a stage. A new stage ends the previous one.
   *
   * @throws Interrupted after Ctrl-C, unless the command stops gracefully
   */
  progress(stage: string, done: number, options?: StageOptions): void;
  /** Ends the last stage. */
  finishProgress(): void;
}

/** Minimum duration of a stage that gets a line in a log, in milliseconds. */
const QUICK_MS = 2000;

/** Options of a stage. */
export interface StageOptions {
  /** Number of units in the stage, if known. */
  total?: number | undefined;
  /** Unit of the counts. Default `texts`. */
  unit?: string | undefined;
  /** Number of units done before this process began. Default 0. */
  initial?: number | undefined;
  /** Further values to show. */
  fields?: ProgressFields | undefined;
}

/** Writes progress and messages to stderr. */
export class TerminalIo implements Io {
  readonly signal: AbortSignal;
  private readonly quiet: boolean;
  private readonly graceful: boolean;
  private readonly json: boolean;
  private stage:
    | { name: string; total: number | undefined; done: number; startMs: number; progress: ProgressLine }
    | undefined;
  /** Time of the last progress report, in milliseconds. */
  private lastMs = performance.now();

  /**
   * Creates the terminal of one command.
   *
   * @param options.signal  signal that the first Ctrl-C aborts
   * @param options.quiet  prints no progress and no messages
   * @param options.graceful  leaves the reaction to `signal` to the command; `progress` does not throw
   *   `Interrupted`
   * @param options.json  prints the result as JSON, at the end
   */
  constructor(options: { signal: AbortSignal; quiet: boolean; graceful: boolean; json: boolean }) {
    this.signal = options.signal;
    this.quiet = options.quiet;
    this.graceful = options.graceful;
    this.json = options.json;
  }

  async stream(text: string): Promise<void> {
    if (this.json) return;
    this.finishProgress();
    await writeOut(text);
  }

  log(line: string): void {
    if (this.stage) this.stage.progress.log(line);
    else if (!this.quiet) process.stderr.write(`${line}\n`);
  }

  progress(name: string, done: number, options: StageOptions = {}): void {
    if (this.signal.aborted && !this.graceful) throw new Interrupted();
    const { total, unit = 'texts', initial = 0, fields } = options;
    // A count that starts again from a lower number belongs to a new stage of the same name.
    const goesOn = this.stage?.name === name && this.stage.total === total && done >= this.stage.done;
    if (!this.stage || !goesOn) {
      // The first report comes only after some work is done, so the stage began when the last one ended.
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
