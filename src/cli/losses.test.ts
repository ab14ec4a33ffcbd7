import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readNpy } from '../io/npy.ts';

/* The build is what runs, here as in all tests of the command line. */

const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const text = (side: string, i: number) => `${side}${i % 7}x ${side}${i % 11}y ${side}${i % 13}z`;
const items = Array.from({ length: 60 }, (_, i) => i);
const folder = tempFiles({
  'docs.jsonl': lines(items.map((i) => ({ _id: `d${i}`, text: text('d', i) }))),
  'judged.jsonl': lines(
    items.map((i) => ({
      query: text('q', i),
      positive: text('d', i),
      negative: [text('d', i + 5), text('d', i + 9)],
      scores: [9, 1, 2],
    })),
  ),
  'pairs/train.jsonl': lines(
    items.map((i) => ({ text1: text('q', i), text2: text('d', i % 2 ? i : i + 5), label: i % 2 })),
  ),
  'pairs/test.jsonl': lines(
    items.map((i) => ({ text1: text('q', i), text2: text('d', i % 2 ? i : i + 3), label: i % 2 })),
  ),
});

const undrift = (...argv: string[]) => runUndrift(argv, { cwd: folder });
const TINY = ['--hidden', '8', '--vocab-size', '128', '--batch-size', '8', '--threads', '1', '--steps', '20'];
const train = (data: string, out: string, ...argv: string[]) =>
  undrift('train', '--data', data, '--out', out, ...TINY, '--eval-split', 'none', ...argv);
const settings = (out: string) =>
  JSON.parse(readFileSync(join(folder, out, 'settings.json'), 'utf8')).settings;

describe('undrift, losses by name', () => {
  it('trains at several sizes, and encodes, measures and searches at one of them', async () => {
    const trained = await train(
      'judged.jsonl',
      'nested',
      '--loss',
      'TripletLoss',
      '--negatives',
      '2',
      '--matryoshka',
      '4,2',
    );
    expect(trained).toMatchObject({ code: 0 });
    expect(settings('nested')).toMatchObject({
      loss: 'triplet',
      matryoshka: [4, 2],
      matryoshkaWeights: [],
      margin: 0.2,
    });
    const model = ['--model', 'nested', '--dimensions', '4', '--threads', '1'];
    const runs = await Promise.all([
      undrift('encode', ...model, '--data', 'docs.jsonl', '--out', 'cut.npy'),
      undrift('eval', ...model, '--data', 'judged.jsonl', '--split', 'train', '--json'),
      undrift('search', ...model, '--corpus', 'docs.jsonl', '--json', 'q1x q2y'),
      undrift(
        'encode',
        '--model',
        'nested',
        '--dimensions',
        '9',
        '--data',
        'judged.jsonl',
        '--out',
        'long.npy',
      ),
    ]);
    expect(runs.slice(0, 3).map(({ code }) => code)).toEqual([0, 0, 0]);
    const { dims, data } = await readNpy(join(folder, 'cut.npy'));
    expect(dims[1]).toBe(4);
    expect(Math.hypot(...(data as Float32Array).subarray(0, 4))).toBeCloseTo(1, 5);
    expect(runs[3]!.code).not.toBe(0);
    expect(runs[3]!.stderr).toContain('9 dimensions of a model that has 8');
    expect(existsSync(join(folder, 'long.npy'))).toBe(false);
  });

  it('trains on scored pairs, and measures them', async () => {
    const trained = await train('pairs', 'sts', '--method', 'scored-pairs', '--loss', 'CosineSimilarityLoss');
    expect(trained).toMatchObject({ code: 0 });
    expect(await undrift('train', '--out', 'sts', '--resume', '--eval-metric', 'spearman')).toMatchObject({
      code: 0,
    });
    const measure = (...argv: string[]) =>
      undrift('eval', '--model', 'sts', '--data', 'pairs', '--threads', '1', ...argv);
    const [both, mixed, again] = await Promise.all([
      measure('--metrics', 'spearman,pearson', '--json'),
      measure('--metrics', 'spearman,ndcg@10'),
      measure('--metrics', 'spearman', '--run-file', 'x.run'),
    ]);
    expect(JSON.parse(both.stdout)).toMatchObject({
      pairs: 60,
      split: 'test',
      metrics: { spearman: expect.any(Number) },
    });
    expect(mixed.stderr).toContain('scored pairs have no metric "ndcg@10"');
    expect(again.stderr).toContain('--run-file is for retrieval, not for scored pairs');
  });

  it('says what is wrong with a loss', async () => {
    const [unknown, other, sizes] = await Promise.all([
      train('judged.jsonl', 'x', '--loss', 'multiple-negative'),
      train('judged.jsonl', 'x', '--loss', 'MarginMSELoss'),
      train('judged.jsonl', 'x', '--matryoshka', '4,two'),
    ]);
    expect(unknown.stderr).toContain(`unknown loss "multiple-negative". Did you mean 'multiple-negatives'?`);
    expect(other.stderr).toContain(
      'the method in-batch has no loss margin-mse\n  help: --method distill has it',
    );
    expect(sizes.stderr).toContain(
      '--matryoshka should be whole numbers of at least 1 separated by commas, found "4,two"',
    );
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });
});
