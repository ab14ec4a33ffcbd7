import { readFileSync, statfsSync } from 'node:fs';

const SHM = '/dev/shm';
/** Room that the tests may need, in bytes. */
const ROOM_BYTES = 4 * 2 ** 30;

/** Tells whether a folder lies in memory, has room, and lets programs be executed, unlike that of most containers. */
function isUsable(folder: string): boolean {
  try {
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    const options = mounts.findLast((line) => line.split(' ')[1] === folder)?.split(' ')[3];
    const { bavail, bsize } = statfsSync(folder);
    return options !== undefined && !options.split(',').includes('noexec') && bavail * bsize >= ROOM_BYTES;
  } catch {
    return false;
  }
}

/**
 * Folder in memory for the files of tests; undefined where there is none. A run of four steps waits about sixty times until the disk
 * has what it wrote, which is longer than it computes.
 */
export const memoryFolder: string | undefined = isUsable(SHM) ? SHM : undefined;
