import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { lockBeside } from '../util/lock.ts';
import { removeLeftovers, temporaryName } from '../util/temporary-name.ts';
import { waitForLock } from '../util/wait-for-lock.ts';
import { Stalled, steadyBytes } from './steady-bytes.ts';
import { waitLimits } from './wait-limits.ts';

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

/** Number of times in a row that an interrupted download is resumed without receiving a byte, or after it has stalled. */
const IDLE_TRIES = 2;
/** Age in milliseconds after which an untouched partial file of another process counts as abandoned. */
const ABANDONED_MS = 60_000;

/**
 * Downloads a file into `blobs`, a folder of the repository in the cache, unless the file is there already.
 *
 * The partial file of an earlier, interrupted download is resumed. A file gets its name only once its size
 * and digest are right. Errors that `read` and `onBytes` throw are passed on. Of several processes that want the
 * same file, one downloads it and the others wait.
 *
 * @param read returns the bytes from a position on
 * @param onBytes is told how many bytes have arrived so far, and ten times a second while none arrive
 * @returns path of the file
 * @throws DataError if the bytes differ from those that the repository lists, or the download keeps breaking
 *   off.
 * @throws UndriftError if the file cannot be written.
 */
export async function fetchBlob(
  blobs: string,
  file: ListedFile,
  read: (start: number) => Promise<ReadableStream<Uint8Array>>,
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
  return await waitForLock(
    lockBeside(path),
    () => onBytes(0),
    async () => {
      // Another process may have downloaded it meanwhile.
      if ((await sizeOf(path)) !== file.size) await fetchNew(path, file, read, onBytes);
      onBytes(file.size);
      return path;
    },
  );
}

async function fetchNew(
  path: string,
  file: ListedFile,
  read: (start: number) => Promise<ReadableStream<Uint8Array>>,
  onBytes: (done: number) => void,
): Promise<void> {
  // No other process writes to a partial file with this name. After a failure it is renamed to the shared
  // name for the next try.
  const shared = `${path}.incomplete`;
  const own = `${path}.${process.pid}-${Date.now().toString(36)}.incomplete`;
  await claimPart(dirname(path), file.digest, own);
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
    for (const part of await abandonedParts(dirname(path), file.digest)) await rm(part, { force: true });
  } catch (error) {
    await rename(own, shared).catch(() => {}); // there may be none
    throw fileError(error, path, 'write');
  }
}

async function download(
  part: string,
  file: ListedFile,
  read: (start: number) => Promise<ReadableStream<Uint8Array>>,
  onBytes: (done: number) => void,
): Promise<void> {
  const limits = waitLimits();
  for (let idle = 0; ; idle++) {
    let done = (await sizeOf(part)) ?? 0;
    if (done > file.size) {
      await rm(part);
      done = 0;
    }
    onBytes(done);
    const before = done;
    let stopped: { error: unknown } | undefined;
    let broken: unknown;
    const report = () => {
      try {
        onBytes(Math.min(done, file.size));
      } catch (error) {
        stopped = { error };
        throw error;
      }
    };
    try {
      // Each chunk is written before the next one is received: what is on the disk is what was counted.
      const handle = await open(part, 'a');
      try {
        const bytes = done === file.size ? [] : steadyBytes(await read(done), limits, report);
        for await (const chunk of bytes) {
          done += chunk.length;
          // More bytes than listed have arrived: stop.
          if (done > file.size) break;
          await handle.writeFile(chunk);
          report();
        }
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (stopped !== undefined) throw stopped.error;
      broken = error;
    }
    if (done === file.size) return;
    if (done > file.size || broken instanceof UndriftError || isDiskError(broken)) {
      throw (
        broken ??
        new DataError(`more than the ${file.size} bytes arrived that the hub lists`, { file: file.path })
      );
    }
    // A server that stalls gets as few tries as one that sends nothing, whatever has arrived before.
    if (done > before && !(broken instanceof Stalled)) idle = 0;
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
  for (const part of await abandonedParts(blobs, digest)) {
    // The rename fails if another process was quicker. That partial file is then not available.
    const claimed = await rename(part, own).then(
      () => true,
      () => false,
    );
    if (claimed) return;
  }
}

/** Partial files of a download that no process writes: those of the shared name, and those untouched for a minute. */
async function abandonedParts(blobs: string, digest: string): Promise<string[]> {
  const parts: string[] = [];
  for (const name of await readdir(blobs)) {
    if (!name.startsWith(`${digest}.`) || !name.endsWith('.incomplete')) continue;
    const part = join(blobs, name);
    const isShared = name === `${digest}.incomplete`;
    const { mtimeMs } = (await stat(part).catch(() => undefined)) ?? { mtimeMs: Number.POSITIVE_INFINITY };
    if (isShared || Date.now() - mtimeMs >= ABANDONED_MS) parts.push(part);
  }
  return parts;
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
    // A rename replaces an earlier file in one step, so that another process always finds one.
    await removeLeftovers(path);
    const temporary = temporaryName(path);
    await symlink(relative(dirname(path), blob), temporary).catch(() => copyFile(blob, temporary));
    await rename(temporary, path);
  } catch (error) {
    throw fileError(error, path, 'write');
  }
}
