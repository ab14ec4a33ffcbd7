import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { TrainingClock } from './training-clock.ts';

it('stands still during other work, also where that fails', async () => {
  const clock = new TrainingClock();
  await sleep(20);
  const readings: number[] = [];
  await clock.aside(async () => {
    readings.push(clock.elapsedMs);
    await sleep(60);
    readings.push(clock.elapsedMs);
  });
  await expect(
    clock.aside(async () => {
      await sleep(60);
      throw new Error('on purpose');
    }),
  ).rejects.toThrow('on purpose');
  readings.push(clock.elapsedMs);
  expect(readings[0]).toBeGreaterThan(19);
  expect(readings[1]).toBe(readings[0]);
  expect(readings[2]! - readings[0]!).toBeLessThan(50);
  await sleep(20);
  expect(clock.elapsedMs - readings[2]!).toBeGreaterThan(19);
});
