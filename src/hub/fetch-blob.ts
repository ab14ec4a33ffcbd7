import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, mkdir, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DataError, UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';

/** A file as a repository lists it. */
export interface ListedFile {
  readonly path: string;
  readonly size: number;
  /** Its name in the cache, and the digest of its bytes: SHA-256 of a large file, git's SHA-1 of another. */
  readonly digest: string;
  readonly isLarge: boolean;
}

/** How many times a download that breaks off is taken up again without having got any further. */
const IDLE_TRIES = 3;
/** A part that another process has not touched for so long is nobody's. */
const ABANDONED_MS = 60_000;

/**
 * Puts a file into `blobs/` of a repository's folder in the cache, unless it is there: what an earlier, interrupted download left is
 * gone on with. The file gets its name only when size and digest are right.
 *
 * @param read  the bytes from a position on
 * @param onBytes  bytes that are there by now
 * @returns its path
 * @throws DataError for bytes that are not those which the repository lists; what `read` and `onBytes` throw
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
  // Nobody else writes to a part that carries our name; what is left of it is given back for the next try.
  const shared = `${path}.incomplete`;
  const own = `${path}.${process.pid}-${Date.now().toString(36)}.incomplete`;
  await claimPart(blobs, file.digest, own);
  try {
    const resumed = ((await sizeOf(own)) ?? 0) > 0;
    await download(own, file, read, onBytes);
    let found = await digestOf(own, file);
    if (found !== file.digest && resumed) {
      // The part may have been of another download: once more from the beginning.
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
          // More than is listed: no use to go on.
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

/** Errors of writing have a code of the operating system that those of the network do not share. */
const isDiskError = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EACCES', 'EROFS', 'EIO', 'EFBIG'].includes(
    (error as NodeJS.ErrnoException | undefined)?.code ?? '',
  );

/** Takes over what an earlier download has left of a file. */
async function claimPart(blobs: string, digest: string, own: string): Promise<void> {
  for (const name of await readdir(blobs)) {
    if (!name.startsWith(`${digest}.`) || !name.endsWith('.incomplete')) continue;
    const part = join(blobs, name);
    const isShared = name === `${digest}.incomplete`;
    const { mtimeMs } = (await stat(part).catch(() => undefined)) ?? { mtimeMs: Number.POSITIVE_INFINITY };
    if (!isShared && Date.now() - mtimeMs < ABANDONED_MS) continue;
    // Another process may be quicker: then there is nothing to take over.
    if (
      await rename(part, own).then(
        () => true,
        () => false,
      )
    )
      return;
  }
}

/** Digest of a part as the hub makes it: SHA-256, or git's SHA-1 over a head and the bytes. */
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

/** Gives a blob its name in a snapshot: a link, or a copy where the disk knows no links. */
export async function linkBlob(blob: string, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await symlink(relative(dirname(path), blob), path).catch(() => copyFile(blob, path));
  } catch (error) {
    throw fileError(error, path, 'write');
  }
}
