import { createHash, type Hash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Progress } from '../util/progress.ts';

/**
 * Observes files while they are read: computes a fingerprint of their bytes and reports progress, without a
 * second pass.
 */
export class FileLog {
  readonly #hashes: { name: string; hash: Hash }[] = [];
  readonly #onProgress: ((progress: Progress) => void) | undefined;

  constructor(onProgress?: (progress: Progress) => void) {
    this.#onProgress = onProgress;
  }

  /**
   * Returns the observer to pass as `onBytes` to the reader of this file.
   *
   * @param name  name of the file in the fingerprint
   */
  async watch(file: string, name = basename(file)): Promise<(bytes: Uint8Array) => void> {
    const hash = createHash('sha256');
    this.#hashes.push({ name, hash });
    const report = this.#onProgress;
    const totalBytes =
      report === undefined
        ? 0
        : await stat(file).then(
            ({ size }) => size,
            () => 0,
          );
    let seen = 0;
    return (bytes) => {
      hash.update(bytes);
      seen += bytes.length;
      report?.({ stage: 'read', done: seen, total: Math.max(seen, totalBytes), unit: 'bytes' });
    };
  }

  /**
   * Computes the fingerprint: the first 16 hexadecimal digits of SHA-256 over name and SHA-256 of each file,
   * in the order of their names.
   */
  fingerprint(): string {
    const all = createHash('sha256');
    const digests = this.#hashes.map(({ name, hash }) => `${name}\0${hash.digest('hex')}\n`);
    for (const digest of digests.sort()) all.update(digest);
    return all.digest('hex').slice(0, 16);
  }
}
