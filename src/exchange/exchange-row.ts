import { existsSync, statSync } from 'node:fs';
import type { StoredSpace } from '../store/store-head.ts';
import { UsageError } from '../util/errors.ts';
import { f32Text } from '../util/f32-text.ts';
import { option } from '../util/option-name.ts';

/** Formats of files of vectors. */
export const EXCHANGE_FORMATS = ['jsonl', 'parquet', 'npy'] as const;
/** Format of a file of vectors. */
export type ExchangeFormat = (typeof EXCHANGE_FORMATS)[number];

/** Vector of one embedding space with its passage, as it is exchanged. */
export interface ExchangeRow {
  /** Id of the passage. */
  readonly id: string;
  /** Title; null if it is not part of the file. */
  readonly title: string | null;
  /** Text; null if it is not part of the file. */
  readonly text: string | null;
  /** Further fields; null if there are none. */
  readonly metadata: Readonly<Record<string, unknown>> | null;
  /** Id of the embedding space. */
  readonly space: string;
  /** Training steps of the encoder. */
  readonly step: number;
  /** Time at which the vector was made, in milliseconds since 1970. */
  readonly time: number;
  /** Whether the vector was moved to the space by a corrector. */
  readonly corrected: boolean;
  /** f32[D] */
  readonly vector: Float32Array;
}

/** Rows of one space that come in parts. */
export interface ExchangeSource {
  /** Space of all rows. */
  readonly space: Pick<StoredSpace, 'id' | 'dimension' | 'model'>;
  /** Number of rows, for progress. */
  readonly total: number;
  /** Streams the rows in parts of bounded size. */
  rows(): AsyncIterable<readonly ExchangeRow[]>;
}

/**
 * Finds out the format of a file by its name: `.jsonl`, `.parquet`, else a folder with .npy.
 *
 * @throws UsageError for a name that says nothing
 */
export function formatOf(path: string): ExchangeFormat {
  if (/\.(jsonl|ndjson)(\.gz)?$/i.test(path)) return 'jsonl';
  if (/\.parquet$/i.test(path)) return 'parquet';
  if (path.endsWith('/') || (existsSync(path) && statSync(path).isDirectory())) return 'npy';
  throw new UsageError(`the name "${path}" does not say which format it is`, {
    help: `end it in .jsonl or .parquet, name a folder for .npy, or give ${option('format')}`,
  });
}

/** Formats a row as JSON, with or without its vector. */
export function rowJson(row: ExchangeRow, withVector: boolean): string {
  const { id, title, text, metadata, space, step, time, corrected, vector } = row;
  const fields = JSON.stringify({
    id,
    ...(title !== null && title !== '' && { title }),
    ...(text !== null && { text }),
    ...(metadata !== null && { metadata }),
    space,
    step,
    time,
    ...(corrected && { corrected }),
  });
  return withVector ? `${fields.slice(0, -1)},"vector":[${Array.from(vector, f32Text)}]}` : fields;
}
