import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const HOOK = new URL('./kills-hook.mjs', import.meta.url).href;

/** Outcome of a command. */
export interface Outcome {
  /** Exit code; null for a killed process. */
  readonly code: number | null;
  readonly stderr: string;
  readonly pid: number;
}

/** Kill of a command: at an operation on the disk, counted from 1, with half of its bytes written or none. */
export interface Kill {
  readonly at: number;
  readonly half?: boolean;
  readonly log?: string;
}

/** Runs the built command in a folder, and kills it if asked to. */
export function undrift(folder: string, words: readonly string[], kill?: Kill): Promise<Outcome> {
  const environment = kill && {
    KILL_AT: String(kill.at),
    ...(kill.half && { KILL_HALF: '1' }),
    ...(kill.log !== undefined && { KILL_LOG: kill.log }),
  };
  const child = spawn(process.execPath, [...(kill ? ['--import', HOOK] : []), MAIN, ...words, '--quiet'], {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((done) => {
    child.on('close', (code) => done({ code, stderr, pid: child.pid! }));
  });
}

/** Counts the operations of a command on the disk. */
export async function countOperations(folder: string, words: readonly string[]): Promise<number> {
  const log = join(folder, '..', `operations-${process.pid}.log`);
  const { code, stderr } = await undrift(folder, words, { at: 0, log });
  if (code !== 0) throw new Error(`the command fails by itself: ${stderr}`);
  return readFileSync(log, 'utf8').split('\n').length - 1;
}

/** Lists the files of a folder, by path. */
export const filesOf = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true, recursive: true })
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
        .sort()
    : [];

/** Does work for every item, `width` items at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/**
 * Chooses numbers from 1 to `last` for a bounded part of a drill: all of the first ones, and then evenly spaced ones.
 *
 * @param all  chooses all numbers
 */
export function sample(
  last: number,
  { first, spaced, all }: { first: number; spaced: number; all: boolean },
): number[] {
  const numbers = Array.from({ length: last }, (_, i) => i + 1);
  if (all || last <= first + spaced) return numbers;
  const stride = (last - first) / spaced;
  return [
    ...numbers.slice(0, first),
    ...Array.from({ length: spaced }, (_, i) => Math.ceil(first + (i + 1) * stride)),
  ];
}
