import { setTimeout as sleep } from 'node:timers/promises';
import { isLocked, type LockTarget, takeLock } from './lock.ts';

/** Time between two looks at a lock that another process holds, in milliseconds. */
const LOOK_MS = 100;
/** Number of tries to take a lock that was free at the last look. */
const TRIES = 10;

/**
 * Does work that one process at a time may do, and waits for other processes that do it.
 *
 * @param onWait  called ten times a second during the wait; an error that it throws ends the wait, and is passed on
 * @throws UndriftError if the lock file cannot be written
 */
export async function waitForLock<T>(
  target: LockTarget,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    while (await isLocked(target)) {
      onWait();
      await sleep(LOOK_MS);
    }
    let lock: Awaited<ReturnType<typeof takeLock>>;
    try {
      lock = await takeLock(target);
    } catch (error) {
      // Another process was quicker, and may have ended by now.
      if (tries < TRIES || (await isLocked(target))) continue;
      throw error;
    }
    try {
      return await work();
    } finally {
      await lock.release();
    }
  }
}
