import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BENCHMARKS, type Benchmark, chosenBenchmarks } from '../bench/registry.ts';
import { planRuns, runBenchmarks } from '../bench/run-benchmarks.ts';
import { medians, quartiles } from '../bench/statistics.ts';
import { performancePage } from '../tools/docs/performance.ts';

const inRepository = (file: string) => fileURLToPath(new URL(`../${file}`, import.meta.url));
const benchmark = (values: Partial<Benchmark>): Benchmark => ({
  ...{ script: 'cache', result: 'cache', blocks: [], title: 'a cache', minutes: 1, small: ['--rounds', '1'] },
  ...values,
});

describe('registry of benchmarks', () => {
  it('makes every table of docs/performance.md by exactly one benchmark', () => {
    const made = Object.values(BENCHMARKS).flatMap(({ blocks }) => blocks);
    expect([...made].sort()).toEqual(Object.keys(performancePage().blocks).sort());
  });

  it('names scripts that exist and that npm run knows, and a result file of its own each', () => {
    const { scripts } = JSON.parse(readFileSync(inRepository('package.json'), 'utf8'));
    for (const { script } of Object.values(BENCHMARKS)) {
      expect(existsSync(inRepository(`bench/${script}.ts`)), script).toBe(true);
      expect(scripts[`bench:${script}`]).toBe(`tsx bench/${script}.ts`);
    }
    const results = Object.values(BENCHMARKS).map(({ result }) => result);
    expect(new Set(results).size).toBe(results.length);
  });

  it.each([
    ['step', ['step']],
    ['cache', ['cache', 'cache-search', 'cache-rows']],
    ['cache-rows, step', ['step', 'cache-rows']],
    ['peers', ['peers-step', 'peers-encode', 'peers-train']],
  ])('--only %s', (only, names) => {
    expect(chosenBenchmarks(only)).toEqual({ names });
  });

  it.each(['steps', 'cache-', 'step,,lm', ''])('--only "%s" is unknown', (only) => {
    expect(chosenBenchmarks(only)).toHaveProperty('unknown');
  });
});

describe('planRuns', () => {
  const plan = (values: Partial<Benchmark>, options: Partial<Parameters<typeof planRuns>[1]> = {}) =>
    planRuns([['cache', benchmark(values)]], {
      ...{ given: {}, small: false, outFor: (result: string) => `${result}.json` },
      missingPeers: () => undefined,
      ...options,
    })[0]!;

  it('leaves a benchmark out whose model is not given, and passes one on that is', () => {
    expect(plan({ needs: ['model', 'retriever'] }, { given: { model: 'm' } }).leftOut).toBe(
      'needs --retriever FOLDER',
    );
    const { args, leftOut } = plan({ args: ['--case', 'rows'], needs: ['model'] }, { given: { model: 'm' } });
    expect([args, leftOut]).toEqual([['--case', 'rows', '--model', 'm'], undefined]);
  });

  it('leaves out sides in Python whose packages are missing, and says so', () => {
    const missingPeers = (packages: readonly string[]) => `python lacks ${packages.join(', ')}`;
    const { args, note, leftOut } = plan({ python: ['torch'] }, { missingPeers });
    expect([args, note, leftOut]).toEqual([
      ['--without-python'],
      'without its sides in Python: python lacks torch',
      undefined,
    ]);
    expect(plan({}, { missingPeers }).note).toBeUndefined();
  });

  it('measures something tiny without models', () => {
    const { args, leftOut } = plan({ needs: ['model'] }, { small: true, threads: '1' });
    expect([args, leftOut]).toEqual([['--rounds', '1', '--threads', '1'], undefined]);
  });
});

describe('runBenchmarks', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bench-all-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('goes on after one that failed, whose former result stays', async () => {
    const out = (name: string) => join(folder, `${name}.json`);
    writeFileSync(out('bad'), 'former');
    const run = (name: string, leftOut?: string) => ({
      ...{ name, benchmark: benchmark({ script: name }), args: [], out: out(name) },
      ...(leftOut !== undefined && { leftOut }),
    });
    const said: string[] = [];
    const outcomes = await runBenchmarks([run('bad'), run('absent', 'needs --model FOLDER'), run('good')], {
      start: async (script, args) => {
        writeFileSync(args.at(-1)!, script);
        if (script === 'bad') throw new Error('exit code 1');
      },
      say: (line) => said.push(line),
    });
    expect(outcomes.map(({ name, outcome, reason }) => [name, outcome, reason])).toEqual([
      ['bad', 'failed', 'exit code 1'],
      ['absent', 'left out', 'needs --model FOLDER'],
      ['good', 'measured', undefined],
    ]);
    expect(readFileSync(out('bad'), 'utf8')).toBe('former');
    expect(readFileSync(out('good'), 'utf8')).toBe('good');
    expect(existsSync(`${out('bad')}.unfinished`)).toBe(false);
    expect(said.join('\n')).toContain('[2/3] absent: left out: needs --model FOLDER');
  });
});

describe('npm run bench:all', () => {
  const all = (...args: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', inRepository('bench/all.ts'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, UNDRIFT_PEERS_PYTHON: '/nowhere/python' },
    });

  it('--dry-run prints the commands, and what is left out', () => {
    const { stdout, status } = all('--dry-run', '--only', 'cache-rows,peers-step,lm');
    expect(status).toBe(0);
    expect(stdout).toContain('npm run bench:cache -- --case rows --out bench/results/cache-rows.json\n');
    expect(stdout).toContain('# lm: left out: needs --model FOLDER\n');
    expect(stdout).toContain('npm run bench:peers -- --suite step --without-python');
    expect(stdout).toContain('#   without its sides in Python: /nowhere/python does not run\n');
  });

  it.each([
    [['--only', 'steps'], 'no such benchmark: "steps"'],
    [['--fast'], "Unknown option '--fast'"],
    [['--threads', 'two'], '--threads "two" is no number of threads'],
  ])('%j is wrong usage', (args, message) => {
    const { stderr, status } = all(...args);
    expect(stderr).toContain(message);
    expect(stderr).toContain('\n  help: ');
    expect(status).toBe(2);
  });
});

describe('quartiles', () => {
  it('interpolates linearly', () => {
    expect(quartiles([4, 1, 3, 2])).toEqual([1.75, 3.25]);
    expect(quartiles([7])).toEqual([7, 7]);
    expect(medians({ a: [1, 2, 9], b: [5] })).toEqual({
      a: 2,
      b: 5,
      quartiles: { a: [1.5, 5.5], b: [5, 5] },
    });
  });
});
