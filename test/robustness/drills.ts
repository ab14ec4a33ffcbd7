import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAIN, runUndrift } from '../run-undrift.ts';

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

/** Runs a command to its end in a folder, in the process of the test. */
export const undriftHere = (folder: string, words: readonly string[]) =>
  runUndrift([...words, '--quiet'], { cwd: folder });

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

/** Part of a drill: so many numbers of the first ones, and so many of all. */
export interface Part {
  readonly of?: { readonly first: number; readonly count: number };
  readonly spaced: number;
}

/** Chooses numbers from 1 to `last` for a bounded part of a drill, each kind evenly spaced up to its last one. */
export function sample(last: number, { of: early, spaced }: Part): number[] {
  const evenly = (to: number, count: number) =>
    Array.from({ length: Math.min(count, to) }, (_, i) => Math.ceil(((i + 1) * to) / Math.min(count, to)));
  const chosen = [
    ...(early ? evenly(Math.min(early.first, last), early.count) : []),
    ...evenly(last, spaced),
  ];
  return [...new Set(chosen)].sort((a, b) => a - b);
}
