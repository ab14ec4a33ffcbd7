import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataError } from './errors.ts';
import { fileError, guard } from './file-error.ts';
import { foreignFile } from './foreign-file.ts';
import { isLocked, lockBeside, withLock } from './lock.ts';
import { parseShallowJson } from './shallow-json.ts';
import { removeLeftovers, temporaryName } from './temporary-name.ts';

export { fileError };

/** Content of a file to be written: the whole of it, or a sequence of chunks. */
export type FileContent = string | Uint8Array | AsyncIterable<string | Uint8Array> | Iterable<Uint8Array>;

/**
 * Writes a file atomically: at every moment `path` holds either its old content or all of the new content.
 *
 * Errors that iterating `content` throws are passed on. After any error the old file is unchanged and no
 * temporary file is left.
 *
 * @param onBytes called with the bytes, in blocks, while they are being written, for a digest that costs no extra time
 * @throws UndriftError if the file cannot be written (no space, no permission, a folder of that name).
 */
export async function writeFileAtomic(
  path: string,
  content: FileContent,
  onBytes?: (bytes: Uint8Array) => void,
): Promise<void> {
  const file = await openFileAtomic(path);
  const append = async (chunk: string | Uint8Array) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    for (let start = 0; start < bytes.byteLength; start += WRITE_BYTES) {
      const piece = bytes.subarray(start, start + WRITE_BYTES);
      const written = file.append(piece);
      // The operating system writes in another thread meanwhile.
      onBytes?.(piece);
      await written;
    }
  };
  try {
    if (typeof content === 'string' || content instanceof Uint8Array) await append(content);
    else for await (const block of blocksOf(content)) await append(block);
  } catch (error) {
    await file.discard();
    throw error;
  }
  await file.commit();
}

/** Size of the blocks in which chunks are written, in bytes. A call of the operating system for each line would take minutes. */
const BLOCK_BYTES = 2 ** 18;

/** Joins short chunks to blocks. A block is valid until the next one is asked for. */
async function* blocksOf(
  content: AsyncIterable<string | Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  let used = 0;
  for await (const chunk of content) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (used + bytes.length > BLOCK_BYTES) {
      yield block.subarray(0, used);
      used = 0;
    }
    if (bytes.length > BLOCK_BYTES) yield bytes;
    else {
      block.set(bytes, used);
      used += bytes.length;
    }
  }
  if (used > 0) yield block.subarray(0, used);
}

/** File that is being written under a temporary name. */
export interface AtomicFile {
  /** Writes a chunk after everything appended so far. */
  append(chunk: string | Uint8Array): Promise<void>;
  /** Overwrites bytes that were appended earlier, from byte `position` on. */
  overwrite(chunk: Uint8Array, position: number): Promise<void>;
  /** Syncs the file to the disk under its temporary name, and closes it. If that fails, the file is discarded. */
  finish(): Promise<void>;
  /** Gives the file its final name, after `finish` if that was not called. If that fails, the file is discarded. */
  commit(): Promise<void>;
  /** Closes and deletes the temporary file. */
  discard(): Promise<void>;
}

/**
 * Opens a file for writing under a temporary name beside `path`, and creates missing parent folders.
 *
 * `commit` syncs the file to the disk and renames it to `path` in one step. Until then an existing file at
 * `path` stays as it is.
 *
 * @throws UndriftError if the file cannot be created, or `path` is a folder.
 */
export async function openFileAtomic(path: string): Promise<AtomicFile> {
  const check = guard(path, 'write');
  await check(mkdir(dirname(path), { recursive: true }));
  if (await isFolder(path)) throw fileError({ code: 'EISDIR' }, path, 'write');
  await removeLeftovers(path);
  const temporary = temporaryName(path);
  const handle = await check(open(temporary, 'wx'));

  let finished = false;

  async function discard(): Promise<void> {
    await handle.close().catch(() => {}); // the file is deleted next: a failed flush does not matter
    await rm(temporary, { force: true });
  }
  async function orDiscard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await discard();
      throw error;
    }
  }
  const finish = () =>
    orDiscard(async () => {
      if (finished) return;
      await check(handle.sync());
      await check(handle.close());
      finished = true;
    });
  return {
    append: (chunk) => check(writeAll(handle, typeof chunk === 'string' ? Buffer.from(chunk) : chunk)),
    overwrite: async (chunk, position) => {
      await check(handle.write(chunk, 0, chunk.byteLength, position));
    },
    finish,
    commit: async () => {
      await finish();
      await orDiscard(() => check(rename(temporary, path)));
      await syncFolder(dirname(path));
    },
    discard,
  };
}

/** Most bytes of one write call. */
const WRITE_BYTES = 1 << 24;

/** Writes all bytes at the end of what was written. One call takes many bytes, so that the calling thread is free meanwhile. */
async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(bytes.byteLength - done, WRITE_BYTES));
    done += bytesWritten;
  }
}

/**
 * Replaces a folder as a whole: `fill` writes into a temporary folder, which is then renamed to `folder`.
 *
 * An existing folder is deleted with everything in it after the new one has taken its place. On any error the
 * existing folder stays as it was. One process at a time does this; `folder.lock` names it.
 *
 * File systems cannot replace a folder in one step, so the old one is renamed to `folder.old` before the new
 * one is renamed to `folder`. A process that is killed between the two renames leaves only `folder.old`: call
 * `recoverFolder` before reading. Errors that `fill` throws are passed on.
 *
 * @throws UndriftError if the folder cannot be written, or another process is writing it.
 */
export async function writeFolderAtomic(
  folder: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const path = resolve(folder); // a trailing slash would put the temporary folder inside
  await withLock(lockBeside(path), async (lock) => {
    const check = guard(path, 'write');
    const temporary = temporaryName(path);
    const old = `${path}.old`;
    await restoreOld(path);
    if ((await exists(path)) && !(await isFolder(path))) throw fileError({ code: 'ENOTDIR' }, path, 'write');
    try {
      await removeLeftovers(path);
      await check(rm(`${path}.tmp`, { recursive: true, force: true })); // the temporary name of earlier versions
      await check(mkdir(temporary));
      await fill(temporary);
      await check(syncTree(temporary));
      await lock.check();
      if (await exists(path)) await check(rename(path, old));
      await check(rename(temporary, path));
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      await restoreOld(path);
      throw error;
    }
    await syncFolder(dirname(path));
    await check(rm(old, { recursive: true, force: true }));
  });
}

/**
 * Repairs a folder if `writeFolderAtomic` was killed while it replaced the folder: restores the old content, or removes it where the
 * new content is in place. Where a process is replacing the folder right now, waits until the folder is there.
 */
export async function recoverFolder(folder: string): Promise<void> {
  const path = resolve(folder);
  for (let tries = 0; tries < REPLACING_TRIES; tries++) {
    if (!(await exists(`${path}.old`))) return;
    if (!(await isLocked(lockBeside(path)))) return await restoreOld(path);
    if (await exists(path)) return;
    await sleep(REPLACING_MS);
  }
}

/** Time between looks at a folder that another process is replacing, in milliseconds, and the number of looks. */
const REPLACING_MS = 20;
const REPLACING_TRIES = 250;

/** Renames `path.old` back to `path` if there is no `path`, and else removes it. */
async function restoreOld(path: string): Promise<void> {
  const old = `${path}.old`;
  if (!(await exists(old))) return;
  if (!(await exists(path))) {
    // Another reader may have restored it just now.
    await guard(
      path,
      'restore',
    )(rename(old, path)).catch(async (error: unknown) => {
      if (!(await exists(path))) throw error;
    });
  }
  // A folder that may only be read keeps what is left in it.
  else await rm(old, { recursive: true, force: true }).catch(() => {});
}

/**
 * Reads a UTF-8 text file and removes a byte-order mark.
 *
 * @throws DataError if the file is missing, unreadable or not UTF-8.
 */
export async function readText(path: string): Promise<string> {
  const bytes = await guard(path, 'read')(readFile(path));
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataError('the file is not UTF-8 text', { file: path, help: 'convert it to UTF-8', cause });
  }
}

/**
 * Reads a JSON file.
 *
 * @throws DataError if the file is missing, not UTF-8 or not JSON. The error names the line of the fault
 *   where it is known.
 */
export async function readJson(path: string): Promise<unknown> {
  return parseJson(await readText(path), path);
}

/**
 * Parses the text of a JSON file.
 *
 * @param file path of the file, for error messages
 * @throws DataError if the text is not JSON, or nested too deeply. The error names the line of the fault where
 *   it is known.
 */
export function parseJson(text: string, file: string): unknown {
  try {
    return parseShallowJson(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    // V8 states the position of some faults only.
    const position = reason.includes('end of JSON') ? text.length : /at position (\d+)/.exec(reason)?.[1];
    const line = position === undefined ? undefined : text.slice(0, Number(position)).split('\n').length;
    const foreign = foreignFile(text);
    if (foreign) throw new DataError(`this is ${foreign.is}`, { file, cause, help: foreign.help });
    throw new DataError(`not valid JSON: ${reason}`, { file, cause, ...(line && { line }) });
  }
}

/** Limit on one read call: the operating system transfers less than 2 GiB at a time. */
const maximumReadBytes = 2 ** 30;

/**
 * Reads exactly `length` bytes of an open file, from byte `position` on.
 *
 * The result owns its buffer and starts at offset 0, so it can be viewed as any typed array.
 *
 * @param path path of the file, for error messages
 * @throws DataError if the file cannot be read, or ends before `length` bytes are read.
 */
export async function readAt(
  handle: FileHandle,
  path: string,
  position: number,
  length: number,
): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.from(new ArrayBuffer(length));
  const check = guard(path, 'read');
  for (let done = 0; done < length; ) {
    const wanted = Math.min(length - done, maximumReadBytes);
    const { bytesRead } = await check(handle.read(bytes, done, wanted, position + done));
    if (bytesRead === 0)
      throw new DataError(`the file ends ${length - done} bytes too early`, { file: path });
    done += bytesRead;
  }
  return bytes;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** Syncs the files of a folder and of its subfolders to the disk. */
async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const handle = await open(join(entry.parentPath, entry.name), 'r+');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

/** Syncs the directory entries of a folder to the disk, on platforms that support it. */
export async function syncFolder(path: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    await handle.sync();
  } catch {
    // Windows cannot open folders. The rename has succeeded all the same.
  } finally {
    await handle?.close();
  }
}
