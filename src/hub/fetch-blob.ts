import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, mkdir, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';

/** File in the listing of a repository. */
export interface ListedFile {
  /** Path inside the repository. */
  readonly path: string;
  /** Size in bytes. */
  readonly size: number;
  /**
   * Digest of the file's bytes in hex, which is also its name in the cache: SHA-256 for a large file (Git
   * LFS), else the SHA-1 of git.
   */
  readonly digest: string;
  /** Whether the file is stored in Git LFS. */
  readonly isLarge: boolean;
}

/** Number of times in a row that an interrupted download is resumed without receiving a byte. */
const IDLE_TRIES = 3;
/** Age in milliseconds after which an untouched partial file of another process counts as abandoned. */
const ABANDONED_MS = 60_000;

/**
 * Downloads a file into `blobs`, a folder of the repository in the cache, unless the file is there already.
 *
 * The partial file of an earlier, interrupted download is resumed. A file gets its name only once its size
 * and digest are right. Errors that `read` and `onBytes` throw are passed on.
 *
 * @param read returns the bytes from a position on
 * @param onBytes is told how many bytes have arrived so far
 * @returns path of the file
 * @throws DataError if the bytes differ from those that the repository lists, or the download keeps breaking
 *   off.
 * @throws UndriftError if the file cannot be written.
 */
export async function fetchBlob(
  blobs: string,
  file: ListedFile,
  read: (start: number) => Promise<AsyncIterable<Uint8Array>>,
  onBytes: (done: number) => void,
): Promise<string> {
  const path = join(blobs, file.digest);
  if ((await sizeOf(path)) === file.size) {
    onBytes(file.size);
    return path;
  }
  try {
    await mkdir(blobs, { recursive: true });
  } catch (error) {
    throw fileError(error, blobs, 'write');
  }
  // No other process writes to a partial file with this name. After a failure it is renamed to the shared
  // name for the next try.
  const shared = `${path}.incomplete`;
  const own = `${path}.${process.pid}-${Date.now().toString(36)}.incomplete`;
  await claimPart(blobs, file.digest, own);
  try {
    const resumed = ((await sizeOf(own)) ?? 0) > 0;
    await download(own, file, read, onBytes);
    let found = await digestOf(own, file);
    if (found !== file.digest && resumed) {
      // The partial file may belong to another version of the file: download again from the beginning.
      await rm(own, { force: true });
      await download(own, file, read, onBytes);
      found = await digestOf(own, file);
    }
    if (found !== file.digest) {
      await rm(own, { force: true });
      throw new DataError(`what arrived has the digest ${found}, the hub lists ${file.digest}`, {
        file: file.path,
        help: 'try again: the file was changed on its way, or on the hub just now',
      });
    }
    await rename(own, path);
  } catch (error) {
    await rename(own, shared).catch(() => {}); // there may be none
    throw fileError(error, path, 'write');
  }
  return path;
}

async function download(
  part: string,
  file: ListedFile,
  read: (start: number) => Promise<AsyncIterable<Uint8Array>>,
  onBytes: (done: number) => void,
): Promise<void> {
  for (let idle = 0; ; idle++) {
    let done = (await sizeOf(part)) ?? 0;
    if (done > file.size) {
      await rm(part);
      done = 0;
    }
    onBytes(done);
    const before = done;
    let stopped: unknown;
    let broken: unknown;
    try {
      const bytes = done === file.size ? [] : await read(done);
      async function* counted(): AsyncGenerator<Uint8Array> {
        for await (const chunk of bytes) {
          done += chunk.length;
          // More bytes than listed have arrived: stop.
          if (done > file.size) return;
          yield chunk;
          try {
            onBytes(done);
          } catch (error) {
            stopped = error;
            throw error;
          }
        }
      }
      await pipeline(Readable.from(counted()), createWriteStream(part, { flags: 'a' }));
    } catch (error) {
      if (stopped !== undefined) throw stopped;
      broken = error;
    }
    if (done === file.size) return;
    if (done > file.size || broken instanceof UndriftError || isDiskError(broken)) {
      throw (
        broken ??
        new DataError(`more than the ${file.size} bytes arrived that the hub lists`, { file: file.path })
      );
    }
    if (done > before) idle = 0;
    if (idle >= IDLE_TRIES) {
      const reason = broken instanceof Error ? broken.message : String(broken ?? 'the connection was closed');
      throw new DataError(`the download broke off after ${done} of ${file.size} bytes (${reason})`, {
        file: file.path,
        help: 'run the command again: it goes on where this one stopped',
      });
    }
  }
}

/**
 * Returns whether an error comes from writing to the disk. Its code is one that network errors do not have.
 */
const isDiskError = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EACCES', 'EROFS', 'EIO', 'EFBIG'].includes(
    (error as NodeJS.ErrnoException | undefined)?.code ?? '',
  );

/** Takes over the partial file that an earlier download has left, if there is one. */
async function claimPart(blobs: string, digest: string, own: string): Promise<void> {
  for (const name of await readdir(blobs)) {
    if (!name.startsWith(`${digest}.`) || !name.endsWith('.incomplete')) continue;
    const part = join(blobs, name);
    const isShared = name === `${digest}.incomplete`;
    const { mtimeMs } = (await stat(part).catch(() => undefined)) ?? { mtimeMs: Number.POSITIVE_INFINITY };
    if (!isShared && Date.now() - mtimeMs < ABANDONED_MS) continue;
    // The rename fails if another process was quicker. That partial file is then not available.
    if (
      await rename(part, own).then(
        () => true,
        () => false,
      )
    )
      return;
  }
}

/**
 * Digest of a partial file, computed as the hub does: SHA-256, or the SHA-1 of git over a header and the
 * bytes.
 */
async function digestOf(path: string, { isLarge, size }: ListedFile): Promise<string> {
  const hash = createHash(isLarge ? 'sha256' : 'sha1');
  if (!isLarge) hash.update(`blob ${size}\0`);
  if (size > 0) for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );

/**
 * Gives a blob its name in a snapshot, by a symbolic link, or by a copy where the file system has no links.
 *
 * @throws UndriftError if the file cannot be written.
 */
export async function linkBlob(blob: string, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await symlink(relative(dirname(path), blob), path).catch(() => copyFile(blob, path));
  } catch (error) {
    throw fileError(error, path, 'write');
  }
}
