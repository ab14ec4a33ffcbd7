import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { nodeScript } from '../plain-script.ts';

/** Settings of {@link fuzz}. */
export interface FuzzOptions {
  /** Seed of the mutations. */
  readonly seed: number;
  /** Number of mutations. */
  readonly cases: number;
  /** Number of the first mutation. Default 0. */
  readonly first?: number;
  /** Parts of the names of the readers to try. Default all. */
  readonly only?: readonly string[];
}

/** Result of {@link fuzz}. */
export interface FuzzReport {
  /** Answers that are no errors of ours: the case, and the stack or what happened to the process. */
  readonly faults: readonly string[];
  /** Number of mutations read and refused, by reader. */
  readonly answers: Readonly<Record<string, { read: number; refused: number }>>;
}

/** Time without a new case after which a process counts as hanging, in milliseconds. */
const HANG_MS = 30_000;
/** Memory of the process that reads, in MiB: enough for all undamaged files. */
const HEAP_MIB = 1024;
const MOST_FAULTS = 20;

/**
 * Tries all readers on damaged files. The readers run in another process, so that a crash or a hang is a fault of one case: the
 * run goes on behind it.
 */
export async function fuzz({ seed, cases, first = 0, only = [] }: FuzzOptions): Promise<FuzzReport> {
  const faults: string[] = [];
  const answers: Record<string, { read: number; refused: number }> = {};
  for (let next = first; next < first + cases && faults.length < MOST_FAULTS; ) {
    const { last, done } = await runFrom(next);
    if (done) break;
    next = last + 1;
  }
  return { faults, answers };

  async function runFrom(start: number): Promise<{ last: number; done: boolean }> {
    const { execArgv, script } = nodeScript(fileURLToPath(new URL('fuzz-run.ts', import.meta.url)));
    const words = [seed, first + cases - start, start, ...only].map(String);
    const child = spawn(
      process.execPath,
      [`--max-old-space-size=${HEAP_MIB}`, ...execArgv, script, ...words],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let present = 'before the first case';
    let last = start - 1;
    let done = false;
    let hangs = false;
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors = `${errors}${chunk}`.slice(-2000);
    });
    const hang = () => {
      hangs = true;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(hang, 2 * HANG_MS);
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    for await (const line of createInterface({ input: child.stdout })) {
      clearTimeout(timer);
      timer = setTimeout(hang, HANG_MS);
      const message = JSON.parse(line) as {
        case?: string;
        fault?: string;
        stack?: string;
        done?: FuzzReport['answers'];
      };
      if (message.case !== undefined) {
        present = message.case;
        last++;
      }
      if (message.fault !== undefined) faults.push(`${message.fault}\n${message.stack}`);
      if (faults.length >= MOST_FAULTS) child.kill('SIGKILL');
      if (message.done) {
        done = true;
        Object.assign(answers, message.done);
      }
    }
    clearTimeout(timer);
    const code = await ended;
    if (done || faults.length >= MOST_FAULTS) return { last, done };
    faults.push(
      `${present}\n${hangs ? `no answer in ${HANG_MS / 1000} s` : `the process ended (${code}): ${errors}`}`,
    );
    return { last, done: last < start };
  }
}

const whole = (name: string, otherwise: number): number => {
  const text = process.env[name];
  if (text === undefined || text === '') return otherwise;
  if (text === 'random') return Math.floor(Math.random() * 2 ** 31);
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`${name} should be a whole number, found ${JSON.stringify(text)}`);
};

/** Settings from `UNDRIFT_FUZZ_SEED` (a number, or `random`), `UNDRIFT_FUZZ_COUNT`, `UNDRIFT_FUZZ_FIRST` and `UNDRIFT_FUZZ_ONLY`. */
export const fuzzOptions = (cases: number): FuzzOptions => ({
  seed: whole('UNDRIFT_FUZZ_SEED', 1),
  cases: whole('UNDRIFT_FUZZ_COUNT', cases),
  first: whole('UNDRIFT_FUZZ_FIRST', 0),
  only: process.env.UNDRIFT_FUZZ_ONLY?.split(',').filter((part) => part !== '') ?? [],
});

// Run by hand: npm run fuzz
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = fuzzOptions(20_000);
  process.stdout.write(`fuzz: seed ${options.seed}, ${options.cases} mutations\n`);
  const { faults, answers } = await fuzz(options);
  console.table(answers);
  for (const each of faults) process.stdout.write(`\nFAULT ${each}\n`);
  process.stdout.write(`${faults.length} faults\n`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
