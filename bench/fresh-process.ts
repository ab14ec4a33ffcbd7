import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Prefix of the line of a child's output that contains its result. */
const MARK = 'bench-result ';

/**
 * Runs a command and returns the JSON value that it reported. Each measurement gets a process of its own, so
 * that neither the memory of another one nor the order of cases affects it.
 *
 * @throws Error with the output of the command if it fails or reports nothing
 */
export async function freshProcess<Result>(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv } = {},
): Promise<Result> {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  let [output, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const code = await new Promise<number | null>((resolve, reject) =>
    child.on('error', reject).on('close', resolve),
  );
  const line = output.split('\n').find((text) => text.startsWith(MARK));
  if (code !== 0 || !line)
    throw new Error(`${command} ${args.join(' ')} failed (${code}):\n${errors}${output}`);
  return JSON.parse(line.slice(MARK.length)) as Result;
}

/** Reports the result of a child process. */
export const report = (result: unknown): void => console.log(MARK + JSON.stringify(result));

/** Runs a TypeScript file of this project in a fresh process. */
export const freshNode = <Result>(file: URL, args: readonly string[]): Promise<Result> =>
  freshProcess<Result>(process.execPath, [...process.execArgv, fileURLToPath(file), ...args]);
