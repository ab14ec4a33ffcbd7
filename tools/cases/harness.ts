import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of this checkout, whose `dist/` is tried. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** One comparison of a case. */
export interface Check {
  /** Name of the measured thing. */
  readonly what: string;
  /** Measured value. */
  readonly found: string;
  /** Right value. */
  readonly right: string;
  readonly ok: boolean;
}

/** One case: a folder under the cases, and what is measured in it. */
export interface Case {
  /** Path of the folder under the cases, such as `data/label-column`. */
  readonly folder: string;
  /** Measures. Throws `Skipped` where something on this machine is missing. */
  run(at: CaseFolder): Promise<Check[]>;
}

/** Something on this machine is missing that a case needs. */
export class Skipped extends Error {}

/** Result of a program. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Object that `--json` printed; empty where there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape differs from command to command.
  readonly json: any;
}

/** Folder of a case, with a temporary folder beside it and the command. */
export class CaseFolder {
  /** Absolute path of the folder. */
  readonly path: string;
  /** Temporary folder, removed after the case. */
  readonly scratch = mkdtempSync(join(tmpdir(), 'undrift-case-'));

  constructor(path: string) {
    this.path = path;
  }

  /** Path of a file of the case. */
  of(name: string): string {
    return join(this.path, name);
  }

  /** Path of a file in the temporary folder. */
  out(name: string): string {
    return join(this.scratch, name);
  }

  /**
   * Runs a command line of Undrift in the temporary folder, with `--json`.
   *
   * @param line  command and options, parted by spaces; `{name}` stands for the path of a file of the case
   * @param more  further arguments, as they are
   * @param options.seconds  time limit
   */
  async undrift(line: string, more: readonly string[] = [], { seconds = 900 } = {}): Promise<Ended> {
    const words = line
      .trim()
      .split(/\s+/)
      .map((word) => word.replace(/\{([^}]*)\}/, (_, name: string) => this.of(name)));
    return await run(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...words, ...more, '--json'], {
      cwd: this.scratch,
      seconds,
    });
  }

  /** As `undrift`; throws if the command fails. */
  async succeed(line: string): Promise<Ended> {
    const ended = await this.undrift(line);
    if (ended.code !== 0) throw new Error(`undrift ${line}: ${said(ended)}`);
    return ended;
  }

  /** Objects of a JSONL file in the temporary folder. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape differs from file to file.
  lines(name: string): any[] {
    return readFileSync(this.out(name), 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line));
  }

  /** Trains with the options, and returns the last training loss. */
  async finalLoss(options: string): Promise<number> {
    const out = `run-${this.#runs++}`;
    await this.succeed(`train --out ${out} --eval-split none ${options}`);
    return this.lines(`${out}/metrics.jsonl`).findLast(({ kind }) => kind === 'train').trainingLoss;
  }

  #runs = 0;

  /** Removes the temporary folder. */
  dispose(): void {
    rmSync(this.scratch, { recursive: true, force: true });
  }
}

/** What a failed command said, in one line. */
export const said = ({ code, json, stderr }: Ended): string => {
  const { message, help } = json?.error ?? {};
  return `exit code ${code}: ${message ? `${message}${help ? ` (${help})` : ''}` : stderr.trim().split('\n').at(-1)}`;
};

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly (string | number)[],
  { cwd, env = {}, seconds = 900 }: { cwd: string; env?: Record<string, string>; seconds?: number },
): Promise<Ended> {
  return await new Promise((resolve) => {
    const options = {
      cwd,
      env: { ...process.env, HF_HUB_OFFLINE: '1', ...env },
      timeout: 1000 * seconds,
      maxBuffer: 2 ** 28,
    };
    execFile(program, args.map(String), options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr, json: parsed(stdout) });
    });
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Compares numbers, to a tolerance. */
export const near = (what: string, found: number, right: number, tolerance = 5e-5): Check => ({
  what,
  found: String(round(found)),
  right: String(round(right)),
  ok: Math.abs(found - right) <= tolerance,
});

/** Compares with a limit. */
export const below = (what: string, found: number, limit: number): Check => ({
  what,
  found: String(round(found)),
  right: `below ${limit}`,
  ok: found < limit,
});

/** Compares values as JSON. */
export const same = (what: string, found: unknown, right: unknown): Check => ({
  what,
  found: JSON.stringify(found) ?? 'nothing',
  right: JSON.stringify(right),
  ok: JSON.stringify(found) === JSON.stringify(right),
});

/** States what was found where the right thing is a sentence. */
export const holds = (what: string, ok: boolean, found: string, right: string): Check => ({
  what,
  found,
  right,
  ok,
});

/** Checks that a command was refused with a message that matches. */
export const refused = (what: string, ended: Ended, message: RegExp): Check => {
  const text = said(ended);
  return holds(what, ended.code !== 0 && message.test(text), text, `refused: ${message.source}`);
};

const round = (value: number): number => Number(value.toPrecision(6));
