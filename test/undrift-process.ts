import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAIN } from './run-undrift.ts';

/** Processes that run. They are killed when the test process ends, however it does. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Built command line in a process of its own, which runs while a test goes on. */
export interface UndriftProcess {
  readonly pid: number;
  /** What it has written so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Waits until its standard error has a text, and fails if it ends before. */
  says(text: string): Promise<void>;
  /** Sends a signal. */
  signal(name: NodeJS.Signals): void;
  /** Waits for its end, after a signal if one is given, and returns the exit code; null after a signal that killed it. */
  end(name?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a command. */
export function startUndrift(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): UndriftProcess {
  const child = spawn(process.execPath, [MAIN, ...argv], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      written[name] += text;
    });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid: child.pid!,
    get stdout() {
      return written.stdout;
    },
    get stderr() {
      return written.stderr;
    },
    async says(text) {
      while (!written.stderr.includes(text)) {
        if (hasEnded())
          throw new Error(`undrift ${argv.join(' ')} ended without '${text}':\n${written.stderr}`);
        await sleep(20);
      }
    },
    signal: (name) => void child.kill(name),
    async end(name) {
      if (name) child.kill(name);
      if (!hasEnded()) await once(child, 'exit');
      return child.exitCode;
    },
  };
}
