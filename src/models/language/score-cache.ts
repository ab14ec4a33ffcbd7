import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../../util/files.ts';
import { temporaryName } from '../../util/temporary-name.ts';

/** Scores of the answer of a prompt. */
export interface PromptScore {
  /** log p of each token of the answer, f32[n], in nats. */
  readonly logProbabilities: Float32Array;
  /** Tokens of the whole prompt. */
  readonly promptTokens: number;
}

/** Bytes of a key, of what stands before the scores (key, tokens of the prompt, tokens of the answer), and of the checksum. */
const KEY_BYTES = 16;
const HEAD_BYTES = KEY_BYTES + 8;
const CHECK_BYTES = 4;
/** Most tokens of an answer; a record that names more is damaged. */
const MOST_TOKENS = 1 << 24;
/** Ending of the files of a cache. */
const ENDING = '.scores';

/**
 * Scores of prompts in a folder on the disk, which several runs and processes may share, also at once. Each process appends to a
 * file of its own. What follows a record that was cut short or damaged, as a killed process may leave one, is passed over: its
 * prompts are scored again.
 *
 * Memory: some 200 bytes for each prompt. On the disk: 28 bytes, and 4 for each token of the answer.
 */
export class ScoreCache {
  private readonly scores = new Map<string, PromptScore>();
  private readonly folder: string | undefined;
  /** Bytes read so far, by file. */
  private readonly read = new Map<string, number>();
  private own: string | undefined;

  private constructor(folder: string | undefined) {
    this.folder = folder;
  }

  /**
   * Opens a cache.
   *
   * @param folder  folder of the cache, which is made where there is none; undefined for a cache in memory alone
   * @throws DataError where the folder cannot be made or read
   */
  static async open(folder: string | undefined): Promise<ScoreCache> {
    const cache = new ScoreCache(folder);
    if (folder === undefined) return cache;
    try {
      await mkdir(folder, { recursive: true });
    } catch (error) {
      throw fileError(error, folder, 'write');
    }
    await cache.refresh();
    return cache;
  }

  /** Number of scores. */
  get size(): number {
    return this.scores.size;
  }

  /** Finds the score of a prompt. */
  get(key: string): PromptScore | undefined {
    return this.scores.get(key);
  }

  /** Takes in what other processes have written since the last call. */
  async refresh(): Promise<void> {
    const { folder } = this;
    if (folder === undefined) return;
    try {
      for (const name of (await readdir(folder)).sort()) {
        const file = join(folder, name);
        if (!name.endsWith(ENDING) || file === this.own) continue;
        const from = this.read.get(name) ?? 0;
        if ((await stat(file)).size <= from) continue;
        this.read.set(name, from + this.take((await readFile(file)).subarray(from)));
      }
    } catch (error) {
      throw fileError(error, folder, 'read');
    }
  }

  /**
   * Adds scores, and writes them to the disk.
   *
   * @throws DataError where the disk is full or the folder read-only
   */
  async add(found: readonly (readonly [key: string, score: PromptScore])[]): Promise<void> {
    for (const [key, score] of found) this.scores.set(key, score);
    const { folder } = this;
    if (folder === undefined || found.length === 0) return;
    this.own ??= `${temporaryName(join(folder, 'reader')).replace(/\.tmp$/, '')}${ENDING}`;
    try {
      const file = await open(this.own, 'a');
      try {
        await file.appendFile(Buffer.concat(found.map(([key, score]) => record(key, score))));
      } finally {
        await file.close();
      }
    } catch (error) {
      const file = this.own;
      // A record may have been cut short: what comes later begins another file.
      this.own = undefined;
      throw fileError(error, file, 'write');
    }
  }

  /** Takes in records, and returns the bytes of those that are whole. */
  private take(bytes: Buffer): number {
    let at = 0;
    while (at + HEAD_BYTES <= bytes.length) {
      const tokens = bytes.readUInt32LE(at + KEY_BYTES + 4);
      const end = at + HEAD_BYTES + 4 * tokens;
      if (tokens > MOST_TOKENS || end + CHECK_BYTES > bytes.length) break;
      if (checksum(bytes.subarray(at, end)) !== bytes.readUInt32LE(end)) break;
      this.scores.set(bytes.subarray(at, at + KEY_BYTES).toString('hex'), {
        promptTokens: bytes.readUInt32LE(at + KEY_BYTES),
        logProbabilities: Float32Array.from({ length: tokens }, (_, i) =>
          bytes.readFloatLE(at + HEAD_BYTES + 4 * i),
        ),
      });
      at = end + CHECK_BYTES;
    }
    return at;
  }
}

/** Computes the key of a prompt from all that its score depends on. */
export function scoreKey(parts: readonly (string | number)[]): string {
  return createHash('sha256')
    .update(JSON.stringify(parts))
    .digest('hex')
    .slice(0, 2 * KEY_BYTES);
}

function record(key: string, { logProbabilities, promptTokens }: PromptScore): Buffer {
  const end = HEAD_BYTES + 4 * logProbabilities.length;
  const bytes = Buffer.alloc(end + CHECK_BYTES);
  bytes.write(key, 'hex');
  bytes.writeUInt32LE(promptTokens, KEY_BYTES);
  bytes.writeUInt32LE(logProbabilities.length, KEY_BYTES + 4);
  for (const [i, value] of logProbabilities.entries()) bytes.writeFloatLE(value, HEAD_BYTES + 4 * i);
  bytes.writeUInt32LE(checksum(bytes.subarray(0, end)), end);
  return bytes;
}

const checksum = (bytes: Uint8Array): number => createHash('sha256').update(bytes).digest().readUInt32LE(0);
