import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { UndriftError } from '../util/errors.ts';
import { openEventFile } from './tensorboard.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'undrift-tensorboard-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it("writes the bytes that TensorBoard's own writer writes", async () => {
  // The clock is read once for the name and once per event, one second apart.
  let ms = 1_699_999_999_250;
  const nowMs = () => {
    ms += 1000;
    return ms - 1000;
  };
  const file = openEventFile(folder, { nowMs, resumeStep: 7 });
  file.scalar('loss/training', 0.5, 0);
  file.scalar('loss/training', 0, 8);
  file.scalar('größe', Number.NEGATIVE_INFINITY, 2 ** 40);
  file.histogram('weights', [-0.25, 0, Number.NaN, 0.5, 0.5, 3, 1e-13, -2e20, Number.POSITIVE_INFINITY], 9);
  file.histogram('nothing', [Number.NaN], 9);
  file.histogram('zeros', new Float32Array(3), 10);
  // All data is in the file before it is closed.
  const written = await readFile(file.path);
  file.close();
  // Written by the Python package tensorboard: tools/reference/tensorboard_golden.py
  expect(written.equals(await readFile(new URL('fixtures/golden.tfevents', import.meta.url)))).toBe(true);
});

it('names each file later than those that are there', async () => {
  await writeFile(join(folder, 'events.out.tfevents.1800000000.host.17.0'), '');
  await writeFile(join(folder, 'metrics.jsonl'), '');
  const nowMs = () => 1_700_000_000_000;
  for (let i = 0; i < 2; i++) openEventFile(folder, { nowMs }).close();
  expect((await readdir(folder)).sort().slice(0, 3)).toEqual([
    'events.out.tfevents.1800000000.host.17.0',
    'events.out.tfevents.1800000001.undrift',
    'events.out.tfevents.1800000002.undrift',
  ]);
});

it('makes its folder, and explains where it cannot', async () => {
  const file = openEventFile(join(folder, 'a', 'b'), { nowMs: () => 1_700_000_000_000 });
  file.close();
  expect(basename(file.path)).toBe('events.out.tfevents.1700000000.undrift');
  expect(() => openEventFile(file.path)).toThrow(UndriftError);
});
