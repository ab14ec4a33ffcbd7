import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';

const CROSS_ENCODER = fileURLToPath(new URL('../models/cross-encoder/fixtures/bert', import.meta.url));
const WORDS = ['cat', 'dog', 'house', 'tree', 'mat', 'red', 'green', 'run'];
const lines = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const text = (i: number) => [0, 1, 3].map((step) => WORDS[(i * (step + 1) + step) % 8]).join(' ');
const range = Array.from({ length: 24 }, (_, i) => i);
const qrels = (rows: number[]) =>
  `query-id\tcorpus-id\tscore\n${rows.map((i) => `q${i}\td${i}\t1\n`).join('')}`;
const folder = tempFiles({
  'set/corpus.jsonl': lines(range.map((i) => ({ _id: `d${i}`, text: `${text(i)} ${i}` }))),
  'set/queries.jsonl': lines(range.map((i) => ({ _id: `q${i}`, text: text(i) }))),
  'set/qrels/train.tsv': qrels(range.slice(0, 16)),
  'set/qrels/dev.tsv': qrels(range.slice(16, 20)),
  'set/qrels/test.tsv': qrels(range.slice(20)),
});
const data = join(folder, 'set');

async function undrift(...args: string[]) {
  const { stdout, ...rest } = await runUndrift(args);
  return { ...rest, json: stdout === '' ? undefined : JSON.parse(stdout) };
}

describe('commands that rerank', { timeout: 180_000 }, () => {
  it('search and eval', async () => {
    const search = ['search', '--model', 'bm25', '--data', data, '--top-k', '5', '--json', 'red house'];
    const plain = await undrift(...search);
    const { code, json } = await undrift(
      ...search,
      '--rerank',
      CROSS_ENCODER,
      '--rerank-depth',
      '5',
      '--threads',
      '1',
    );
    expect(code).toBe(0);
    const found = plain.json.results as { id: string; text: string }[];
    const crossEncoder = await loadCrossEncoder(CROSS_ENCODER);
    const ranked = await crossEncoder.rank(
      'red house',
      found.map((each) => each.text),
      { threads: 1 },
    );
    await crossEncoder.dispose();
    expect(json.results.map(({ id }: { id: string }) => id)).toEqual(
      ranked.map(({ document }) => found[document]!.id),
    );

    const measured = await undrift(
      ...['eval', '--model', 'bm25', '--data', data, '--rerank', CROSS_ENCODER, '--threads', '1', '--json'],
    );
    expect(measured.json).toMatchObject({
      metrics: { 'ndcg@10': expect.any(Number) },
      rerank: { depth: 50, before: { 'ndcg@10': expect.any(Number) }, comparison: { metric: 'ndcg@10' } },
    });
    expect(measured.json.metrics['ndcg@10']).not.toBe(measured.json.rerank.before['ndcg@10']);
  });

  it('train, whose options for cross-encoders no other method takes', async () => {
    const out = join(folder, 'run');
    const train = [
      'train',
      '--method',
      'cross-encoder',
      '--model',
      CROSS_ENCODER,
      '--data',
      data,
      '--threads',
      '1',
    ];
    const given = ['--steps', '3', '--batch-size', '4', '--negatives', '2', '--rerank-depth', '5', '--json'];
    const { code, json, stderr } = await undrift(...train, ...given, '--out', out);
    expect(stderr).toMatch(/2 negatives that BM25 ranks high/);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      settings: { method: 'cross-encoder', loss: 'bce', negativesFrom: 'bm25' },
      ledger: { pairs: 36 },
      baseline: { name: 'BM25' },
    });
    const resumed = await undrift('train', '--out', out, '--resume', '--json');
    expect(resumed.json).toMatchObject({ steps: 3, best: json.best });

    const refused = await undrift(
      'train',
      '--data',
      data,
      '--out',
      join(folder, 'other'),
      '--max-tokens',
      '20',
    );
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--max-tokens is for --method cross-encoder/),
    });
    const retriever = await undrift(...train, '--pooling', 'mean', '--out', join(folder, 'other'));
    expect(retriever.stderr).toMatch(/the method cross-encoder takes no --pooling/);
    const wrong = await undrift('search', '--model', out, '--data', data, 'red');
    expect(wrong.stderr).toMatch(/this is a cross-encoder/);
  });
});
