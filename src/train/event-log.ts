import { isUtf8 } from 'node:buffer';
import { appendFileSync, closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type EventFile, openEventFile } from '../io/tensorboard.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { fileError, writeFileAtomic } from '../util/files.ts';
import { isObject } from '../util/json-objects.ts';

/** Measurement of a run at a step. */
export interface LogEvent {
  /** Updates made so far. */
  readonly step: number;
  /** Passes over the training data so far, fractions included. */
  readonly epoch: number;
  /** Kind of the measurement: `train`, `eval`, … */
  readonly kind: string;
  /** Measured numbers by name; NaN and infinities are kept. */
  readonly values: Readonly<Record<string, number>>;
}

/** Measurement as it stands in the log. */
export interface LoggedEvent extends LogEvent {
  /**
   * Milliseconds that the run had taken, by `EventLogOptions.elapsedMs`. Pauses between a stop and its resumption are not
   * included.
   */
  readonly wallMs: number;
}

/** Options of `EventLog.open`. */
export interface EventLogOptions {
  /** Step from which to continue the log of a stopped run. Later entries are dropped. Default: a new log. */
  readonly resumeStep?: number;
  /** Whether to write TensorBoard event files too, into the folder `tensorboard`. Default true. */
  readonly tensorBoard?: boolean;
  /** Returns the time in milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
  /** Returns the milliseconds that the run has taken in this process. Default: the time since the log was opened. */
  readonly elapsedMs?: () => number;
}

const RESERVED = ['step', 'epoch', 'wallMs', 'kind', 'nonFinite'];
const LOG_NAME = 'metrics.jsonl';
const TENSORBOARD_NAME = 'tensorboard';

/**
 * Log of a training run: `metrics.jsonl` with one measurement a line, and the same numbers for TensorBoard.
 *
 *     {"step":100,"epoch":0.5,"wallMs":61234,"kind":"train","loss":0.4312,"learningRate":0.0003}
 *     {"step":200,"epoch":1,"wallMs":122101,"kind":"train","loss":null,"nonFinite":{"loss":"NaN"}}
 *
 * JSON has no NaN and no infinity: such a number is written as `null`, and `nonFinite` holds its name. `write` returns after the
 * operating system has received the line, so that a killed process loses none. The log of a resumed run equals that of an
 * uninterrupted run, except for `wallMs`.
 *
 * Tags in TensorBoard have the form `train/loss`, `eval/ndcg@10`. Each resumption adds an event file, which tells TensorBoard to
 * ignore later steps of the earlier files.
 */
export class EventLog {
  private readonly file: string;
  /** Returns the milliseconds that the run has taken, earlier processes included. */
  private readonly wallMs: () => number;
  private readonly board: EventFile | undefined;
  private descriptor: number | undefined;

  private constructor(file: string, descriptor: number, wallMs: () => number, board: EventFile | undefined) {
    this.file = file;
    this.descriptor = descriptor;
    this.wallMs = wallMs;
    this.board = board;
  }

  /**
   * Opens the log of the run in `folder`, and creates the folder if needed.
   *
   * @throws UndriftError where a log exists and `resumeStep` is not given, and where the log cannot be written
   * @throws DataError where the log to continue is damaged elsewhere than in its last line
   */
  static async open(folder: string, options: EventLogOptions = {}): Promise<EventLog> {
    const { resumeStep, tensorBoard = true, now = Date.now } = options;
    if (resumeStep !== undefined && !isStep(resumeStep)) {
      throw new UsageError(`resumeStep must be a whole number from 0, got ${resumeStep}`);
    }
    const file = join(folder, LOG_NAME);
    const resumed = resumeStep !== undefined && existsSync(file);
    const events = resumed ? await cutLog(file, resumeStep) : [];
    const startMs = now();
    const { elapsedMs = () => now() - startMs } = options;
    const earlierMs = events.at(-1)?.wallMs ?? 0;
    let descriptor: number;
    try {
      mkdirSync(folder, { recursive: true });
      descriptor = openSync(file, 'a');
    } catch (error) {
      throw fileError(error, file, 'write');
    }
    if (!resumed && fstatSync(descriptor).size > 0) {
      closeSync(descriptor);
      throw new UndriftError(`${file} is the log of another run`, {
        help: 'choose another output folder, or resume that run',
      });
    }
    try {
      const resumption = resumed ? { resumeStep: resumeStep + 1 } : {};
      const boardOptions = { nowMs: now, ...resumption };
      const board = tensorBoard ? openEventFile(join(folder, TENSORBOARD_NAME), boardOptions) : undefined;
      return new EventLog(file, descriptor, () => earlierMs + elapsedMs(), board);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /**
   * Logs one measurement.
   *
   * @returns  the measurement with its time
   * @throws UndriftError for a step that is not a whole number, an epoch that is not finite, or a value with the name of a column
   *   of the log; where the file cannot be written, as on a full disk; and after `close`
   */
  write(event: LogEvent): LoggedEvent {
    if (this.descriptor === undefined) throw new UndriftError(`${this.file} is closed for logging`);
    const logged = { ...event, wallMs: Math.max(0, Math.round(this.wallMs())) };
    const line = formatLine(logged);
    try {
      appendFileSync(this.descriptor, line);
    } catch (error) {
      throw fileError(error, this.file, 'write');
    }
    for (const [name, value] of Object.entries(event.values)) {
      this.board?.scalar(`${event.kind}/${name}`, value, event.step);
    }
    return logged;
  }

  /** Forces all logged lines to the disk. Call it before writing a checkpoint that resumes from here. */
  flush(): void {
    if (this.descriptor === undefined) return;
    try {
      fsyncSync(this.descriptor);
    } catch (error) {
      throw fileError(error, this.file, 'write');
    }
  }

  /** Flushes and closes the log. Later calls do nothing. */
  close(): void {
    if (this.descriptor === undefined) return;
    this.flush();
    closeSync(this.descriptor);
    this.descriptor = undefined;
    this.board?.close();
  }
}

/**
 * Reads the events of a `metrics.jsonl`. A last line that was cut off by a crash is left out.
 *
 * @throws DataError, with file and line, for a line that is not an event
 */
export async function readEventLog(file: string): Promise<LoggedEvent[]> {
  return (await readEntries(file)).map(({ event }) => event);
}

/**
 * Drops entries after `lastStep`, and the rest of a last line that was cut off by a crash.
 *
 * @returns  the events that are kept
 */
async function cutLog(file: string, lastStep: number): Promise<LoggedEvent[]> {
  const kept = (await readEntries(file)).filter(({ event }) => event.step <= lastStep);
  await writeFileAtomic(file, kept.map(({ text }) => `${text}\n`).join(''));
  return kept.map(({ event }) => event);
}

async function readEntries(file: string): Promise<{ text: string; event: LoggedEvent }[]> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw fileError(error, file, 'read');
  }
  const entries: { text: string; event: LoggedEvent }[] = [];
  for (let start = 0, line = 1; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    try {
      const row = bytes.subarray(start, end);
      if (!isUtf8(row)) throw new DataError('not UTF-8', { file, line });
      const text = row.toString('utf8').trimEnd();
      entries.push({ text, event: parseLine(text, { file, line }) });
    } catch (error) {
      // A crash can leave a line without its end, cut short or filled with zeros; anything else is damage.
      if (newline >= 0) throw error;
    }
    start = end + 1;
  }
  return entries;
}

function formatLine({ step, epoch, wallMs, kind, values }: LoggedEvent): string {
  if (!isStep(step))
    throw new UndriftError(`the step of an event must be a whole number from 0, got ${step}`);
  if (!Number.isFinite(epoch)) throw new UndriftError(`the epoch of an event must be finite, got ${epoch}`);
  const nonFinite: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    if (RESERVED.includes(name)) throw new UndriftError(`a logged value cannot be named "${name}"`);
    if (!Number.isFinite(value)) nonFinite[name] = String(value);
  }
  // JSON.stringify writes numbers that are not finite as null.
  const record = { step, epoch, wallMs, kind, ...values };
  return `${JSON.stringify(Object.keys(nonFinite).length === 0 ? record : { ...record, nonFinite })}\n`;
}

function parseLine(text: string, where: { file: string; line: number }): LoggedEvent {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (cause) {
    throw new DataError('not a JSON object', { ...where, cause });
  }
  if (!isObject(record)) throw new DataError('not a JSON object', where);
  const { step, epoch, wallMs, kind, nonFinite = {}, ...rest } = record;
  if (!isStep(step) || typeof epoch !== 'number' || typeof wallMs !== 'number' || typeof kind !== 'string') {
    throw new DataError('not an event: it needs the numbers step, epoch and wallMs and the text kind', where);
  }
  const values: Record<string, number> = {};
  for (const [name, value] of Object.entries(rest)) {
    const number = value === null && isObject(nonFinite) ? Number(nonFinite[name] ?? Number.NaN) : value;
    if (typeof number !== 'number') throw new DataError(`"${name}" is not a number`, where);
    values[name] = number;
  }
  return { step, epoch, wallMs, kind, values };
}

function isStep(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
