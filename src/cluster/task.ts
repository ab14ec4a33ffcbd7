import { UndriftError } from '../util/errors.ts';
import { isObject } from '../util/json-objects.ts';
import { NAME_PATTERN } from './cluster-address.ts';
import { formatRows, parseRows } from './row-list.ts';

/** Block of rows to be embedded by a version. */
export interface Task {
  readonly shard: string;
  /** Name of the version. */
  readonly version: string;
  /** Digest of the published model. */
  readonly model: string;
  /** Embedding size D. */
  readonly dimension: number;
  /** u32[rows], ascending. */
  readonly rows: Uint32Array;
}

/** Digest of a published model: a SHA-256 in hexadecimal digits. */
export const DIGEST_PATTERN = /^[0-9a-f]{64}$/;

/** Formats a task as JSON. */
export const encodeTask = (task: Task): Uint8Array =>
  Buffer.from(JSON.stringify({ ...task, rows: formatRows(task.rows) }));

/**
 * Parses a task.
 *
 * @throws UndriftError if it is damaged
 */
export function decodeTask(data: Uint8Array): Task {
  const json = parseMessage(data);
  const { shard, version, model, dimension } = json;
  const isName = (value: unknown): value is string => typeof value === 'string' && NAME_PATTERN.test(value);
  const isDigest = typeof model === 'string' && DIGEST_PATTERN.test(model);
  if (!isName(shard) || !isName(version) || !isDigest || !isDimension(dimension))
    throw new UndriftError('a task is damaged');
  return { shard, version, model, dimension, rows: parseRows(json.rows) };
}

/** Whether a value can be an embedding size. */
export const isDimension = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= 1 << 20;

/**
 * Parses a message that holds a JSON object.
 *
 * @throws UndriftError if it holds something else
 */
export function parseMessage(data: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(
      Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8'),
    );
    if (isObject(json)) return json;
  } catch {
    // Told below.
  }
  throw new UndriftError('a message of the cluster is no JSON object');
}
