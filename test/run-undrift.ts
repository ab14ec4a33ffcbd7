import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCli } from '../src/cli/run-cli.ts';

/** The built command line, as it is published. */
export const MAIN = join(fileURLToPath(new URL('..', import.meta.url)), 'dist', 'cli', 'main.js');

/** Result of a command. */
export interface CommandLineResult {
  /** Exit code. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where a command runs. */
export interface CommandLineOptions {
  /** Working folder. Default that of this process. */
  readonly cwd?: string | undefined;
  /** Environment variables that are added or replaced. */
  readonly env?: Readonly<Record<string, string>>;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs a command line in this process, with its output, working folder and environment. A process of its own would take half a second
 * more to start; `spawnUndrift` starts one. Calls wait for each other, since a process has one working folder.
 */
export function runUndrift(
  argv: readonly string[],
  options: CommandLineOptions = {},
): Promise<CommandLineResult> {
  const result = last.then(() => runHere(argv, options));
  last = result.catch(() => {});
  return result;
}

async function runHere(
  argv: readonly string[],
  { cwd, env = {} }: CommandLineOptions,
): Promise<CommandLineResult> {
  const written = { stdout: '', stderr: '' };
  const undo: (() => void)[] = [];
  for (const name of ['stdout', 'stderr'] as const) {
    const stream = process[name];
    const { write } = stream;
    undo.push(() => {
      stream.write = write;
    });
    stream.write = ((text: string | Uint8Array, ...rest: unknown[]) => {
      written[name] += typeof text === 'string' ? text : Buffer.from(text).toString();
      const done = rest.at(-1);
      if (typeof done === 'function') process.nextTick(done as () => void);
      return true;
    }) as typeof write;
  }
  const folder = process.cwd();
  undo.push(() => process.chdir(folder));
  for (const [name, value] of Object.entries(env)) {
    const before = process.env[name];
    undo.push(() => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
    process.env[name] = value;
  }
  try {
    if (cwd !== undefined) process.chdir(cwd);
    return { code: await runCli(argv), ...written };
  } finally {
    for (const each of undo) each();
  }
}

/**
 * Runs the built command line in a process of its own. Tests use it where the process itself matters: the start, standard input, real
 * streams, signals, memory, crashes.
 *
 * @param options.input  text on standard input; default none
 */
export function spawnUndrift(
  argv: readonly string[],
  { cwd, env, input }: CommandLineOptions & { readonly input?: string | Uint8Array } = {},
): Promise<CommandLineResult> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, ...env }, maxBuffer: 2 ** 26 };
    const child = execFile(process.execPath, [MAIN, ...argv], options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
    if (input !== undefined) child.stdin?.end(input);
  });
}
