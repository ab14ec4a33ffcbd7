import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readNpy } from '../io/npy.ts';

const words = (i: number) =>
  Array.from({ length: 14 }, (_, k) => `w${(i * 7) % 11}x${(k * 5 + i) % 13}`).join(' ');
const texts = Array.from({ length: 48 }, (_, i) => words(i));
const lines = (records: readonly object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const folder = tempFiles({
  'plain.txt': `${texts.join('\n')}\nx\n`,
  'records.jsonl': lines(texts.map((text, i) => ({ text, title: `number ${i}` }))),
  'bad.jsonl': `{"text": "${texts[0]}"}\n{"text": "cut sho\n`,
  'untexted.jsonl': '{"body_text": "x"}\n',
  'empty.txt': '\n',
  'alone/corpus.jsonl': lines(texts.map((text, i) => ({ _id: `d${i}`, text }))),
  'set/corpus.jsonl': lines(texts.map((text, i) => ({ _id: `d${i}`, text }))),
  'set/queries.jsonl': lines(texts.map((text, i) => ({ _id: `q${i}`, text: text.slice(0, 20) }))),
  'set/qrels/train.tsv': `query-id\tcorpus-id\tscore\n${texts.map((_, i) => `q${i}\td${i}\t1\n`).join('')}`,
});

const undrift = (...argv: string[]) => runUndrift(argv, { cwd: folder });
const TINY = ['--hidden', '8', '--vocab-size', '128', '--batch-size', '8', '--threads', '1', '--steps', '4'];
const crop = (...argv: string[]) => undrift('train', '--method', 'crop', ...TINY, ...argv);

describe('undrift train --method crop', () => {
  it.each([
    ['--corpus', 'plain.txt'],
    ['--corpus', 'records.jsonl'],
    ['--data', 'alone'],
  ])('trains on %s %s, and evaluates on documents that are held out', async (flag, source) => {
    const out = `run-${source}`;
    const { code, stdout, stderr } = await crop(flag, source, '--out', out);
    expect(stderr).toMatch(/step 4: ndcg@10 [\d.]+/);
    expect(code).toBe(0);
    expect(stdout).toContain('ndcg@10 on held-out');
    expect(stdout).toContain(`go on from it: undrift train --model ${out}`);
    expect(JSON.parse(readFileSync(join(folder, out, 'settings.json'), 'utf8')).settings).toMatchObject({
      method: 'crop',
      data: source,
      evalSplit: 'held-out',
      cropTask: 'independent',
    });
  });

  it('makes a model that encodes, is measured, and is a start for other methods', async () => {
    expect((await crop('--corpus', 'plain.txt', '--out', 'start', '--eval-split', 'none')).code).toBe(0);
    const [encoded, measured, trained] = await Promise.all([
      undrift('encode', '--model', 'start', '--data', 'set', '--out', 'set.npy'),
      undrift('eval', '--model', 'start', '--data', 'set', '--split', 'train'),
      undrift('train', '--data', 'set', '--model', 'start', '--out', 'next', ...TINY.slice(4)),
    ]);
    for (const { code, stderr } of [encoded, measured, trained]) expect(code, stderr).toBe(0);
    expect((await readNpy(join(folder, 'set.npy'))).dims).toEqual([48, 8]);
    expect(measured.stdout).toContain('ndcg@10');
  });

  it('goes on with what it was started with', async () => {
    expect((await crop('--corpus', 'plain.txt', '--out', 'again')).code).toBe(0);
    expect((await undrift('train', '--out', 'again', '--resume')).code).toBe(0);
    const other = await undrift('train', '--out', 'again', '--resume', '--corpus', 'records.jsonl');
    expect(other.stderr).toMatch(/is not what the run in again was trained on/);
  });

  it.each([
    [['--corpus', 'bad.jsonl'], /bad\.jsonl:2: bad JSON/],
    [['--corpus', 'untexted.jsonl'], /untexted\.jsonl:1: no text column/],
    [['--corpus', 'empty.txt'], /empty\.txt: holds no document/],
    [['--corpus', 'absent.txt'], /absent\.txt: no such file/],
    [['--corpus', 'plain.txt', '--data', 'set'], /--data and --corpus exclude each other/],
    [['--corpus', 'plain.txt', '--method', 'in-batch'], /in-batch needs queries.*\n.*--method crop/],
    [[], /--corpus <file> is missing/],
    [['--corpus', 'plain.txt', '--crop-max', '1.5'], /--crop-max/],
    [['--corpus', 'plain.txt', '--samples', '3'], /the method crop takes no --samples/],
  ])('says what is wrong with %j', async (argv, message) => {
    const { code, stderr } = await crop('--out', 'wrong', ...argv);
    expect(stderr).toMatch(message);
    expect(code).toBeGreaterThan(0);
    expect(existsSync(join(folder, 'wrong'))).toBe(false);
  });
});
