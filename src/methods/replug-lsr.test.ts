import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { copyingReader } from '../../test/copying-reader.ts';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { type ToyOptions, ToyRun, toyTokenizer } from '../../test/toy-training.ts';
import { writeContinuations } from '../data/continuations.ts';
import { passagesOfDocument } from '../data/passages.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { languageModelId } from '../models/language/language-model-id.ts';
import { LanguageTeacher } from '../models/language/language-teacher.ts';
import { ScoreCache } from '../models/language/score-cache.ts';
import { trainRetriever } from '../train/train-retriever.ts';
import { permutation, rngKey } from '../util/rng.ts';
import type { MethodOptions } from './options.ts';
import { replugLsr } from './replug-lsr.ts';
import { entropyAdvice } from './table/reader-loss.ts';

const reader = await copyingReader(toyTokenizer());
const OPTIONS: Partial<MethodOptions> = {
  reader,
  readerPrompt: '{passage} {query} {answer}',
  candidates: 12,
  refresh: 'never',
};
const toy = (options: Partial<MethodOptions>, settings: ToyOptions = {}): ToyOptions => ({
  learningRate: 0.03,
  ...settings,
  options: { ...OPTIONS, ...options },
});

/** Trains, and returns the exact loss over the corpus before and after, the reports, and what was spent. */
async function trained(options: Partial<MethodOptions>, { steps = 40, settings = {} } = {}) {
  const run = await ToyRun.begin(replugLsr, toy(options, settings));
  try {
    const before = await run.exactLoss();
    const reports = await run.train(steps);
    return { before, after: await run.exactLoss(), reports, spent: run.spent(), bytes: run.bytes() };
  } finally {
    await run.dispose();
  }
}

describe('replug-lsr', () => {
  it.each(['forward', 'reverse'] as const)('%s: nears the reader, and finds what it prefers', async (kl) => {
    const { reports, before, after } = await trained(
      { kl, candidates: 24, refresh: 'every:5' },
      { steps: 30 },
    );
    const mean = (name: string, from: number, to: number) =>
      reports.slice(from, to).reduce((sum, { metrics }) => sum + metrics[name]!, 0) / (to - from);
    expect(after).toBeLessThan(0.8 * before);
    expect(mean('teacherAgreement', 22, 30)).toBeGreaterThan(mean('teacherAgreement', 0, 5) + 0.2);
    expect(mean('expectedScore', 22, 30)).toBeGreaterThan(mean('expectedScore', 0, 5));
    expect(mean('teacherEntropy', 0, 30)).toBeGreaterThan(0);
    expect(mean('teacherEntropy', 0, 30)).toBeLessThan(1);
  });

  it('learns nothing from shuffled scores', async () => {
    const settings = { candidates: 24, refresh: 'every:5' };
    const own = await trained(settings);
    const shuffled = await trained({ ...settings, teacherScores: 'shuffled' });
    expect(shuffled.after).toBeGreaterThan(1.5 * own.after);
    expect(shuffled.spent.readerPassages).toBeGreaterThan(0);
  });

  it('shares scores between runs to the same bytes and costs, and reads nothing twice', async () => {
    const readerCache = tempFiles({});
    const read = vi.spyOn(ScoreCache.prototype, 'add');
    const readPrompts = () => read.mock.calls.reduce((sum, [found]) => sum + found.length, 0);
    try {
      const first = await trained({ readerCache }, { steps: 3 });
      const prompts = readPrompts();
      // The corpus repeats some texts, which are read once and counted for each document.
      expect(prompts).toBeGreaterThan(200);
      expect(prompts).toBeLessThan(first.spent.readerPassages!);
      expect(first.spent.readerTokens).toBeGreaterThan(10 * prompts);
      const again = await trained({ readerCache }, { steps: 3 });
      expect(readPrompts()).toBe(prompts);
      expect(again.bytes).toEqual(first.bytes);
      expect(again.spent).toEqual(first.spent);
      const alone = await trained({}, { steps: 3 });
      expect(alone.bytes).toEqual(first.bytes);
    } finally {
      read.mockRestore();
    }
  });

  it.each([
    { refresh: 'write-back' },
    { refresh: 'every:2' },
    { refresh: 'async:2:wait' },
    { refresh: 'fraction:0.1' },
    { refresh: 'auto:kl:0.0001:2' },
    { refresh: 'write-back,stream', goldCandidate: true, cacheSize: 30 },
    { refresh: 'never', corrector: 'ridge', teachingSamples: 8 },
    { refresh: 'every:3', corrector: 'mlp', correctedRows: 20, correctedFrom: 'shortlist' },
    { refresh: 'never', cacheStorage: 'f16', cacheSize: 20 },
    { candidates: 100, refresh: 'never' },
  ] satisfies Partial<MethodOptions>[])('takes %j', async (options) => {
    const { reports, spent, after, before } = await trained(options, { steps: 5 });
    for (const { trainingLoss } of reports) expect(Number.isFinite(trainingLoss)).toBe(true);
    expect(after).not.toBe(before);
    expect(spent.candidateEncodes).toBeGreaterThan(0);
    expect(spent.negativeEncodes).toBeUndefined();
    expect(spent.positiveEncodes ?? 0).toBe('goldCandidate' in options ? 40 : 0);
    expect(spent.refreshEncodes! > Math.min(60, options.cacheSize ?? 60)).toBe(
      !['never', 'write-back'].includes(options.refresh.split(',')[0]!),
    );
  });

  it('leaves every bit of the reader as it is', async () => {
    const after: string[] = [];
    const dispose = vi.spyOn(LanguageModel.prototype, 'dispose').mockImplementation(async function (
      this: LanguageModel,
    ) {
      after.push(languageModelId(this));
    });
    try {
      const { after: loss, before } = await trained({ corrector: 'mlp', teachingSamples: 4 }, { steps: 4 });
      expect(loss).not.toBe(before);
    } finally {
      dispose.mockRestore();
    }
    const model = await LanguageModel.load(reader);
    expect(after).toEqual([languageModelId(model)]);
    await model.dispose();
  });

  it('makes the right document a candidate once, where asked', async () => {
    const run = await ToyRun.begin(replugLsr, toy({ goldCandidate: true, candidates: 4 }));
    const [report] = await run.train(1);
    expect(report!.ledger.readerPassages).toBe(8 * 5);
    await run.dispose();
  });

  it('tells once that the reader says nothing, or names one document', async () => {
    const run = await ToyRun.begin(replugLsr, toy({ readerTemperature: 1000 }));
    const notes: string[] = [];
    (run.context as { onNote?: unknown }).onNote = (note: string) => notes.push(note);
    await run.train(25);
    await run.dispose();
    expect(notes).toEqual([
      expect.stringMatching(
        /hardly tells them apart; try a lower temperature, such as readerTemperature: 250/,
      ),
    ]);
    expect(entropyAdvice(0.01, 0.1)).toMatch(/picks a single one; try a higher temperature/);
    expect(entropyAdvice(0.5, 0.1)).toBeUndefined();
  });

  it.each([
    [{ reader: undefined }, /reader is missing/],
    [{ refresh: 'stream' }, /the refresh policy "stream" puts right documents into the cache/],
    [{ refresh: 'auto:ess:0.5:2' }, /"auto:ess" needs negatives that are drawn/],
    [{ readerTokens: 8 }, /a prompt of \d+ tokens without its passage, where 8 are read: query "part/],
    [{ reader: '/no/such/reader' }, /reader \/no\/such\/reader: no such folder/],
  ] as [Partial<MethodOptions>, RegExp][])('refuses %j', async (options, message) => {
    await expect(ToyRun.begin(replugLsr, toy(options))).rejects.toThrow(message);
  });
});

describe('evaluation of replug-lsr', () => {
  const record = (i: number) => ({
    query: `ask${i}y part${i % 5}`,
    positive: `doc${i}x part${i % 5}`,
    answers: [`doc${i}x`, 'another'],
  });
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
  const data = { pairs: range(0, 10), dev: range(10, 15) };
  const settings = {
    ...{ data, method: 'replug-lsr', reader, readerPrompt: '{passage} {query} {answer}', candidates: 4 },
    ...{ steps: 2, batchSize: 4, evalEvery: 2, threads: 1, readerEvalQueries: 5, temperature: 0.2 },
  } as const;

  it('has the agreement with the reader on queries that are not trained on, which can decide', async () => {
    const out = join(tempFiles({}), 'run');
    const evaluations: Readonly<Record<string, number>>[] = [];
    const result = await trainRetriever(
      { ...settings, out, evalMetric: 'expectedScore' },
      { onEvaluation: ({ metrics }) => evaluations.push(metrics) },
    );
    const [metrics] = evaluations;
    expect(result.best.value).toBe(metrics!.expectedScore);
    expect(metrics).toHaveProperty(['ndcg@10']);
    const retriever = await loadRetriever(result.model);
    const teacher = await LanguageTeacher.create(await LanguageModel.load(reader), {
      prompt: settings.readerPrompt,
    });
    const passages = [...data.pairs, ...data.dev].map(({ positive }) => positive);
    const [documents, queries] = await Promise.all([
      retriever.encode('document', passages),
      retriever.encode(
        'query',
        data.dev.map(({ query }) => query),
      ),
    ]);
    let expected = 0;
    for (const [i, { query, answers }] of data.dev.entries()) {
      const D = retriever.dimension;
      const dot = (row: number) =>
        queries
          .subarray(i * D, (i + 1) * D)
          .reduce((sum, value, d) => sum + value * documents[row * D + d]!, 0);
      const best = passages.map((passage, row) => ({ passage, score: dot(row) }));
      best.sort((a, b) => b.score - a.score);
      const four = best.slice(0, 4);
      const { scores } = await teacher.scores(
        four.map(({ passage }) => ({ passage, query, answer: answers[0]! })),
      );
      const weights = four.map(({ score }) => Math.exp((score - four[0]!.score) / 0.2));
      const total = weights.reduce((a, b) => a + b);
      expected +=
        weights.reduce((sum, weight, j) => sum + (weight / total) * scores[j]!, 0) / data.dev.length;
    }
    await teacher.dispose();
    await retriever.dispose();
    expect(metrics!.expectedScore).toBeCloseTo(expected, 4);
    const log = readFileSync(join(out, 'metrics.jsonl'), 'utf8').split('\n');
    expect(log.find((line) => line.includes('"eval"'))).toMatch(/teacherAgreement.*teacherDivergence/);
  });

  it('trains to the same bytes without it', async () => {
    const weights = async (more: object) => {
      const out = join(tempFiles({}), 'run');
      await trainRetriever({ ...settings, ...more, out });
      return readFileSync(join(out, 'model/model.safetensors'));
    };
    expect(await weights({})).toEqual(await weights({ readerEvalQueries: 0 }));
  });

  it.each([
    [{ readerEvalQueries: 0 }, /evalMetric: 'expectedScore' is not measured/],
    [
      {
        evalData: {
          pairs: range(3, 4).map(({ answers: _, ...rest }) => rest),
          dev: range(0, 3).map(({ answers: _, ...rest }) => rest),
        },
      },
      /'expectedScore' needs answers to the queries of "dev"/,
    ],
    [{ evalMetric: 'expectedscore' }, /expectedscore/],
  ])('refuses %j', async (more, message) => {
    const out = join(tempFiles({}), 'run');
    const asked = { ...settings, evalMetric: 'expectedScore', ...more, out };
    await expect(trainRetriever(asked as never)).rejects.toThrow(message);
  });
});

describe('replug-lsr on running text', () => {
  it('never reads a passage of the own text of a context', async () => {
    const folder = tempFiles({});
    const [data, out] = [join(folder, 'data'), join(folder, 'run')];
    const wordsOf = (i: number) =>
      Array.from({ length: 24 }, (_, j) => `doc${permutation(rngKey(5, i, `word${j}`), 16)[0]}x`).join(' ');
    // The last text is a copy of the first one: its passages are left out with those of the first.
    const texts = [...Array.from({ length: 11 }, (_, i) => i), 0].map((i, at) => ({
      id: `t${at}`,
      text: wordsOf(i),
    }));
    const sizes = { contextWords: 6, continuationWords: 6, passageWords: 8 };
    await writeContinuations({ texts }, { ...sizes, devFraction: 0.2, testFraction: 0, out: data });
    const read = vi.spyOn(LanguageTeacher.prototype, 'scores');
    const evaluations: Readonly<Record<string, number>>[] = [];
    try {
      await trainRetriever(
        {
          ...{
            data,
            out,
            method: 'replug-lsr',
            reader,
            readerPrompt: '{passage} {query} {answer}',
            candidates: 4,
          },
          ...{ steps: 2, batchSize: 4, evalEvery: 2, threads: 1, leaveOutPositives: true },
          evalMetric: 'expectedScore',
        },
        { onEvaluation: ({ metrics }) => evaluations.push(metrics) },
      );
      const prompts = read.mock.calls.flatMap(([given]) => given);
      expect(prompts.length).toBeGreaterThan(2 * 4 * 4);
      for (const { passage, query, answer } of prompts) {
        const own = texts.filter(({ text }) => text.includes(`${query} ${answer}`));
        expect(own.length).toBeGreaterThan(0);
        for (const { text } of own) {
          const passages = passagesOfDocument({ id: '', text }, sizes.passageWords);
          expect(passages.map((each) => each.text)).not.toContain(passage);
        }
      }
    } finally {
      read.mockRestore();
    }
    expect(evaluations[0]!.expectedScore).toBeLessThan(0);
  });

  it('refuses to make right documents candidates and to leave them out', async () => {
    const both = ToyRun.begin(replugLsr, toy({ goldCandidate: true, leaveOutPositives: true }));
    await expect(both).rejects.toThrow(/goldCandidate and leaveOutPositives exclude each other/);
  });
});

describe('undrift train --method replug-lsr', () => {
  const lines = (records: object[]) => records.map((record) => JSON.stringify(record)).join('\n');
  const rows = Array.from({ length: 12 }, (_, i) => i);
  const data = (answers: (row: number) => string[] | undefined) =>
    tempFiles({
      'train.jsonl': lines(
        rows.map((i) => ({
          query: `ask${i}y part${i % 5}`,
          positive: `doc${i}x part${i % 5}`,
          ...(answers(i) && { answers: answers(i) }),
        })),
      ),
    });
  const train = (folder: string, out: string, ...more: string[]) =>
    runUndrift([
      ...['train', '--data', folder, '--out', out, '--method', 'replug-lsr', '--reader', reader],
      ...['--reader-prompt', '{passage} {query} {answer}', '--candidates', '4', '--steps', '3'],
      ...['--batch-size', '4', '--eval-split', 'none', '--threads', '1', ...more],
    ]);

  it('trains, leaves out queries without an answer, and keeps the scores in the folder of the run', async () => {
    const out = join(tempFiles({}), 'run');
    const folder = data((i) => (i === 0 ? undefined : [`doc${i}x`]));
    const { code, stderr } = await train(folder, out);
    expect(stderr).toMatch(/left out 1 query without an answer in words/);
    expect(stderr).toMatch(/the best 4 documents a query from a table of all/);
    expect(code).toBe(0);
    const log = readFileSync(join(out, 'metrics.jsonl'), 'utf8');
    expect(log).toMatch(/"teacherAgreement"/);
    expect(log).toMatch(/"readerTokens"/);
  });

  it('says what is missing where the data has no answers', async () => {
    const { code, stderr } = await train(
      data(() => undefined),
      join(tempFiles({}), 'run'),
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/no training query has an answer in words/);
    expect(stderr).toMatch(/answers\.jsonl beside queries\.jsonl/);
  });
});
