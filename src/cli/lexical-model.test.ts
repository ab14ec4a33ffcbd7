import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { rotatedData, rotatedModels } from '../../test/rotated-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import { UndriftError } from '../util/errors.ts';
import type { OptionTable } from '../util/option-table.ts';
import { type AnyCommand, allOptions } from './command.ts';
import { describeError } from './describe-error.ts';
import { evalCommand } from './eval.ts';
import type { Io } from './io.ts';
import { mineCommand } from './mine.ts';
import { parseFlag, resolveOptions } from './options.ts';
import { searchCommand } from './search.ts';

const folder = tempFiles(rotatedData());
const at = (name: string) => join(folder, name);

/** Runs a command in this process. Returns its result, or the message of its error. */
async function run(command: AnyCommand, given: Readonly<Record<string, unknown>>, words: string[] = []) {
  const logged: string[] = [];
  const io: Io = {
    signal: new AbortController().signal,
    async stream() {},
    log: (line) => logged.push(line),
    progress() {},
    finishProgress() {},
  };
  try {
    const table: OptionTable = allOptions(command);
    const values = Object.fromEntries(
      Object.entries({ data: at('set'), ...given }).map(([key, value]) => [
        key,
        typeof value === 'string' ? parseFlag(key, table[key]!, value) : value,
      ]),
    );
    const result = await command.run(resolveOptions(command.options, values), io, words);
    return { ...result, json: result.json as Record<string, unknown>, logged, error: '' };
  } catch (error) {
    expect(error).toBeInstanceOf(UndriftError);
    return { json: {} as Record<string, unknown>, text: '', logged, error: describeError(error).message };
  }
}

beforeAll(() => saveRetriever(at('model'), rotatedModels().from, { onnx: false }));

describe('eval', () => {
  const split = { split: 'train', metrics: 'ndcg@10' };
  const figures = async (given: Readonly<Record<string, unknown>>) =>
    await run(evalCommand, { ...split, ...given });

  it('measures BM25 beside a model and beside TF-IDF, by the same queries', async () => {
    const bm25 = await figures({ model: 'bm25' });
    expect(bm25.json.baseline).toBeNull();
    for (const model of [at('model'), 'tfidf']) {
      const { json, text } = await figures({ model });
      expect(json.baseline).toEqual({ model: 'bm25', metrics: bm25.json.metrics });
      expect(text).toMatch(/ndcg@10\n\S+ +[01]\.\d{4}\nBM25 +[01]\.\d{4}\n/);
    }
    const limited = await figures({ model: 'tfidf', limitQueries: '3', k1: '2', stem: true });
    const same = await figures({ model: 'bm25', limitQueries: '3', k1: '2', stem: true });
    expect(limited.json.baseline).toEqual({ model: 'bm25', metrics: same.json.metrics });
  });

  it('refuses its options where scored pairs are measured', async () => {
    const { error } = await figures({ model: at('model'), metrics: 'spearman', stem: true });
    expect(error).toContain('--stem has no meaning with --model');
  });

  it('leaves BM25 out on request, and then refuses its options', async () => {
    const { json, text } = await figures({ model: at('model'), baseline: false });
    expect(json.baseline).toBeNull();
    expect(text).not.toContain('BM25');
    const { error } = await figures({ model: at('model'), baseline: false, stem: true });
    expect(error).toContain('--stem has no meaning with --model');
    expect((await figures({ model: 'tfidf', baseline: false, k1: '2' })).error).toContain(
      '--k1 is for BM25: TF-IDF has no such constant',
    );
  });
});

describe('search', () => {
  it('takes tfidf, whose scores are cosines', async () => {
    const corpus = readFileSync(at('set/corpus.jsonl'), 'utf8').trim().split('\n');
    const { _id, text } = JSON.parse(corpus[3]!) as { _id: string; text: string };
    const { json } = await run(searchCommand, { model: 'tfidf', topK: '1' }, [text]);
    const [best] = json.results as { id: string; score: number }[];
    expect(best!.id).toBe(_id);
    expect(best!.score).toBeCloseTo(1, 5);
  });

  it('refuses options that its ranker does not take', async () => {
    expect((await run(searchCommand, { model: 'tfidf', b: '1' }, ['word1'])).error).toContain(
      '--b is for BM25',
    );
    expect((await run(searchCommand, { model: at('model'), stopWords: true }, ['word1'])).error).toMatch(
      /--stop-words has no meaning with --model .*\n {2}help: it is for bm25, tfidf/,
    );
    expect((await run(searchCommand, { model: 'tfdif' }, ['word1'])).error).toContain(
      "Did you mean 'tfidf'?",
    );
  });
});

it('mine takes tfidf, and records it with its options', async () => {
  const out = at('mined.jsonl');
  const { json, text, error } = await run(mineCommand, { model: 'tfidf', out, negatives: '2', stem: true });
  expect(error).toBe('');
  expect(json.ranker).toEqual({ kind: 'tfidf', language: 'any', stem: true, stopWords: false });
  expect(text).toContain('by TF-IDF (stems)');
});
