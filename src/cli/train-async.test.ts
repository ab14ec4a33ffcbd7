import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { copyingReader } from '../../test/copying-reader.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { toyTokenizer } from '../../test/toy-training.ts';
import { readSafetensors } from '../io/safetensors.ts';
import { readEventLog } from '../train/event-log.ts';
import { permutation, rngKey } from '../util/rng.ts';

/*
 * Whole runs with a refresh beside training, as processes that are stopped and killed. The build is what runs, here as in all
 * tests of the command line.
 */
const main = join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'cli', 'main.js');

/** 120 documents of three "words" out of 40, and queries of the same words in another language, answered by the first word. */
function toyData(): string {
  const rows = Array.from({ length: 120 }, (_, i) => [
    ...permutation(rngKey(5, i, 'words'), 40).subarray(0, 3),
  ]);
  const lines = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');
  const qrels = (keep: (i: number) => boolean) =>
    `query-id\tcorpus-id\tscore\n${rows.flatMap((_, i) => (keep(i) ? `q${i}\td${i}\t1\n` : [])).join('')}`;
  return tempFiles({
    'corpus.jsonl': lines(
      rows.map((words, i) => ({ _id: `d${i}`, text: words.map((w) => `doc${w}x`).join(' ') })),
    ),
    'queries.jsonl': lines(
      rows.map((words, i) => ({ _id: `q${i}`, text: words.map((w) => `ask${w}y`).join(' ') })),
    ),
    'answers.jsonl': lines(rows.map(([word], i) => ({ _id: `q${i}`, answers: [`doc${word}x`] }))),
    'qrels/train.tsv': qrels((i) => i % 10 > 0),
    'qrels/dev.tsv': qrels((i) => i % 10 === 0),
  });
}
const data = toyData();
const runs = tempFiles({});

/** Methods whose table is refreshed beside training: the command and its own options. */
const METHODS = {
  'async-index': { command: ['train'], options: ['--rank-to', '40'], models: ['model'] },
  realm: {
    command: ['lm', 'train'],
    options: [
      ...['--reader', await copyingReader(toyTokenizer()), '--reader-prompt', '{passage} {query} {answer}'],
      ...['--candidates', '3', '--reader-answer-tokens', '0'],
    ],
    models: ['model', 'reader'],
  },
} as const;

const trainArguments = (
  out: string,
  refresh: string,
  steps: number,
  method: keyof typeof METHODS = 'async-index',
): string[] => [
  ...[...METHODS[method].command, '--data', data, '--out', join(runs, out), '--method', method],
  ...[...METHODS[method].options, '--refresh', refresh, '--steps', String(steps)],
  ...['--hidden', '16', '--vocab-size', '128', '--batch-size', '8'],
  ...['--eval-every', '100', '--save-every', '10', '--threads', '1', '--json'],
];

/** A command in a process group of its own, as a shell starts it. */
function start(argv: readonly string[]) {
  const child = spawn(process.execPath, [main, ...argv], { detached: true });
  started.push(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => (stdout += text));
  child.stderr.on('data', (text) => (stderr += text));
  const ended = new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>(
    (resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
  return { pid: child.pid!, ended };
}
const started: ChildProcess[] = [];
afterEach(() => {
  for (const { pid, exitCode, signalCode } of started.splice(0)) {
    if (exitCode === null && signalCode === null) process.kill(-pid!, 'SIGKILL');
  }
});

/** Waits until something is there, and fails where a process that should make it ends without. */
async function until<T>(find: () => T | undefined, by?: ReturnType<typeof start>): Promise<T> {
  let ended: { stderr: string } | undefined;
  by?.ended.then((result) => (ended = result));
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    if (ended) throw new Error(`the process has ended: ${ended.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
const workerOf = (pid: number): number | undefined => {
  try {
    return Number(execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).split('\n')[0]);
  } catch {
    return undefined;
  }
};
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const savedStep = (out: string): number => {
  const file = join(runs, out, 'checkpoint', 'state.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { step: number }).step : 0;
};
const leftovers = (out: string): string[] =>
  readdirSync(join(runs, out)).filter((name) => name.startsWith('refresh'));

/** What a run has logged of its refreshes, times and accidents left out. */
const refreshesOf = async (out: string) =>
  (await readEventLog(join(runs, out, 'metrics.jsonl')))
    .filter(({ kind }) => kind === 'refresh')
    .map(({ step, values: { version, lagSteps, rows, newerRows } }) => ({
      step,
      version,
      lagSteps,
      rows,
      newerRows,
    }));

it.each(['async-index', 'realm'] as const)(
  'a run of %s killed in the middle of a refresh, and its worker killed after that, ends with the same bytes',
  async (method) => {
    const [wholeRun, partsRun] = [`whole-${method}`, `parts-${method}`];
    const undisturbed = start(trainArguments(wholeRun, 'async:20:wait', 100, method));
    const first = start(trainArguments(partsRun, 'async:20:wait', 100, method));
    // The first refresh takes as long as a process takes to start: training waits for it at step 40.
    const orphan = await until(() => (savedStep(partsRun) >= 30 ? workerOf(first.pid) : undefined), first);
    process.kill(first.pid, 'SIGKILL');
    expect((await first.ended).signal).toBe('SIGKILL');
    // Nobody has ended the worker, or cleared up behind it.
    await until(() => (isAlive(orphan) ? undefined : true));
    expect(leftovers(partsRun)).toEqual([]);
    const { tensors } = await readSafetensors(join(runs, partsRun, 'checkpoint', 'method.safetensors'));
    expect(Object.keys(tensors)).toContain('refresh/weights/encoder/embedding.weight');

    const { command, models } = METHODS[method];
    const resumed = [...command, '--method', method, '--out', join(runs, partsRun), '--resume'];
    const second = start([...resumed, '--threads', '1', '--json']);
    process.kill(await until(() => workerOf(second.pid), second), 'SIGKILL');
    const [whole, parts] = [await undisturbed.ended, await second.ended];
    expect([whole.code, parts.code], whole.stderr + parts.stderr).toEqual([0, 0]);
    expect(parts.stderr).toMatch(
      /refresh of step \d+: the process was killed \(SIGKILL\) after .*; another one takes over/,
    );
    const files = [
      ...models.map((name) => `${name}/model.safetensors`),
      ...['parameters', 'optimizer', 'method'].map((name) => `checkpoint/${name}.safetensors`),
    ];
    for (const file of files) {
      const [a, b] = [wholeRun, partsRun].map((run) => readFileSync(join(runs, run, file)));
      expect(a!.equals(b!), file).toBe(true);
    }
    expect(await refreshesOf(partsRun)).toEqual(await refreshesOf(wholeRun));
    expect(await refreshesOf(wholeRun)).toMatchObject(
      [20, 40, 60].map((version) => ({ version, step: version + 20, lagSteps: 20, rows: 120, newerRows: 0 })),
    );
  },
  120_000,
);

it('Ctrl-C ends a run and its worker; resumed, the history of versions is whole', async () => {
  const first = start(trainArguments('free', 'async:10', 400));
  await until(() =>
    existsSync(join(runs, 'free', 'metrics.jsonl')) && savedStep('free') >= 20
      ? workerOf(first.pid)
      : undefined,
  );
  const worker = workerOf(first.pid)!;
  // A terminal sends it to every process of the group.
  process.kill(-first.pid, 'SIGINT');
  const { code, stderr } = await first.ended;
  expect([code, stderr]).toEqual([130, expect.stringMatching(/everything is saved/)]);
  expect(stderr).not.toContain('the process of');
  expect([isAlive(worker), leftovers('free')]).toEqual([false, []]);
  const before = await refreshesOf('free');

  const { stdout, code: after } = await start([
    'train',
    '--out',
    join(runs, 'free'),
    '--resume',
    '--threads',
    '1',
    '--json',
  ]).ended;
  expect(after).toBe(0);
  const { refreshes } = JSON.parse(stdout) as {
    refreshes: { version: number; step: number; rows: number }[];
  };
  expect(refreshes.length).toBeGreaterThan(before.length);
  expect(refreshes.slice(0, before.length)).toMatchObject(
    before.map(({ step, version }) => ({ step, version })),
  );
  for (const [i, { version, step, rows }] of refreshes.entries()) {
    expect(version).toBeLessThanOrEqual(step);
    expect(rows).toBe(120);
    if (i > 0) expect(version).toBeGreaterThanOrEqual(refreshes[i - 1]!.step);
  }
});
