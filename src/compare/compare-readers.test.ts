import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { copyingReader } from '../../test/copying-reader.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { toyTokenizer } from '../../test/toy-training.ts';
import { compare } from './compare.ts';
import { checkComparison } from './read-comparison.ts';

const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => {
    const row = from + i;
    const record = { query: `ask${row}y part${row % 5}`, positive: `doc${row}x part${row % 5}` };
    return `${JSON.stringify({ ...record, answers: [`doc${row}x`] })}\n`;
  }).join('');

it('compares arms that a reader teaches, with its scores shared', async () => {
  const folder = tempFiles({
    'data/train.jsonl': lines(0, 14),
    'data/dev.jsonl': lines(14, 18),
    'data/test.jsonl': lines(18, 24),
  });
  cpSync(await copyingReader(toyTokenizer()), join(folder, 'reader'), { recursive: true });
  const lsr = {
    ...{ method: 'replug-lsr', reader: './reader', 'reader-cache': 'scores', candidates: 3 },
    ...{ 'reader-prompt': '{passage} {query} {answer}', 'eval-metric': 'expectedScore' },
  };
  const config = {
    ...{ data: 'data', out: 'out', budget: { steps: 2 }, seeds: [1] },
    base: { 'batch-size': 4, hidden: 8, 'vocab-size': 128, threads: 1 },
    arms: [
      { name: 'lsr', ...lsr },
      { name: 'shuffled', ...lsr, 'teacher-scores': 'shuffled' },
      { name: 'refreshed', ...lsr, refresh: 'every:1' },
      { name: 'in-batch', method: 'in-batch' },
    ],
    evaluate: { metrics: ['mrr@10'] },
  };
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify(config));
  const results = await compare(file);
  expect(results.failures).toEqual([]);
  expect(existsSync(join(folder, 'scores'))).toBe(true);
  expect(results.arms.map(({ name, runs }) => [name, runs.length])).toEqual([
    ['lsr', 1],
    ['shuffled', 1],
    ['refreshed', 1],
    ['in-batch', 1],
  ]);
  // The agreement with the reader on dev queries is a curve of its arms.
  const [lsr1] = results.arms[0]!.runs;
  const { best, curves } = lsr1!;
  const curve = curves.find(({ kind, name }) => kind === 'eval' && name === 'expectedScore');
  expect(Math.max(...curve!.values)).toBeCloseTo(best!.value!, 4);

  // Again, from a run whose result was lost: the rest is kept, and the figures are the same.
  const result = join(folder, 'out/runs/shuffled-1.json');
  rmSync(result);
  const runs: string[] = [];
  const again = await compare(file, {}, { onRun: ({ arm, seed }) => runs.push(`${arm}-${seed}`) });
  expect(runs).toEqual(['shuffled-1']);
  expect(again.arms.map(({ metrics }) => metrics)).toEqual(results.arms.map(({ metrics }) => metrics));
});

it('leaves names of models on the hub as they are, in the folder of any file', () => {
  const folder = tempFiles({ 'runs/here/config.json': '{}' });
  const arm = (model: string, reader: string) => ({ name: 'a', method: 'replug-lsr', model, reader });
  const pathsOf = (model: string, reader: string) => {
    const config = { data: 'data', out: 'out', arms: [arm(model, reader)] };
    const { options } = checkComparison(config, { file: join(folder, 'config.json') }).arms[0]!;
    return [options.model, options.reader];
  };
  expect(pathsOf('organisation/encoder', 'organisation/reader@main')).toEqual([
    'organisation/encoder',
    'organisation/reader@main',
  ]);
  expect(pathsOf('./encoder', 'runs/reader')).toEqual([join(folder, 'encoder'), join(folder, 'runs/reader')]);
});
