import { closeSync, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { WireWriter } from '../onnx/wire.ts';
import { fileError } from '../util/files.ts';
import { crc32c } from './crc32c.ts';

/**
 * TensorBoard event file that is open for writing. Each call has written its data to the file when it
 * returns.
 */
export interface EventFile {
  /** Path of the file. */
  readonly path: string;
  /**
   * Adds one point to the curve `tag`.
   *
   * @throws UndriftError if the file cannot be written.
   */
  scalar(tag: string, value: number, step: number): void;
  /**
   * Adds the distribution of `values` at a step. Numbers that are not finite are left out. An empty histogram
   * is not written.
   *
   * @throws UndriftError if the file cannot be written.
   */
  histogram(tag: string, values: ArrayLike<number>, step: number): void;
  /** Closes the file. */
  close(): void;
}

/** Options of `openEventFile`. */
export interface EventFileOptions {
  /**
   * First step of a resumed run. TensorBoard then drops the points of earlier files from this step on.
   * Default: not resumed.
   */
  resumeStep?: number;
  /** Clock in milliseconds since 1970, for tests. Default `Date.now`. */
  nowMs?: () => number;
}

/**
 * Creates a new event file in `folder`, which TensorBoard shows as one run.
 *
 * TensorBoard reads event files in the order of their names, so the name of the new file sorts after those of
 * the existing ones.
 *
 * @throws UndriftError if the file cannot be written.
 */
export function openEventFile(folder: string, options: EventFileOptions = {}): EventFile {
  const nowMs = options.nowMs ?? Date.now;
  const { path, descriptor } = createFile(folder, Math.floor(nowMs() / 1000));

  /** Writes one `Event` message. Fields that are zero are left out, as in proto3. */
  function event(step: number, fill: (event: WireWriter) => void): void {
    const message = new WireWriter();
    message.double(eventFields.wallTime, nowMs() / 1000);
    if (step !== 0) message.varint(eventFields.step, step);
    fill(message);
    guard(path, () => writeAll(descriptor, tfRecord(message.finish())));
  }

  event(0, (w) => w.string(eventFields.fileVersion, 'brain.Event:2'));
  if (options.resumeStep !== undefined) {
    event(options.resumeStep, (w) => w.message(eventFields.sessionLog, (log) => log.varint(1, sessionStart)));
  }
  return {
    path,
    scalar(tag, value, step) {
      event(step, (w) => writeValue(w, tag, (v) => v.float(valueFields.simpleValue, value)));
    },
    histogram(tag, values, step) {
      const histogram = summarise(values);
      if (histogram === undefined) return;
      event(step, (w) => {
        writeValue(w, tag, (v) => v.message(valueFields.histogram, (h) => writeHistogram(h, histogram)));
      });
    },
    close: () => closeSync(descriptor),
  };
}

// Field numbers of TensorFlow's event.proto and summary.proto.
const eventFields = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 };
const valueFields = { tag: 1, simpleValue: 2, histogram: 5 };
const histogramFields = { min: 1, max: 2, num: 3, sum: 4, sumSquares: 5, bucketLimit: 6, bucket: 7 };
/** Value of `SessionLog.START`. */
const sessionStart = 1;

function writeValue(event: WireWriter, tag: string, fill: (value: WireWriter) => void): void {
  event.message(eventFields.summary, (summary) => {
    summary.message(1, (value) => {
      value.string(valueFields.tag, tag);
      fill(value);
    });
  });
}

/** TFRecord of some data: length, masked checksum of the length, data, masked checksum of the data. */
function tfRecord(data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(data.byteLength + 16);
  record.writeBigUInt64LE(BigInt(data.byteLength), 0);
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc(data), data.byteLength + 12);
  return record;
}

/**
 * Masked checksum: rotated by 15 bits, plus a constant. The mask keeps a checksum of data that contains
 * checksums meaningful.
 */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

interface Histogram {
  min: number;
  max: number;
  num: number;
  sum: number;
  sumSquares: number;
  /** Upper limit of each bucket. */
  limits: number[];
  counts: number[];
}

/** Bucket limits of TensorFlow: 0 and ±1e-12 · 1.1^k up to 1e20, then the largest number. */
function bucketLimits(): Float64Array {
  const positive: number[] = [];
  for (let limit = 1e-12; limit < 1e20; limit *= 1.1) positive.push(limit);
  positive.push(Number.MAX_VALUE);
  return Float64Array.from([...positive.map((limit) => -limit).reverse(), 0, ...positive]);
}

let limits: Float64Array | undefined;

function summarise(values: ArrayLike<number>): Histogram | undefined {
  limits ??= bucketLimits();
  const counts = new Float64Array(limits.length);
  let [min, max, num, sum, sumSquares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    // The value belongs to the first bucket whose upper limit exceeds it, and the largest number to the last
    // bucket.
    let low = 0;
    let high = limits.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (limits[middle]! > value) high = middle;
      else low = middle + 1;
    }
    counts[low]!++;
    min = Math.min(min, value);
    max = Math.max(max, value);
    num++;
    sum += value;
    sumSquares += value * value;
  }
  if (num === 0) return undefined;
  // Empty buckets at both ends are left out. One empty bucket below the first full one stays, since its upper
  // limit is where the full one begins.
  const first = Math.max(0, counts.findIndex((count) => count > 0) - 1);
  const last = counts.findLastIndex((count) => count > 0) + 1;
  return {
    min,
    max,
    num,
    sum,
    sumSquares,
    limits: [...limits.subarray(first, last)],
    counts: [...counts.subarray(first, last)],
  };
}

function writeHistogram(writer: WireWriter, histogram: Histogram): void {
  for (const key of ['min', 'max', 'num', 'sum', 'sumSquares'] as const) {
    if (histogram[key] !== 0) writer.double(histogramFields[key], histogram[key]);
  }
  writer.bytes(histogramFields.bucketLimit, Float64Array.from(histogram.limits));
  writer.bytes(histogramFields.bucket, Float64Array.from(histogram.counts));
}

/**
 * Creates `events.out.tfevents.<seconds>.undrift`, with a time after those of all event files in the folder.
 */
function createFile(folder: string, nowSeconds: number): { path: string; descriptor: number } {
  return guard(folder, () => {
    mkdirSync(folder, { recursive: true });
    let seconds = nowSeconds;
    for (const name of readdirSync(folder)) {
      const other = /^events\.out\.tfevents\.(\d{1,12})\b/.exec(name);
      if (other) seconds = Math.max(seconds, Number(other[1]) + 1);
    }
    const path = join(folder, `events.out.tfevents.${String(seconds).padStart(10, '0')}.undrift`);
    return { path, descriptor: openSync(path, 'wx') };
  });
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(descriptor, bytes, done);
}

function guard<T>(path: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw fileError(error, path, 'write');
  }
}
