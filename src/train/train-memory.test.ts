import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import type { DataInMemory } from '../data/data-in-memory.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { InterruptedError, type TrainCallbacks } from './callbacks.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const words = (i: number) => [...permutation(rngKey(5, i, 'words'), 40).subarray(0, 14)];
const query = (i: number) =>
  words(i)
    .map((w) => `ask${w}y`)
    .join(' ');
const text = (i: number) =>
  words(i)
    .map((w) => `doc${w}x`)
    .join(' ');
const each = <T>(make: (i: number) => T): T[] => Array.from({ length: 120 }, (_, i) => make(i));
const lines = (records: readonly unknown[]) =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('');

const pairs = each((i) => ({ query: query(i), positive: text(i), negative: text((i + 7) % 120) }));
const scoredPairs = each((i) => ({ sentence1: query(i), sentence2: text(i), score: (i % 4) / 3 }));
const documents = each((i) => ({ _id: `d${i}`, text: text(i) }));
const queries = each((i) => ({ _id: `q${i}`, text: query(i) }));
const qrels = each((i) => ({ queryId: `q${i}`, docId: `d${i}`, grade: 1 }));

let files: string;
let runs: string;
beforeAll(async () => {
  const tsv = (rows: typeof qrels) => rows.map(({ queryId, docId }) => `${queryId}\t${docId}\t1\n`).join('');
  files = tempFiles({
    'pairs.jsonl': lines(pairs),
    'split/train.jsonl': lines(pairs.slice(0, 100)),
    'split/dev.jsonl': lines(pairs.slice(100)),
    'scored.jsonl': lines(scoredPairs),
    'texts.txt': `${each(text).join('\n')}\n`,
    'judged/corpus.jsonl': lines(documents),
    'judged/queries.jsonl': lines(queries),
    'judged/qrels/train.tsv': tsv(qrels.slice(0, 100)),
    'judged/qrels/dev.tsv': tsv(qrels.slice(100)),
  });
  runs = await mkdtemp(join(tmpdir(), 'undrift-memory-'));
});
afterAll(() => rm(runs, { recursive: true, force: true }));

async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  for (const item of items) yield await Promise.resolve(item);
}

const train = (
  out: string,
  data: string | DataInMemory,
  more: Partial<TrainOptions> & { resume?: boolean; overwrite?: boolean } = {},
  callbacks?: TrainCallbacks,
) => {
  const small = {
    batchSize: 16,
    steps: 12,
    hidden: 16,
    vocabSize: 200,
    evalEvery: 6,
    saveEvery: 3,
    threads: 1,
  };
  return trainRetriever({ ...small, out: join(runs, out), data, ...more }, callbacks);
};
const weights = (out: string) => readFile(join(runs, out, 'model/model.safetensors'));
const settings = async (out: string) => JSON.parse(await readFile(join(runs, out, 'settings.json'), 'utf8'));

describe('training on data in memory', () => {
  const cases: [string, string, () => DataInMemory, Partial<TrainOptions>][] = [
    ['pairs', 'pairs.jsonl', () => ({ pairs: stream(pairs) }), { negatives: 1 }],
    ['pairs-dev', 'split', () => ({ pairs: stream(pairs.slice(0, 100)), dev: pairs.slice(100) }), {}],
    [
      'judged',
      'judged',
      () => ({
        documents: stream(documents),
        queries: queries.values(),
        judgements: { train: stream(qrels.slice(0, 100)), dev: qrels.slice(100) },
      }),
      {},
    ],
    ['texts', 'texts.txt', () => ({ texts: stream(each(text)) }), { method: 'crop' }],
    ['scored', 'scored.jsonl', () => ({ scoredPairs: stream(scoredPairs) }), { method: 'scored-pairs' }],
  ];
  it.each(cases)('gives the bytes of the same records in files: %s', async (name, path, inMemory, more) => {
    const fromFile = await train(`${name}-file`, join(files, path), more);
    const fromMemory = await train(`${name}-memory`, { ...inMemory(), name: 'mine' }, more);
    expect((await weights(`${name}-memory`)).equals(await weights(`${name}-file`))).toBe(true);
    expect(fromMemory.best.value).toBe(fromFile.best.value);
    expect(fromMemory.best.value).not.toBeNull();
    expect(fromMemory.embeddingSpace).toBe(fromFile.embeddingSpace);
    expect((await settings(`${name}-memory`)).settings.data).toBe('(memory)');
    expect(await readFile(join(runs, `${name}-memory/model/README.md`), 'utf8')).toContain('mine');
  });

  it('is resumed with the same data to the same bytes, and refuses other data', async () => {
    const controller = new AbortController();
    const interrupt = { signal: controller.signal, onStep: () => controller.abort() };
    await train('whole', { pairs });
    await expect(train('part', { pairs: stream(pairs) }, {}, interrupt)).rejects.toThrow(InterruptedError);
    await expect(train('part', { pairs: pairs.slice(1) }, { resume: true })).rejects.toThrow(
      /the data \(memory\) is not what the run in .* was trained on\n {2}help: its fingerprint was/,
    );
    await expect(train('part', join(files, 'pairs.jsonl'), { resume: true })).rejects.toThrow(/fingerprint/);

    const main = join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'cli', 'main.js');
    const resumed = promisify(execFile)(process.execPath, [
      main,
      'train',
      '--out',
      join(runs, 'part'),
      '--resume',
    ]);
    await expect(resumed).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /was trained on data from the memory of a program\n {2}help: resume it in that program/,
      ),
    });

    const { steps } = await train('part', { pairs: pairs.values() }, { resume: true });
    expect(steps).toBe(12);
    expect((await weights('part')).equals(await weights('whole'))).toBe(true);
  });

  it('stops while it is read', async () => {
    const controller = new AbortController();
    function* endless() {
      for (let i = 0; ; i++) {
        if (i === 5000) controller.abort();
        yield { query: `q${i}`, positive: 'p' };
      }
    }
    await expect(train('endless', { pairs: endless() }, {}, { signal: controller.signal })).rejects.toThrow(
      'stopped before training began',
    );
  });

  it('says which data a method needs', async () => {
    await expect(train('no', { texts: ['a'] })).rejects.toThrow(/data with texts has no queries/);
    await expect(train('no', { pairs }, { method: 'scored-pairs' })).rejects.toThrow(/give \{ scoredPairs/);
    await expect(train('no', { pairs: [] })).rejects.toThrow(/^pairs: holds no record/);
  });
});
