import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UndriftError } from '../../src/util/errors.ts';
import { drawsOf, mutate } from './fuzz-mutate.ts';
import { makeTargets, type Target } from './fuzz-targets.ts';

/**
 * Mutates files and reads them: the part of the fuzzing that runs in a process of its own, since a mutation may end it. Each line
 * on stdout is an object: `{"case"}` before a case, `{"fault"}` for an answer that is no error of ours, `{"done"}` at the end.
 *
 * Arguments: seed, number of cases, number of the first case, and the names of targets to which the run is restricted.
 */
const [seed, cases, first] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const only = process.argv.slice(5);

const say = (message: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify(message)}\n`);
};
let present = '';
const fault = (error: unknown): void => {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  say({ fault: present, stack: stack.slice(0, 1500) });
};
process.on('unhandledRejection', fault);
process.on('uncaughtException', fault);

const folder = await mkdtemp(join(tmpdir(), 'undrift-fuzz-'));
try {
  const all = await makeTargets(join(folder, 'whole'));
  const targets = all.filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)));
  const turns = targets.flatMap((target) => Array<Target>(target.weight ?? 4).fill(target));
  // A harness whose undamaged files are refused would find nothing.
  for (const { name, folder: whole, read } of targets) {
    present = `${name}, undamaged`;
    await read(whole).catch(fault);
  }
  const work = join(folder, 'work');
  const answers: Record<string, { read: number; refused: number }> = {};
  for (let index = first; index < first + cases; index++) {
    const draw = drawsOf(seed, index);
    const target = turns[draw(turns.length)]!;
    const file = target.files[draw(target.files.length)]!;
    present = `seed ${seed}, case ${index}: ${target.name}, ${file}`;
    say({ case: present });
    await rm(work, { recursive: true, force: true });
    await cp(target.folder, work, { recursive: true });
    const whole = await readFile(join(work, file));
    await writeFile(join(work, file), mutate(whole, file, { seed, index }));
    answers[target.name] ??= { read: 0, refused: 0 };
    const count = answers[target.name]!;
    try {
      await target.read(work);
      count.read++;
    } catch (error) {
      count.refused++;
      if (!(error instanceof UndriftError)) fault(error);
    }
  }
  say({ done: answers });
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exit(0);
