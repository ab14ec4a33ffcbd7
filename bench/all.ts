/**
 * Runs the benchmarks of docs/performance.md one after the other, and writes the page from their result files:
 *
 *     npm run bench:all -- [--only NAME,…] [--model FOLDER] [--retriever FOLDER] [--sets FOLDER,…] [--threads N] [--small]
 *     npm run bench:all -- --list        names, durations and result files
 *     npm run bench:all -- --dry-run     commands that would run
 *
 * `--only` takes names, or what several names begin with: `cache` is `cache`, `cache-search` and `cache-rows`. Each benchmark replaces its
 * result file in bench/results/ when it has succeeded. Benchmarks that need a model which is not given are left out, and their tables
 * stay as they are. Sides in Python need the packages of bench/peers/requirements.txt, in the Python that UNDRIFT_PEERS_PYTHON names or in
 * the environment that `npm run bench:peers` installs; without them the other sides are measured. `--small` measures something tiny, to see
 * that everything works, and writes to bench/results/tmp/ alone.
 *
 * The machine should have nothing else to do. Each result file holds the load of the machine before and after.
 *
 * The exit code is 1 if a benchmark failed, and 2 for wrong usage.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { missingPeers } from './peers/python.ts';
import { BENCHMARKS, chosenBenchmarks } from './registry.ts';
import { machineTitle } from './result-file.ts';
import { type Outcome, planRuns, runBenchmarks } from './run-benchmarks.ts';
import { table } from './statistics.ts';

const OPTIONS = {
  only: { type: 'string' },
  model: { type: 'string' },
  retriever: { type: 'string' },
  sets: { type: 'string' },
  threads: { type: 'string' },
  small: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
} as const;

const say = (line: string): void => console.error(line);
const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

function wrongUsage(message: string, help: string): never {
  say(`bench:all: ${message}\n  help: ${help}`);
  process.exit(2);
}

function given() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    const names = Object.keys(OPTIONS).map((name) => `--${name}`);
    return wrongUsage((error as Error).message, `the options are ${names.join(', ')}`);
  }
}

/** Runs a script in a process of its own. Its output goes to stderr, so that the table at the end stands alone on stdout. */
async function start(script: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, path(script), ...args], {
    stdio: ['ignore', 2, 2],
  });
  const code = await new Promise<number | null>((resolve, reject) =>
    child.on('error', reject).on('close', resolve),
  );
  if (code !== 0) throw new Error(`exit code ${code}`);
}

const options = given();
const chosen = chosenBenchmarks(options.only);
if ('unknown' in chosen) {
  wrongUsage(`no such benchmark: "${chosen.unknown}"`, `use ${Object.keys(BENCHMARKS).join(', ')}`);
}
if (options.threads !== undefined && !/^[1-9]\d*$/.test(options.threads)) {
  wrongUsage(`--threads "${options.threads}" is no number of threads`, 'use a whole number from 1 on');
}
const { small } = options;
const planned = planRuns(
  chosen.names.map((name) => [name, BENCHMARKS[name]!]),
  {
    given: options,
    threads: options.threads,
    small,
    outFor: (result) => path(`results/${small ? 'tmp/small/' : ''}${result}.json`),
    missingPeers,
  },
);

if (options.list) {
  const rows = planned.map(({ name, benchmark, leftOut, note }) => [
    name,
    `${benchmark.minutes} min`,
    `${benchmark.result}.json`,
    benchmark.title + (leftOut ? ` (${leftOut})` : note ? ` (${note})` : ''),
  ]);
  console.log(table([['benchmark', 'duration', 'bench/results/', 'measured'], ...rows], 'left'));
} else if (options['dry-run']) {
  for (const { name, benchmark, args, leftOut, note } of planned) {
    const command = [
      'npm run',
      `bench:${benchmark.script}`,
      '--',
      ...args,
      '--out',
      `bench/results/${benchmark.result}.json`,
    ];
    console.log(leftOut === undefined ? command.join(' ') : `# ${name}: left out: ${leftOut}`);
    if (leftOut === undefined && note !== undefined) console.log(`#   ${note}`);
  }
} else {
  say(machineTitle(options.threads ? Number(options.threads) : defaultThreads()));
  const outcomes = await runBenchmarks(planned, {
    start: (script, args) => start(`${script}.ts`, args),
    say,
  });
  const pages =
    small || !outcomes.some(({ outcome }) => outcome === 'measured') ? undefined : await makePages();
  console.log(`\n${report(outcomes, pages)}`);
  if (outcomes.some(({ outcome }) => outcome === 'failed') || pages === 'failed') process.exitCode = 1;
}

/** Writes docs/performance.md and the table of README.md from the result files. */
async function makePages(): Promise<'written' | 'failed'> {
  try {
    await start('../tools/docs/performance.ts', []);
    return 'written';
  } catch {
    return 'failed';
  }
}

function report(outcomes: readonly Outcome[], pages: 'written' | 'failed' | undefined): string {
  const rows = outcomes.map(({ name, outcome, minutes, reason = '' }) => [
    name,
    outcome,
    outcome === 'left out' ? '' : `${minutes.toFixed(1)} min`,
    reason,
  ]);
  const all = [...rows, ...(pages ? [['docs/performance.md', pages, '', '']] : [])];
  return table(all, 'left');
}
