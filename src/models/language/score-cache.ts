import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../../util/files.ts';
import { temporaryName } from '../../util/temporary-name.ts';

/** Score of a prompt. */
export interface PromptScore {
  /** Σ log p of the tokens of the answer, in nats. */
  readonly logProbability: number;
  /** Tokens of the answer. */
  readonly tokens: number;
  /** Tokens of the whole prompt. */
  readonly promptTokens: number;
}

/** Bytes of a key, and of a record: key, f64 score, u32 tokens, u32 tokens of the prompt, u32 checksum of these. */
const KEY_BYTES = 16;
const RECORD_BYTES = KEY_BYTES + 20;
/** Ending of the files of a cache. */
const ENDING = '.scores';

/**
 * Scores of prompts in a folder on the disk, which several runs and processes may share, also at once. Each process appends to a
 * file of its own. A record that was cut short or damaged, as a killed process may leave one, is passed over: its prompt is scored
 * again.
 *
 * Memory: some 100 bytes for each score. On the disk: 36 bytes.
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
        if ((await stat(file)).size - from < RECORD_BYTES) continue;
        const bytes = (await readFile(file)).subarray(from);
        const whole = bytes.length - (bytes.length % RECORD_BYTES);
        for (let at = 0; at < whole; at += RECORD_BYTES) this.take(bytes.subarray(at, at + RECORD_BYTES));
        this.read.set(name, from + whole);
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

  private take(bytes: Buffer): void {
    if (checksum(bytes) !== bytes.readUInt32LE(RECORD_BYTES - 4)) return;
    this.scores.set(bytes.subarray(0, KEY_BYTES).toString('hex'), {
      logProbability: bytes.readDoubleLE(KEY_BYTES),
      tokens: bytes.readUInt32LE(KEY_BYTES + 8),
      promptTokens: bytes.readUInt32LE(KEY_BYTES + 12),
    });
  }
}

/** Computes the key of a prompt from all that its score depends on. */
export function scoreKey(parts: readonly (string | number)[]): string {
  return createHash('sha256')
    .update(JSON.stringify(parts))
    .digest('hex')
    .slice(0, 2 * KEY_BYTES);
}

function record(key: string, { logProbability, tokens, promptTokens }: PromptScore): Buffer {
  const bytes = Buffer.alloc(RECORD_BYTES);
  bytes.write(key, 'hex');
  bytes.writeDoubleLE(logProbability, KEY_BYTES);
  bytes.writeUInt32LE(tokens, KEY_BYTES + 8);
  bytes.writeUInt32LE(promptTokens, KEY_BYTES + 12);
  bytes.writeUInt32LE(checksum(bytes), RECORD_BYTES - 4);
  return bytes;
}

/** Checksum of a record without its last four bytes. */
const checksum = (bytes: Uint8Array): number =>
  createHash('sha256')
    .update(bytes.subarray(0, RECORD_BYTES - 4))
    .digest()
    .readUInt32LE(0);
