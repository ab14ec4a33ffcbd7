import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { checkLanguageComparison, readLanguageComparison } from '../compare/language/read-comparison.ts';
import { runLanguageComparison } from '../compare/language/run-comparison.ts';
import { compareLanguageCommand } from './lm-compare.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/llama-untied', import.meta.url));
const lines = (records: object[]) => records.map((record) => JSON.stringify(record)).join('\n');
const N = 6;
const rows = Array.from({ length: N }, (_, i) => i);
const FILES = {
  'data/corpus.jsonl': lines(rows.map((i) => ({ _id: `d${i}`, text: `which word${i}` }))),
  'data/queries.jsonl': lines(rows.map((i) => ({ _id: `q${i}`, text: `which word${i}` }))),
  'data/answers.jsonl': lines(rows.map((i) => ({ _id: `q${i}`, answers: ['ab', 'cd'] }))),
  'data/qrels/test.tsv': `query-id\tcorpus-id\tscore\n${rows.map((i) => `q${i}\td${i}\t1\n`).join('')}`,
  'text.jsonl': lines(['abcdefghijk', 'lmnopqrs', 'tuvwxyzABC'].map((text, i) => ({ _id: `t${i}`, text }))),
  'passages.jsonl': lines(['bcdxyz', 'mnoabc', 'uvwdef'].map((text, i) => ({ _id: `p${i}`, text }))),
};
const QUESTIONS = {
  ...{ name: 'small', model: MODEL, data: 'data', out: 'out' },
  base: { 'passage-tokens': 6 },
  arms: [
    { name: 'bm25', method: 'in-context' },
    { name: 'gold', method: 'in-context', retriever: 'gold' },
    { name: 'two', method: 'replug', ensemble: 2, 'score-temperature': 5 },
  ],
  evaluate: { prompt: 'q{question}A', 'answer-tokens': 2 },
};

interface Json {
  complete: boolean;
  arms: {
    name: string;
    metrics: Record<string, { mean: number }>;
    cost: Record<string, { mean: number }>;
  }[];
  failures: { arm: string; message: string }[];
}

const run = async (config: object, flags: Record<string, string> = {}, folder = tempFiles(FILES)) => {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const { json, text } = await runCommand(compareLanguageCommand, { threads: '1', ...flags }, [
    join(folder, 'config.json'),
  ]);
  return { folder, json: json as unknown as Json, text };
};

describe('undrift lm compare', () => {
  it('measures questions with the arms and their controls, once each', async () => {
    const { folder, json, text } = await run(QUESTIONS);
    const names = json.arms.map(({ name }) => name);
    expect(names).toEqual(['none', 'bm25', 'gold', 'two', 'random', 'oracle']);
    expect(json).toMatchObject({ complete: true, failures: [] });
    const results = JSON.parse(readFileSync(join(folder, 'out/results.json'), 'utf8'));
    const [none, bm25, , two] = results.arms;
    expect(none.againstFirst).toEqual({});
    expect(bm25.againstFirst.natsPerAnswer.difference).toBeCloseTo(
      bm25.metrics.natsPerAnswer.mean - none.metrics.natsPerAnswer.mean,
      10,
    );
    expect(two.cost.forwardPasses.mean).toBe(4 * N);
    expect(text).toMatch(/arm +natsPerAnswer +natsPerToken +exactMatch +f1 +Δ natsPerAnswer +95 %/);
    expect(text).toContain('6 documents, 6 questions of test');
    const report = readFileSync(join(folder, 'out/report.html'), 'utf8');
    expect(report).toContain('read tokens');
    expect(report).not.toContain('training time');

    // Results of arms that are there are not made again, and the rest is.
    const arm = join(folder, 'out/arms/gold.json');
    const stored = JSON.parse(readFileSync(arm, 'utf8'));
    writeFileSync(arm, JSON.stringify({ ...stored, training: { ...stored.training, wallMs: 12345 } }));
    rmSync(join(folder, 'out/arms/two.json'));
    const again = await run(QUESTIONS, {}, folder);
    const byName = Object.fromEntries(again.json.arms.map((each) => [each.name, each]));
    expect(byName.gold!.cost.wallMs!.mean).toBe(12345);
    expect(byName.two!.metrics).toEqual(two.metrics);

    // An arm that differs is refused, unless it may be overwritten.
    const changed = { ...QUESTIONS, base: { 'passage-tokens': 4 } };
    await expect(run(changed, {}, folder)).rejects.toThrow('bm25: passageTokens: 6 then, 4 now');
    const comparison = await readLanguageComparison(join(folder, 'config.json'));
    const replaced = await runLanguageComparison(comparison, { overwrite: true, threads: 1 });
    expect(replaced.arms.map(({ settings }) => settings!.passageTokens)).toEqual([undefined, 4, 4, 4, 4, 4]);
  });

  it('measures running text, with passages of other documents', async () => {
    const config = {
      ...{ model: MODEL, data: 'text.jsonl', out: 'out' },
      base: { 'passage-data': 'passages.jsonl', 'retrieval-stride': 3, 'context-tokens': 2 },
      arms: [{ method: 'in-context' }],
      evaluate: { window: 8, stride: 8 },
    };
    const { json, text } = await run(config);
    expect(json.arms.map(({ name }) => name)).toEqual(['none', 'in-context', 'random', 'oracle']);
    for (const { metrics } of json.arms) {
      expect(Math.exp(metrics.natsPerToken!.mean)).toBeCloseTo(metrics.perplexity!.mean, 8);
    }
    expect(text).toMatch(/natsPerToken +perplexity +bitsPerByte/);
    expect(text).toContain('3 documents.');
  });

  it('reports an arm that fails, and goes on', async () => {
    const config = {
      ...{ model: MODEL, data: 'text.jsonl', out: 'out' },
      arms: [{ name: 'gold', method: 'in-context', retriever: 'gold', 'passage-data': 'passages.jsonl' }],
      base: { 'passage-data': 'passages.jsonl' },
    };
    const { json } = await run(config);
    expect(json.complete).toBe(false);
    expect(json.failures).toMatchObject([{ arm: 'gold' }]);
    expect(json.failures[0]!.message).toContain('--retriever gold reads judged passages, and there are none');
  });

  it('refuses a text without a token to score before any arm is run', async () => {
    const folder = tempFiles({ ...FILES, 'text.jsonl': lines([{ _id: 't', text: '' }]) });
    const config = { ...{ model: MODEL, data: 'text.jsonl', out: 'out' }, arms: [{ method: 'none' }] };
    await expect(run(config, {}, folder)).rejects.toThrow('the text has no token to score');
    expect(existsSync(join(folder, 'out/arms'))).toBe(false);
  });
});

describe('config of undrift lm compare', () => {
  const config = { model: './m', data: 'd', out: 'o', arms: [{ method: 'in-context' }] };
  const check = (changes: object) => checkLanguageComparison({ ...config, ...changes }, { file: 'a/c.json' });

  it('has paths relative to the file, and options of the base for the systems that have them', () => {
    const { model, data, out, arms } = check({
      base: { retriever: './r', ensemble: 3 },
      arms: [{ method: 'in-context' }, { method: 'replug', 'passage-data': 'p' }],
    });
    expect([model, data, out]).toEqual(['a/m', 'a/d', 'a/o']);
    expect(arms.map(({ name }) => name)).toEqual(['none', 'in-context', 'replug', 'random', 'oracle']);
    expect(arms[0]!.options).toEqual({});
    expect(arms[1]!.options).toEqual({ retriever: 'a/r' });
    expect(arms[2]!.options).toEqual({ retriever: 'a/r', ensemble: 3, passageData: 'a/p' });
    expect(arms[2]!.written).toMatchObject({ retriever: './r', passageData: 'p' });
    expect(arms[3]!.options).toEqual({ passageData: 'a/p', retriever: 'random', reranker: 'none' });
    expect(check({ model: 'organisation/name' }).model).toBe('organisation/name');
  });

  it('keeps arms of its own with the names of controls', () => {
    const { arms } = check({
      arms: [{ name: 'random', method: 'replug', retriever: 'random' }, { method: 'none' }],
    });
    expect(arms.map(({ name, method }) => [name, method])).toEqual([
      ['none', 'none'],
      ['random', 'replug'],
      ['oracle', 'in-context'],
    ]);
  });

  it.each([
    [{ mode: 1 }, /a\/c\.json: unknown key "mode"/],
    [{ arms: [] }, /a\/c\.json: arms: should be a list of arms/],
    [{ arms: [{}] }, /arms\[0\]: "method" is missing/],
    [{ arms: [{ method: 'in-contex' }] }, /arms\[0\]\.method: .*unknown method "in-contex".*in-context/],
    [
      { arms: [{ method: 'in-context', ensemble: 2 }] },
      /arms\[0\] \("in-context"\): unknown option "ensemble"/,
    ],
    [{ arms: [{ method: 'replug' }, { method: 'replug' }] }, /there is another arm "replug"/],
    [{ base: { nonsense: 1 } }, /a\/c\.json: base: unknown option "nonsense"/],
    [{ evaluate: { windows: 8 } }, /a\/c\.json: evaluate: unknown option "windows".*'window'/],
  ])('refuses %j', (changes, message) => {
    expect(() => check(changes)).toThrow(message);
  });
});
