import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCorpus } from '../data/documents.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { leakFilter } from '../rlm/leak-filter.ts';
import { bm25Source } from '../rlm/passage-source.ts';
import { passagesOf } from '../rlm/passages.ts';
import { trainCrossEncoder } from '../train/cross-encoder/train-cross-encoder.ts';
import { lmEvalCommand } from './lm-eval.ts';
import { lmRerankDataCommand } from './lm-rerank-data.ts';

const model = fileURLToPath(new URL('../models/language/fixtures/causal/llama-untied', import.meta.url));
const encoder = fileURLToPath(new URL('../models/cross-encoder/fixtures/bert', import.meta.url));
const jsonl = (records: object[]) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
const WORDS = ['cat', 'dog', 'house', 'tree', 'red', 'green', 'mat', 'run'];
const word = (i: number) => WORDS[i % WORDS.length]!;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const judged = (queries: number[]) =>
  `query-id\tcorpus-id\tscore\n${queries.map((i) => `q${i}\td${i}\t1\n`).join('')}`;
const folder = tempFiles({
  'data/corpus.jsonl': jsonl(
    range(24).map((i) => ({ _id: `d${i}`, text: `${word(i)} ${word(i + 1 + (i >> 3))} x${i}` })),
  ),
  'data/queries.jsonl': jsonl(range(24).map((i) => ({ _id: `q${i}`, text: `${word(i)} y${i}` }))),
  'data/answers.jsonl': jsonl(range(24).map((i) => ({ _id: `q${i}`, answers: [word(i + 1)] }))),
  'data/qrels/train.tsv': judged(range(18)),
  'data/qrels/test.tsv': judged(range(24).slice(18)),
  'text.jsonl': jsonl([{ id: 't', text: 'abcdefghijklmnopabcdefghijklmnop' }]),
  'passages.jsonl': jsonl(range(6).map((i) => ({ id: `p${i}`, text: `${word(i)}${word(i + 2)} ${i}` }))),
});
const data = join(folder, 'data');
const COMMON = { model, prompt: 'q{question}A', threads: '1' };
const write = (flags: Record<string, string>) =>
  runCommand(lmRerankDataCommand, { ...COMMON, data, ...flags });
const recordsOf = (file: string): Record<string, never>[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('undrift lm rerank-data', () => {
  it('writes lists that train a cross-encoder, which then chooses the passages that a model reads', async () => {
    const lists = join(folder, 'lists.jsonl');
    const written = await write({ out: lists, candidates: '4' });
    expect(written.json).toMatchObject({ lists: 18, passages: 18 * 4, split: 'train', candidates: 4 });
    expect(written.json.cost).toMatchObject({ searches: 18, forwardPasses: 18 * 4 });
    const records = recordsOf(lists) as unknown as { query: string; scores: number[]; negative: string[] }[];
    expect(records.map(({ query }) => query)).toEqual(range(18).map((i) => `${word(i)} y${i}`));
    for (const { scores, negative } of records) {
      expect(scores).toHaveLength(1 + negative.length);
      expect(scores[0]).toBe(Math.max(...scores));
    }

    const run = join(folder, 'reranker');
    await trainCrossEncoder({
      ...{ data: lists, out: run, model: encoder, loss: 'marginal-likelihood', threads: 1 },
      ...{ steps: 12, batchSize: 6, negatives: 3, lr: 3e-3, evalEvery: 12, evalSplit: 'train' },
    });

    const file = join(folder, 'each.jsonl');
    const flags = { data, method: 'in-context', candidates: '4', answerTokens: '1', documentFile: file };
    const evaluated = await runCommand(lmEvalCommand, { ...COMMON, ...flags, reranker: run });
    expect(evaluated.json).toMatchObject({ questions: 6, cost: { rerankPairs: 24 } });
    // The passage that is read is the first one by the scores of the trained cross-encoder.
    const trained = await loadCrossEncoder(run);
    expect(trained.trainedSteps).toBe(12);
    const corpus = await loadCorpus(data);
    const passages = passagesOf(corpus);
    const source = bm25Source(passages, leakFilter(passages));
    const queries = range(24)
      .slice(18)
      .map((i) => `${word(i)} y${i}`);
    const found = await source.find(
      queries.map((text) => ({ text })),
      4,
    );
    const chosen: number[] = [];
    for (const [i, query] of queries.entries()) {
      const rows = [...found[i]!.rows];
      const [best] = await trained.rank(
        query,
        rows.map((row) => corpus.text(row)),
        { threads: 1 },
      );
      chosen.push(rows[best!.document]!);
    }
    await trained.dispose();
    expect(recordsOf(file).map(({ passages }) => passages)).toEqual(chosen.map((row) => [row]));
    // Another choice than that of BM25, or the reranker would not show.
    expect(chosen).not.toEqual(found.map(({ rows }) => rows[0]));
  });

  it('writes lists for stretches of running text, with passages of other documents', async () => {
    const out = join(folder, 'text-lists.jsonl');
    const flags = { data: join(folder, 'text.jsonl'), out, window: '24', retrievalStride: '8' };
    const { prompt: _, ...common } = COMMON;
    const { json, text } = await runCommand(lmRerankDataCommand, {
      ...common,
      ...flags,
      passageData: join(folder, 'passages.jsonl'),
      queryTokens: '6',
      retriever: 'random',
    });
    expect(json).toMatchObject({ data: 'text', candidates: 8 });
    expect(json).not.toHaveProperty('split');
    const records = recordsOf(out) as unknown as { query: string; positive: string }[];
    // Stretches of 8 tokens in windows of 24 and 8 tokens.
    expect([records.length, json.lists, json.passages]).toEqual([4, 4, 4 * 6]);
    for (const { query } of records) expect('abcdefghijklmnopabcdefghijklmnop').toContain(query);
    expect(text).toContain('--loss marginal-likelihood');
  });

  it.each([
    [{ out: 'lists.json' }, /--out should be a file name ending in \.jsonl/],
    [{ out: 'lists.jsonl', candidates: '1' }, /candidates|at least 2/],
    [{ out: 'lists.jsonl', retriever: 'gold' }, /no text has two passages to choose from/],
    [{ out: 'lists.jsonl', limitTokens: '5' }, /limit-?[tT]okens belongs to running text/],
    [{ out: 'data/corpus.jsonl' }, /would replace a file of the data/],
  ])('refuses %j', async (flags, message) => {
    const out = join(folder, flags.out);
    await expect((async () => write({ ...flags, out }))()).rejects.toThrow(message);
  });
});
