import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { recoverFolder, writeFileAtomic, writeFolderAtomic } from './files.ts';
import { isLocked, lockBeside, lockInside, takeLock, withLock } from './lock.ts';
import { thisProcess } from './process-identity.ts';

const BUILT = fileURLToPath(new URL('../../dist/util/lock.js', import.meta.url));

/** Starts a process that takes locks: for each line `path` it answers `took` or the message, for an empty line it gives back. */
function locker(): { child: ChildProcess; ask: (path: string) => Promise<string> } {
  const script = `
    import { createInterface } from 'node:readline';
    const { lockBeside, takeLock } = await import(${JSON.stringify(BUILT)});
    let lock;
    for await (const path of createInterface({ input: process.stdin })) {
      if (path === '') await lock?.release();
      const answer = path === '' ? 'gave back'
        : await takeLock(lockBeside(path)).then((taken) => { lock = taken; return 'took'; }, (error) => error.message);
      console.log(JSON.stringify(answer));
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    child,
    async ask(path) {
      child.stdin!.write(`${path}\n`);
      return JSON.parse((await lines.next()).value ?? '"ended"');
    },
  };
}

const kill = async (child: ChildProcess): Promise<void> => {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
};

it('refuses a second process, with id and start of the first, until the first has given the lock back', async () => {
  const path = join(tempFiles(), 'deep', 'out');
  const first = locker();
  expect(await first.ask(path)).toBe('took');
  expect(await isLocked(lockBeside(path))).toBe(true);
  await expect(takeLock(lockBeside(path))).rejects.toThrow(
    new RegExp(
      `out is being written by process ${first.child.pid}, started 20\\d\\d-\\d\\d-\\d\\dT[\\d:]+Z\\n {2}help: wait until`,
    ),
  );
  await first.ask('');
  // Nothing is left, not even the folder that was made for the lock.
  expect(existsSync(join(path, '..'))).toBe(false);
  await (await takeLock(lockBeside(path))).release();
  await kill(first.child);
});

it('takes over the lock of a killed process, and that of an earlier process with the same id', async () => {
  const path = join(tempFiles(), 'out');
  const first = locker();
  await first.ask(path);
  await kill(first.child);
  expect(existsSync(`${path}.lock`)).toBe(true);
  expect(await isLocked(lockBeside(path))).toBe(false);
  const taken = await takeLock(lockBeside(path));
  await taken.check();
  await taken.release();

  writeFileSync(`${path}.lock`, JSON.stringify({ ...thisProcess(), mark: 'earlier', token: 'x' }));
  await (await takeLock(lockBeside(path))).release();
  writeFileSync(`${path}.lock`, JSON.stringify({ ...thisProcess(), boot: 'earlier', token: 'x' }));
  await (await takeLock(lockBeside(path))).release();
  writeFileSync(`${path}.lock`, '{"pid": 1');
  await (await takeLock(lockBeside(path))).release();
  expect(readdirSync(join(path, '..'))).toEqual([]);
});

it('gives the lock of a killed process to one of several that want it', { timeout: 60_000 }, async () => {
  const folder = tempFiles();
  const several = Array.from({ length: 4 }, locker);
  const dead = { ...thisProcess(), pid: 2 ** 22 - 3, mark: '0' };
  for (let round = 0; round < 25; round++) {
    const path = join(folder, `out-${round}`);
    writeFileSync(`${path}.lock`, JSON.stringify({ ...dead, token: `stale-${round}` }));
    const answers = await Promise.all(several.map(({ ask }) => ask(path)));
    expect(answers.filter((answer) => answer === 'took')).toHaveLength(1);
    expect(answers.filter((answer) => /is being written by process \d+/.test(answer))).toHaveLength(3);
    for (const { ask } of several) await ask('');
    expect(readdirSync(folder)).toEqual([]);
  }
  for (const { child } of several) await kill(child);
});

it('names another machine, and takes over its lock once it has been silent for ten minutes', async () => {
  const path = join(tempFiles(), 'out');
  const file = `${path}.lock`;
  writeFileSync(file, JSON.stringify({ ...thisProcess(), host: 'gpu-3', machine: 'other', token: 'x' }));
  await expect(takeLock(lockBeside(path))).rejects.toThrow(
    /is being written by process \d+ on the machine gpu-3, started .*\n.*if it was killed, delete .*out\.lock/,
  );
  const before = new Date(Date.now() - 700_000);
  utimesSync(file, before, before);
  await (await takeLock(lockBeside(path))).release();
});

it('is taken again by the same call, and refused to another call of the same process', async () => {
  const folder = join(tempFiles(), 'run');
  await withLock(lockInside(folder), async (lock) => {
    await withLock(lockInside(folder), async (inner) => expect(inner).toBe(lock));
    await (await takeLock(lockInside(folder))).release();
    await lock.check();
  });
  expect(existsSync(folder)).toBe(false);
  const held = await takeLock(lockInside(folder));
  const second = withLock(lockInside(folder), async () => {});
  await expect(second).rejects.toThrow(new RegExp(`by this process \\(${process.pid}\\)`));
  await held.release();
});

it('notices that the folder was removed, or the lock taken over', async () => {
  const folder = join(tempFiles(), 'run');
  await withLock(lockInside(folder), async (lock) => {
    const file = join(folder, '.lock');
    const own = readFileSync(file);
    writeFileSync(file, JSON.stringify({ ...thisProcess(), pid: 77, token: 'x' }));
    await expect(lock.check()).rejects.toThrow(/run was taken over by process 77/);
    writeFileSync(file, own);
    await lock.check();
    rmSync(folder, { recursive: true });
    await expect(lock.check()).rejects.toThrow(
      /run was removed or renamed while this process was writing it/,
    );
  });
  expect(existsSync(folder)).toBe(false);
});

it('removes what killed processes have left, and nothing else', async () => {
  const folder = tempFiles();
  const { machine } = thisProcess();
  const name = (base: string, pid: number, mark: string) => `${base}.${machine}-${pid}-${mark}-0123abcd.tmp`;
  const dead = [name('a.json', 2 ** 22 - 3, '0'), name('a.json', process.pid, 'earlier')];
  const kept = [
    name('a.json', process.pid, thisProcess().mark ?? ''),
    name('b.json', 2 ** 22 - 3, '0'),
    name('a.json', 2 ** 22 - 3, '0').replace(machine, '00000000'),
    'a.json.tmp',
  ];
  for (const file of [...dead, ...kept]) writeFileSync(join(folder, file), '');
  await writeFileAtomic(join(folder, 'a.json'), '');
  expect(readdirSync(folder).sort()).toEqual([...kept, 'a.json'].sort());
});

it('readers wait for a folder that another call is replacing, and restore one whose writer is dead', async () => {
  const folder = join(tempFiles(), 'model');
  const fill = (text: string) => async (temporary: string) => writeFileSync(join(temporary, 'x'), text);
  await writeFolderAtomic(folder, fill('one'));
  // The moment between the two renames, while the writer lives.
  const lock = await takeLock(lockBeside(folder));
  mkdirSync(`${folder}.old`);
  rmSync(folder, { recursive: true });
  let recovered = false;
  const reading = recoverFolder(folder).then(() => {
    recovered = true;
  });
  await new Promise((done) => setTimeout(done, 100));
  expect([recovered, existsSync(folder)]).toEqual([false, false]);
  mkdirSync(folder);
  await reading;
  await lock.release();
  await recoverFolder(folder);
  expect(readdirSync(join(folder, '..'))).toEqual(['model']);
});
