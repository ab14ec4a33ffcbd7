import { createWriteStream } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';

/** Largest growth accepted: text grows two to twenty times when unpacked, a zip bomb a thousand times. */
const MOST_GROWTH = 200;
const MOST_ENTRIES = 100_000;

/**
 * Unpacks the wanted entries of a zip file and returns their names.
 *
 * @param nameOf  path inside `folder` for the name of an entry; undefined for an entry that is not wanted
 * @param onBytes  called with the bytes unpacked so far and their total over the wanted entries; may throw to
 *   stop
 * @throws DataError for a truncated or damaged file, an entry that would lie outside the folder, is encrypted
 *   or has a wrong checksum, for two entries of one name, and for an archive that would grow too much. Files
 *   unpacked before the error stay.
 */
export async function unzip(
  file: string,
  folder: string,
  nameOf: (name: string) => string | undefined,
  onBytes?: (done: number, total: number) => void,
): Promise<string[]> {
  const { openPromise } = await import('yauzl');
  const refuse = (message: string, cause?: unknown) =>
    new DataError(message, { file, help: 'fetch the archive again', cause });
  const guard = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (error instanceof UndriftError) throw error;
      // zlib's errors have a code too, but come from no call of the operating system.
      if ((error as NodeJS.ErrnoException).syscall) throw fileError(error, file, 'unpack');
      throw refuse(`the zip archive is damaged or cut short: ${(error as Error).message}`, error);
    }
  };
  const zip: ZipFile = await guard(openPromise(file, { strictFileNames: true, autoClose: false }));
  try {
    if (zip.entryCount > MOST_ENTRIES) throw refuse(`the archive has ${zip.entryCount} entries`);
    const entries: [Entry, string][] = [];
    const names = new Set<string>();
    const collect = async () => {
      for await (const entry of zip.eachEntry()) {
        const name = entry.fileName.endsWith('/') ? undefined : nameOf(entry.fileName);
        if (name === undefined) continue;
        if (names.has(name)) throw refuse(`the archive has two entries ${name}`);
        names.add(name);
        entries.push([entry, name]);
      }
    };
    await guard(collect());
    const total = entries.reduce((sum, [entry]) => sum + entry.uncompressedSize, 0);
    const { size } = await stat(file);
    if (total > MOST_GROWTH * size) {
      throw refuse(`the archive of ${size} bytes would grow to ${total}: no text does`);
    }
    let before = 0;
    for (const [entry, name] of entries) {
      if (entry.isEncrypted()) throw refuse(`the entry ${entry.fileName} is encrypted`);
      const path = join(folder, name);
      await guard(mkdir(dirname(path), { recursive: true }));
      let crc = 0;
      let done = 0;
      const watch = new Transform({
        transform(chunk: Buffer, _encoding, next) {
          // Node 20 has crc32 only from 20.15 on. Without it, zlib's own checks of the stream remain.
          crc = zlib.crc32?.(chunk, crc) ?? entry.crc32;
          done += chunk.length;
          try {
            onBytes?.(before + done, total);
            next(null, chunk);
          } catch (error) {
            next(error as Error);
          }
        },
      });
      const extract = async () => {
        await pipeline(await zip.openReadStreamPromise(entry), watch, createWriteStream(path));
      };
      await guard(extract());
      if (crc !== entry.crc32)
        throw refuse(`the entry ${entry.fileName} has another check sum than it should`);
      before += entry.uncompressedSize;
    }
    return entries.map(([, name]) => name);
  } finally {
    zip.close();
  }
}
