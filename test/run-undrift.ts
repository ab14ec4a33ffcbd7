import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = join(fileURLToPath(new URL('..', import.meta.url)), 'dist', 'cli', 'main.js');

/** Result of a command in a process of its own. */
export interface ProcessResult {
  /** Exit code. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the built command line in a process of its own.
 *
 * @param options.input  text on standard input; default none
 */
export function runUndrift(
  argv: readonly string[],
  { cwd, input }: { cwd?: string | undefined; input?: string } = {},
): Promise<ProcessResult> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [main, ...argv], { cwd }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
    if (input !== undefined) child.stdin?.end(input);
  });
}
