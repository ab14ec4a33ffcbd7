import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UndriftError } from './errors.ts';
import { fileError, guard } from './file-error.ts';
import { isProcessIdentity, type ProcessIdentity, processState, thisProcess } from './process-identity.ts';
import { removeLeftovers, temporaryName } from './temporary-name.ts';

/** Place that one process at a time may write, and its lock file. */
export interface LockTarget {
  /** File or folder that is written. */
  readonly path: string;
  /** Lock file. */
  readonly file: string;
}

/** Lock of a file, or of a folder that is replaced as a whole: the lock file lies beside it. */
export const lockBeside = (path: string): LockTarget => ({ path, file: `${resolve(path)}.lock` });

/** Name of the lock file inside of a folder. */
export const LOCK_NAME = '.lock';

/** Lock of a folder that stays while files in it come and go: the lock file lies inside. */
export const lockInside = (folder: string): LockTarget => ({
  path: folder,
  file: join(resolve(folder), LOCK_NAME),
});

/** Lock that this process holds. */
export interface Lock {
  /**
   * Checks that the lock is still held.
   *
   * @throws UndriftError if its file was removed, as with the folder around it, or another process has taken it over
   */
  check(): Promise<void>;
}

/** Lock that has to be given back. */
export interface TakenLock extends Lock {
  /** Gives the lock back. Folders that were made for the lock file, and are empty, are removed. */
  release(): Promise<void>;
}

/** Refusal of a lock, because another process or call holds it. */
export class HeldLockError extends UndriftError {}

/** Content of a lock file. */
interface Holder extends ProcessIdentity {
  /** Random text that tells this lock from later ones. */
  readonly token: string;
}

/** Time between signs of life of a lock, in milliseconds. */
const SIGN_MS = 30_000;
/** Time without a sign of life after which a lock of another machine counts as abandoned, in milliseconds. */
const ABANDONED_MS = 600_000;
/** Number of tries to make a lock file in a folder that other processes make and remove. */
const TRIES = 5;
/** Time in which a process writes a lock file on a file system without hard links, in milliseconds. */
const WRITING_MS = 1000;

/** Locks that the current call and its callers hold, by lock file. */
const heldAround = new AsyncLocalStorage<ReadonlyMap<string, Lock>>();
/** Lock files of this process by token. */
const ownLocks = new Map<string, string>();

/**
 * Does work that no other process may do at the same time at the same place.
 *
 * The lock is a file that names the process. A lock whose process was killed is taken over: a process counts as ended if
 * its id is free, belongs to a process that started at another time, or is from before the machine's last start. A lock of another
 * machine or container counts as abandoned after ten minutes without a sign of life. Inside of `work`, the same lock may be taken
 * again; any other call is refused, in the same process too.
 *
 * @throws UndriftError that names the process if another one holds the lock, or if the lock file cannot be written
 */
export async function withLock<T>(target: LockTarget, work: (lock: Lock) => Promise<T>): Promise<T> {
  const around = heldAround.getStore();
  const held = around?.get(target.file);
  if (held) return await work(held);
  const lock = await takeLock(target);
  try {
    return await heldAround.run(new Map(around).set(target.file, lock), () => work(lock));
  } finally {
    await lock.release();
  }
}

/** Takes a lock, as {@link withLock} does, until it is released. Inside of `withLock` of the same place it does nothing. */
export async function takeLock({ path, file }: LockTarget): Promise<TakenLock> {
  const held = heldAround.getStore()?.get(file);
  if (held) return { check: () => held.check(), release: async () => {} };
  const { token, made } = await acquireInFolder(file, path);
  ownLocks.set(token, file);
  const signs = setInterval(() => void giveSign(file), SIGN_MS).unref();
  return {
    async check() {
      const found = await readHolder(file);
      if (found?.token === token) return;
      throw new UndriftError(
        found === undefined
          ? `${path} was removed or renamed while this process was writing it`
          : `${path} was taken over by ${describeHolder(found)}`,
        { help: found === undefined ? 'start again' : 'wait until it has ended, and start again' },
      );
    },
    async release() {
      clearInterval(signs);
      ownLocks.delete(token);
      if ((await readHolder(file))?.token === token) await rm(file, { force: true });
      await removeEmpty(dirname(file), made);
    },
  };
}

/** Tells whether a process that runs holds a lock: another one, or this one in another call. */
export async function isLocked({ file }: LockTarget): Promise<boolean> {
  const found = await readHolder(file);
  if (found === undefined || heldAround.getStore()?.has(file)) return false;
  return await isHeld(found, file, async () => Date.now());
}

/**
 * Makes the lock file, and the folder for it.
 *
 * @returns  token of the lock, and the outermost folder that was made
 */
async function acquireInFolder(
  file: string,
  path: string,
): Promise<{ token: string; made: string | undefined }> {
  const folder = dirname(file);
  for (let tries = 1; ; tries++) {
    const made = await guard(path, 'write')(mkdir(folder, { recursive: true }));
    try {
      await removeLeftovers(file);
      const token = await acquire(file, path);
      await removeClaims(file);
      return { token, made };
    } catch (error) {
      // Another process that gave its lock back has removed the folder that it had made.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && tries < TRIES) continue;
      await removeEmpty(folder, made);
      throw fileError(error, path, 'write');
    }
  }
}

// A process that ends itself early, as after a second Ctrl-C, gives its locks back.
process.on('exit', () => {
  for (const [token, file] of ownLocks) {
    try {
      if (readFileSync(file, 'utf8').includes(token)) rmSync(file);
    } catch {
      // The lock stays, and is recognised as that of an ended process.
    }
  }
});

/**
 * Makes the lock file.
 *
 * @returns  token of the lock
 * @throws HeldLockError if another process holds the lock
 */
async function acquire(file: string, path: string): Promise<string> {
  const holder: Holder = { ...thisProcess(), token: randomUUID() };
  const temporary = temporaryName(file);
  await writeFile(temporary, `${JSON.stringify(holder)}\n`, { flag: 'wx' });
  try {
    for (;;) {
      if (await linkNew(temporary, file)) return holder.token;
      const found = await readHolder(file);
      // It was released just now.
      if (found === undefined) continue;
      const nowMs = async () => (await stat(temporary)).mtimeMs;
      if (await isHeld(found, file, nowMs)) throw heldError(path, file, found);
      if (await replaceEnded(found, { temporary, file, path })) return holder.token;
    }
  } finally {
    await rm(temporary, { force: true });
  }
}

/**
 * Takes over the lock of a process that has ended. A lock on that very lock ensures that one process does: whoever holds it alone
 * may replace the lock that it names.
 *
 * @returns  whether the lock was taken over; false if another process was quicker
 */
async function replaceEnded(
  ended: Pick<Holder, 'token'>,
  { temporary, file, path }: { temporary: string; file: string; path: string },
): Promise<boolean> {
  const claim = claimFile(file, ended);
  await acquire(claim, path);
  try {
    if ((await readHolder(file))?.token !== ended.token) return false;
    await rename(temporary, file);
    return true;
  } finally {
    await rm(claim, { force: true });
  }
}

const claimFile = (file: string, { token }: Pick<Holder, 'token'>): string => `${file}.${token.slice(0, 8)}`;

/** Removes claims that were left on earlier holders of a lock by processes that were killed while they took it over. */
async function removeClaims(file: string): Promise<void> {
  const prefix = `${basename(file)}.`;
  for (const name of await readdir(dirname(file))) {
    if (!name.startsWith(prefix) || !/^[0-9a-f]{8}(\.[0-9a-f]{8})*$/.test(name.slice(prefix.length)))
      continue;
    await rm(join(dirname(file), name), { force: true });
  }
}

/** Gives a file a second name; false if that name is taken. */
async function linkNew(temporary: string, file: string): Promise<boolean> {
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL'].includes(code ?? '')) throw error;
  }
  // The file system has no hard links. Another process may see the file before its content is written.
  try {
    await writeFile(file, await readFile(temporary), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Reads a lock file; undefined if there is none. A damaged one has only a token, which is a function of its content. */
async function readHolder(file: string): Promise<Holder | Pick<Holder, 'token'> | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  try {
    const json: unknown = JSON.parse(text);
    if (isProcessIdentity(json) && 'token' in json && typeof json.token === 'string') return json as Holder;
  } catch {
    // It is damaged.
  }
  return { token: createHash('sha256').update(text).digest('hex') };
}

/**
 * Tells whether the process of a lock file still runs.
 *
 * @param nowMs  returns the time by the clock of the file system, in milliseconds
 */
async function isHeld(
  found: Holder | Pick<Holder, 'token'>,
  file: string,
  nowMs: () => Promise<number>,
): Promise<boolean> {
  try {
    if (!('pid' in found)) {
      // It may just be written. The takeover looks whether it still is the same.
      await sleep(WRITING_MS);
      return false;
    }
    const state = processState(found);
    if (state === 'unknown') return (await nowMs()) - (await stat(file)).mtimeMs < ABANDONED_MS;
    // Where the start of processes is not known, a lock of this id that is not ours is from an earlier process.
    if (found.pid === process.pid && found.mark === null) return ownLocks.has(found.token);
    return state === 'runs';
  } catch (error) {
    // It was released just now; the next try finds no lock.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function heldError(path: string, file: string, found: Holder | Pick<Holder, 'token'>): HeldLockError {
  const isFar = 'machine' in found && found.machine !== thisProcess().machine;
  return new HeldLockError(`${path} is being written by ${describeHolder(found)}`, {
    help:
      'wait until that has ended, or choose another place' +
      (isFar ? `; if it was killed, delete ${file}, or wait ten minutes` : ''),
  });
}

function describeHolder(found: Holder | Pick<Holder, 'token'>): string {
  if (!('pid' in found)) return 'another process';
  const { pid, host, machine, started } = found;
  const isNear = machine === thisProcess().machine;
  const which = isNear && pid === process.pid ? `this process (${pid})` : `process ${pid}`;
  return `${which}${isNear ? '' : ` on the machine ${host}`}, started ${started}`;
}

/** Shows that this process lives: the time of the lock file becomes now, by the clock of the file system. */
async function giveSign(file: string): Promise<void> {
  const handle = await open(file, 'r+').catch(() => undefined);
  await handle?.write('{', 0).catch(() => {});
  await handle?.close().catch(() => {});
}

/** Removes the folders that were made for a lock, from the inner one outwards, as far as they are empty. */
async function removeEmpty(folder: string, made: string | undefined): Promise<void> {
  if (made === undefined) return;
  try {
    for (let each = folder; ; each = dirname(each)) {
      await rmdir(each);
      if (each === made) return;
    }
  } catch {
    // It holds something by now.
  }
}
