import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Benchmark, Given } from './registry.ts';

/** Benchmark that is to run: its script with arguments, and notes on what it leaves out. */
export interface PlannedRun {
  readonly name: string;
  readonly benchmark: Benchmark;
  /** Arguments of the script, without the file of the result. */
  readonly args: readonly string[];
  /** File that receives the result. */
  readonly out: string;
  /** Reason why it is left out as a whole. */
  readonly leftOut?: string;
  /** Note on sides that are left out. */
  readonly note?: string;
}

/** Outcome of one benchmark. */
export interface Outcome {
  readonly name: string;
  readonly outcome: 'measured' | 'left out' | 'failed';
  readonly minutes: number;
  /** Reason of a benchmark that failed or was left out. */
  readonly reason?: string;
}

/** Settings of {@link planRuns}. */
export interface PlanOptions {
  readonly given: Given;
  /** Threads of each program. Default: that of the scripts. */
  readonly threads?: string | undefined;
  /** Whether to measure something tiny. Models are not needed then. */
  readonly small: boolean;
  /** Path of the result file of a name. */
  readonly outFor: (result: string) => string;
  /** Finds the reason why Python packages cannot be used; undefined if they can. */
  readonly missingPeers: (packages: readonly string[]) => string | undefined;
}

/** Values of the flags of what is given. */
const VALUES: Readonly<Record<keyof Given, string>> = {
  model: 'FOLDER',
  retriever: 'FOLDER',
  sets: 'FOLDER,…',
};

/** Benchmarks that run without an option for their threads. */
const WITHOUT_THREADS: readonly string[] = ['serve'];

/** Plans the runs of benchmarks. A run whose models are not given is left out, and so are the sides whose packages are missing. */
export function planRuns(
  benchmarks: readonly (readonly [name: string, benchmark: Benchmark])[],
  { given, threads, small, outFor, missingPeers }: PlanOptions,
): PlannedRun[] {
  return benchmarks.map(([name, benchmark]) => {
    const { needs = [], python = [], script } = benchmark;
    const absent = small ? [] : needs.filter((need) => given[need] === undefined);
    const leftOut =
      small && !benchmark.small
        ? 'measures nothing tiny'
        : absent.length > 0
          ? `needs ${absent.map((need) => `--${need} ${VALUES[need]}`).join(' and ')}`
          : undefined;
    const reason = python.length > 0 ? missingPeers(python) : undefined;
    const args = [
      ...((small ? benchmark.small : benchmark.args) ?? []),
      ...(small
        ? []
        : needs.flatMap((need) => (given[need] === undefined ? [] : [`--${need}`, given[need]]))),
      ...(threads !== undefined && !WITHOUT_THREADS.includes(script) ? ['--threads', threads] : []),
      ...(reason !== undefined ? ['--without-python'] : []),
    ];
    return {
      ...{ name, benchmark, args, out: outFor(benchmark.result) },
      ...(leftOut !== undefined && { leftOut }),
      ...(reason !== undefined && { note: `without its sides in Python: ${reason}` }),
    };
  });
}

/**
 * Runs benchmarks one after the other. A benchmark that fails leaves its former result file as it was, and the next one runs.
 *
 * @param start  runs the script of a benchmark, which writes its result to a file; the promise rejects if it fails
 * @param say  takes lines on the progress
 */
export async function runBenchmarks(
  planned: readonly PlannedRun[],
  {
    start,
    say,
  }: {
    readonly start: (script: string, args: readonly string[]) => Promise<void>;
    readonly say: (line: string) => void;
  },
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [i, { name, benchmark, args, out, leftOut, note }] of planned.entries()) {
    const place = `[${i + 1}/${planned.length}] ${name}`;
    if (leftOut !== undefined) {
      say(`${place}: left out: ${leftOut}`);
      outcomes.push({ name, outcome: 'left out', minutes: 0, reason: leftOut });
      continue;
    }
    say(`${place}: ${benchmark.title}; about ${benchmark.minutes} min on two idle cores`);
    if (note !== undefined) say(`  ${note}`);
    const startMs = performance.now();
    const unfinished = `${out}.unfinished`;
    const minutes = () => (performance.now() - startMs) / 60_000;
    try {
      mkdirSync(dirname(out), { recursive: true });
      await start(benchmark.script, [...args, '--out', unfinished]);
      renameSync(unfinished, out);
      outcomes.push({ name, outcome: 'measured', minutes: minutes() });
    } catch (error) {
      rmSync(unfinished, { force: true });
      const reason = error instanceof Error ? error.message : String(error);
      say(`${place}: failed: ${reason}`);
      outcomes.push({ name, outcome: 'failed', minutes: minutes(), reason });
    }
  }
  return outcomes;
}
