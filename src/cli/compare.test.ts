import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type CommandLineResult, MAIN, runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import type { ComparisonResults } from '../compare/results.ts';
import { permutation, rngKey } from '../util/rng.ts';

/** 200 documents of three "words" out of 60, and queries of the same words in another language. */
function toyData(): Record<string, string> {
  const rows = Array.from({ length: 200 }, (_, i) => [
    ...permutation(rngKey(5, i, 'words'), 60).subarray(0, 3),
  ]);
  const lines = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');
  const qrels = (keep: (i: number) => boolean) =>
    `query-id\tcorpus-id\tscore\n${rows.flatMap((_, i) => (keep(i) ? `q${i}\td${i}\t1\n` : [])).join('')}`;
  return {
    'toy/corpus.jsonl': lines(
      rows.map((words, i) => ({ _id: `d${i}`, text: words.map((w) => `doc${w}x`).join(' ') })),
    ),
    'toy/queries.jsonl': lines(
      rows.map((words, i) => ({ _id: `q${i}`, text: words.map((w) => `ask${w}y`).join(' ') })),
    ),
    'toy/qrels/train.tsv': qrels((i) => i % 10 > 1),
    'toy/qrels/dev.tsv': qrels((i) => i % 10 === 0),
    'toy/qrels/test.tsv': qrels((i) => i % 10 === 1),
  };
}

const config = {
  name: 'temperatures',
  data: '../toy',
  base: {
    model: 'static',
    method: 'in-batch',
    hidden: 32,
    'vocab-size': 200,
    'batch-size': 16,
    threads: 1,
    lr: 0.05,
  },
  budget: { steps: 10 },
  seeds: [1, 2],
  arms: [
    { name: 'cold', temperature: 0.05 },
    { name: 'hot', temperature: 5 },
  ],
  evaluate: { metrics: ['ndcg@10', 'recall@100'] },
  out: '../runs/temperatures',
};
const CONFIG = 'configs/compare.json';

const undrift = (cwd: string, ...argv: string[]) => runUndrift(argv, { cwd });
const compare = (cwd: string, ...argv: string[]) => undrift(cwd, 'compare', ...argv);

/** Presses Ctrl-C when the command says something. */
function interrupted(cwd: string, word: string): Promise<{ code: number | null; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [MAIN, 'compare', CONFIG], {
      cwd,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const before = stderr.includes(word);
      stderr += text;
      if (!before && stderr.includes(word)) child.kill('SIGINT');
    });
    child.on('close', (code) => resolve({ code, stderr }));
  });
}

const resultsIn = (cwd: string): ComparisonResults =>
  JSON.parse(readFileSync(join(cwd, 'runs/temperatures/results.json'), 'utf8'));
/** What is left of results without times. */
const timeless = ({ arms }: ComparisonResults) =>
  arms.map(({ metrics, againstFirst, runs }) => ({
    metrics,
    againstFirst,
    runs: runs.map(({ wallMs: _, finished: __, curves, ledger, ...run }) => ({
      ...run,
      ledger: Object.fromEntries(Object.entries(ledger).filter(([name]) => !name.endsWith('Ms'))),
      curves: curves.map(({ wallMs: ___, ...curve }) => curve),
    })),
  }));

describe('undrift compare', () => {
  let folder: string;
  let first: CommandLineResult;
  beforeAll(async () => {
    folder = tempFiles({ ...toyData(), [CONFIG]: JSON.stringify(config) });
    first = await compare(folder, CONFIG, '--markdown', 'docs/table.md', '--charts', 'docs');
  });

  it('trains, measures and reports', () => {
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/^arm +ndcg@10 +recall@100 +Δ ndcg@10 +p +steps/);
    expect(first.stdout).toMatch(/\ncold +0\.\d{4} ± 0\.\d{4} /);
    expect(first.stdout).toContain('toy: 200 documents, 20 queries of test, 10 steps each.');
    expect(first.stderr).toContain('run 4 of 4: train hot, seed 2');
    const out = join(folder, 'runs/temperatures');
    expect(readdirSync(out).sort()).toEqual(['report.html', 'results.json', 'runs']);
    expect(readdirSync(join(out, 'runs')).sort()).toEqual(
      ['cold-1', 'cold-2', 'hot-1', 'hot-2'].flatMap((name) => [name, `${name}.json`]),
    );
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain(
      '<title>temperatures: comparison</title>',
    );
    expect(readFileSync(join(folder, 'docs/table.md'), 'utf8')).toContain('| cold | 0.');
    expect(readdirSync(join(folder, 'docs')).filter((name) => name.endsWith('.svg')).length).toBeGreaterThan(
      2,
    );
  });

  it('finds of each model what undrift eval finds', async () => {
    const [cold, hot] = resultsIn(folder).arms;
    const model = 'runs/temperatures/runs/hot-2';
    const argv = ['eval', '--model', model, '--data', 'toy', '--metrics', 'ndcg@10,recall@100', '--json'];
    const { metrics } = JSON.parse((await undrift(folder, ...argv)).stdout);
    expect(hot!.runs[1]).toMatchObject({ seed: 2, metrics });
    expect(cold!.runs[0]!.metrics['ndcg@10']).not.toBe(cold!.runs[1]!.metrics['ndcg@10']);
    expect(hot!.againstFirst['ndcg@10']!.difference).toBeCloseTo(
      hot!.metrics['ndcg@10']!.mean - cold!.metrics['ndcg@10']!.mean,
      12,
    );
    expect(cold!.runs[0]!.curves.some(({ kind, name }) => kind === 'eval' && name === 'ndcg@10')).toBe(true);
    expect(cold!.settings).toMatchObject({ temperature: 0.05, hidden: 32, steps: 10 });
  });

  it('does nothing twice, and gives JSON', async () => {
    const again = await compare(folder, CONFIG, '--json');
    expect(again.code).toBe(0);
    expect(again.stderr).not.toContain('train');
    const json = JSON.parse(again.stdout);
    expect(json).toMatchObject({
      name: 'temperatures',
      complete: true,
      failures: [],
      arms: [{ name: 'cold' }, { name: 'hot' }],
    });
    expect(existsSync(join(folder, json.report))).toBe(true);
  });

  it('goes on after Ctrl-C to the same results', async () => {
    const other = tempFiles({ ...toyData(), [CONFIG]: JSON.stringify(config) });
    const stopped = await interrupted(other, 'run 2 of 4');
    expect(stopped.code, stopped.stderr).toBe(130);
    expect(stopped.stderr).toContain('the same command goes on from here');
    expect(resultsIn(other).complete).toBe(false);
    expect((await compare(other, CONFIG, '--quiet')).code).toBe(0);
    expect(timeless(resultsIn(other))).toEqual(timeless(resultsIn(folder)));
  });

  it('makes the report again from results.json alone', async () => {
    const results = readFileSync(join(folder, 'runs/temperatures/results.json'), 'utf8');
    const bare = tempFiles({ 'kept/results.json': results });
    const made = await compare(bare, 'kept/results.json', '--report-only');
    expect(made).toEqual({ code: 0, stderr: '', stdout: first.stdout.replace('runs/temperatures', 'kept') });
    const report = (path: string) => readFileSync(path, 'utf8');
    expect(report(join(bare, 'kept/report.html'))).toBe(
      report(join(folder, 'runs/temperatures/report.html')),
    );
    const byConfig = await compare(folder, CONFIG, '--report-only', '--json');
    expect(JSON.parse(byConfig.stdout)).toMatchObject({ results: 'runs/temperatures/results.json' });
  });

  it('names file and place of what is wrong', async () => {
    const wrong = tempFiles({
      ...toyData(),
      'arm.json': JSON.stringify({ ...config, arms: [{ name: 'cold', temprature: 1 }] }),
      'data.json': JSON.stringify({ ...config, data: 'nowhere' }),
      'split.json': JSON.stringify({ ...config, data: 'toy', out: 'o', evaluate: { split: 'tset' } }),
    });
    expect(await compare(wrong, 'arm.json')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        `arm.json: arms[0] ("cold"): unknown option "temprature", did you mean 'temperature'?`,
      ),
    });
    expect(await compare(wrong, 'absent.json')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('absent.json: no such file'),
    });
    expect(await compare(wrong, 'data.json')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nowhere'),
    });
    expect(await compare(wrong, 'split.json')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no split "tset"'),
    });
    expect(await compare(wrong, 'split.json', '--report-only')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('results.json: no such file'),
    });
    expect(readdirSync(wrong).sort()).toEqual(['arm.json', 'data.json', 'split.json', 'toy']);
  });
});
