import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Prefix of the names of such folders, before a random ending. */
const PREFIX = 'refresh.';

/** Makes a folder for the files of a refresh, and removes those that earlier runs have left in the same place when they were killed. */
export async function makeWorkFolder(inside: string): Promise<string> {
  await mkdir(inside, { recursive: true });
  const left = (await readdir(inside)).filter((name) => name.startsWith(PREFIX));
  for (const name of left) await rm(join(inside, name), { recursive: true, force: true });
  return await mkdtemp(join(inside, PREFIX));
}
