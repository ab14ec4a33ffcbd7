import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { processState, thisProcess } from './process-identity.ts';

/** Ending of a temporary name: machine, process id and start of the writing process, and a random part. */
const ENDING = /\.([0-9a-f]{8})-(\d+)-([0-9a-z]*)-[0-9a-f]{8}\.tmp$/;

/** Ending of the temporary names that versions before 0.2 gave to files and folders. No process is named in it. */
const EARLIER_ENDING = /(\.[0-9a-f]{8})?\.tmp$/;

/**
 * Makes a name beside `path` under which only this process writes. It tells later processes who wrote it, so that they can remove
 * what a killed process has left.
 */
export function temporaryName(path: string): string {
  const { machine, pid, mark } = thisProcess();
  return `${path}.${machine}-${pid}-${mark ?? ''}-${randomUUID().slice(0, 8)}.tmp`;
}

/** Tells whether a name is a temporary one whose process has been killed. */
function isLeftover(name: string): boolean {
  const [, machine, pid, mark] = ENDING.exec(name) ?? [];
  if (machine === undefined) return false;
  return processState({ machine, pid: Number(pid), mark: mark || null, boot: null }) === 'ended';
}

/** Removes the temporary files and folders that killed processes have left beside `path` when they were writing it. */
export async function removeLeftovers(path: string): Promise<void> {
  const own = basename(path);
  await removeNames(dirname(path), (name) => name.replace(ENDING, '') === own && isLeftover(name));
}

/**
 * Removes the temporary files and folders that killed processes have left in a folder, those of earlier versions included. Call it
 * under a lock that no other process writes into the folder without.
 *
 * @param isOwn  tells whether a file of this name may be written into the folder
 */
export async function removeLeftoversIn(folder: string, isOwn: (name: string) => boolean): Promise<void> {
  await removeNames(folder, (name) => {
    const isTemporary = ENDING.test(name) ? isLeftover(name) : EARLIER_ENDING.test(name);
    return isTemporary && isOwn(name.replace(ENDING.test(name) ? ENDING : EARLIER_ENDING, ''));
  });
}

/** Removes files and folders by name. What cannot be listed or removed stays. */
async function removeNames(folder: string, chosen: (name: string) => boolean): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter(chosen)) {
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => {});
  }
}
