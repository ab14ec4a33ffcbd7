import { isUtf8 } from 'node:buffer';
import { appendFileSync, closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type EventFile, openEventFile } from '../io/tensorboard.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { fileError, writeFileAtomic } from '../util/files.ts';
import { isObject } from '../util/json-objects.ts';

/** One measurement of a run. */
export interface LogEvent {
  /** Optimizer steps made so far. */
  readonly step: number;
  /** Passes over the training data, fractions included. */
  readonly epoch: number;
  /** What was measured: `train`, `eval`, … */
  readonly kind: string;
  /** The numbers, by name; NaN and infinities are kept. */
  readonly values: Readonly<Record<string, number>>;
}

/** A `LogEvent` as it was logged. */
export interface LoggedEvent extends LogEvent {
  /** Milliseconds that the run had taken by `EventLogOptions.elapsedMs`, pauses between a stop and its resumption left out. */
  readonly wallMs: number;
}

export interface EventLogOptions {
  /** Continues the log of a run that was stopped, from this step: what was logged after it is dropped. */
  readonly resumeStep?: number;
  /** Also writes TensorBoard event files, into the folder `tensorboard`. Default true. */
  readonly tensorBoard?: boolean;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
  /** Milliseconds that the run has taken in this process. Default: since the log was opened. */
  readonly elapsedMs?: () => number;
}

const RESERVED = ['step', 'epoch', 'wallMs', 'kind', 'nonFinite'];
const LOG_NAME = 'metrics.jsonl';
const TENSORBOARD_NAME = 'tensorboard';

/**
 * The log of a training run: `metrics.jsonl`, one measurement a line, and the same numbers for TensorBoard.
 *
 *     {"step":100,"epoch":0.5,"wallMs":61234,"kind":"train","loss":0.4312,"learningRate":0.0003}
 *     {"step":200,"epoch":1,"wallMs":122101,"kind":"train","loss":null,"nonFinite":{"loss":"NaN"}}
 *
 * JSON has no NaN and no infinity: such a number is `null`, and `nonFinite` says which it was. A line is in the hands of the
 * operating system before `write` returns, so a killed process loses none. The log of a resumed run equals that of an
 * uninterrupted one but for `wallMs`.
 *
 * TensorBoard's tags are `train/loss`, `eval/ndcg@10`; each resumption adds an event file, which says from where on the earlier
 * ones no longer count.
 */
export class EventLog {
  private readonly file: string;
  /** Milliseconds that the run has taken, earlier processes included. */
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
   * Opens the log of the run in `folder`, which is made if need be.
   *
   * @throws UndriftError if a log is there and `resumeStep` is not given, or if it cannot be written;
   *   DataError if the log to continue is damaged elsewhere than in its last line.
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
   * @returns what was logged.
   * @throws UndriftError for a step that is no whole number, an epoch that is not finite, or a value named as a column of
   *   the log is; where the file cannot be written (a full disk); after `close`.
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

  /** Forces what was logged to the disk. Call it before a checkpoint that resumes from here. */
  flush(): void {
    if (this.descriptor === undefined) return;
    try {
      fsyncSync(this.descriptor);
    } catch (error) {
      throw fileError(error, this.file, 'write');
    }
  }

  close(): void {
    if (this.descriptor === undefined) return;
    this.flush();
    closeSync(this.descriptor);
    this.descriptor = undefined;
    this.board?.close();
  }
}

/**
 * Reads the events of a `metrics.jsonl`.
 *
 * @throws DataError, with file and line, for a line that is not an event. A last line that was cut off by a crash is left out.
 */
export async function readEventLog(file: string): Promise<LoggedEvent[]> {
  return (await readEntries(file)).map(({ event }) => event);
}

/** Drops what was logged after `lastStep`, and what a crash left of a last line; gives the events that stay. */
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
  // JSON.stringify turns what is not finite into null by itself.
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
