import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { lockBeside } from './lock.ts';
import { waitForLock } from './wait-for-lock.ts';

it('lets one call work at a time', async () => {
  const target = lockBeside(join(tempFiles(), 'file'));
  let working = 0;
  let most = 0;
  let waits = 0;
  const work = async () => {
    most = Math.max(most, ++working);
    await sleep(30);
    working--;
  };
  await Promise.all([1, 2, 3, 4].map(() => waitForLock(target, () => waits++, work)));
  expect(most).toBe(1);
  expect(waits).toBeGreaterThan(0);
  expect(existsSync(target.file)).toBe(false);
});

it('passes the errors of the work and of the observer on', async () => {
  const target = lockBeside(join(tempFiles(), 'file'));
  const failed = new Error('failed');
  await expect(
    waitForLock(
      target,
      () => {},
      () => Promise.reject(failed),
    ),
  ).rejects.toBe(failed);
  await waitForLock(
    target,
    () => {},
    async () => {
      const stop = () => {
        throw failed;
      };
      await expect(waitForLock(target, stop, async () => {})).rejects.toBe(failed);
    },
  );
});
