import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyingReader } from '../../test/copying-reader.ts';
import { runCommand } from '../../test/run-command.ts';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { toyReader } from '../../test/toy-reader.ts';
import { toyTokenizer } from '../../test/toy-training.ts';
import { loadRetriever } from '../models/folder/load-retriever.ts';
import { indexPassages } from '../store/index-passages.ts';
import { Store } from '../store/store.ts';
import { trainRetriever } from '../train/train-retriever.ts';
import { compareLanguageCommand } from './lm-compare.ts';
import { lmEvalCommand } from './lm-eval.ts';
import { generateCommand } from './lm-generate.ts';

const other = smallRetriever({ kind: 'static' });
const ROWS = Array.from({ length: 17 }, (_, i) => i);
const jsonl = (of: (i: number) => object) => ROWS.map((i) => `${JSON.stringify(of(i))}\n`).join('');
const qrels = (rows: readonly number[]) =>
  ['query-id\tcorpus-id\tscore', ...rows.map((i) => `q${i}\td${i}\t1`), ''].join('\n');
const dataFolder = () =>
  tempFiles({
    'corpus.jsonl': jsonl((i) => ({ _id: `d${i}`, text: `doc${i}x part${i % 5}` })),
    'queries.jsonl': jsonl((i) => ({ _id: `q${i}`, text: `ask${i}y part${i % 5}` })),
    'answers.jsonl': jsonl((i) => ({ _id: `q${i}`, answers: [`doc${i}x`] })),
    'qrels/train.tsv': qrels(ROWS.slice(0, 12)),
    'qrels/dev.tsv': qrels(ROWS.slice(12)),
  });

describe('a run of npm', () => {
  it('is refused by lm generate, which names lm fill', async () => {
    const run = tempFiles({ 'settings.json': '' });
    const settings = { fingerprint: 'f', settings: { method: 'npm' } };
    writeFileSync(join(run, 'settings.json'), JSON.stringify(settings));
    await expect(runCommand(generateCommand, { model: run }, ['x'])).rejects.toThrow(/undrift lm fill/);
    await expect(runCommand(lmEvalCommand, { model: run, data: 'text.txt', method: 'nmp' })).rejects.toThrow(
      /known methods: none, .*realm, atlas, npm/,
    );
  });
});

describe('undrift lm eval of a run with a reader', () => {
  it.each(['realm', 'atlas'] as const)('%s: answers as the evaluation of the run', async (method) => {
    const [data, out] = [dataFolder(), join(tempFiles({}), 'run')];
    const reader = method === 'atlas' ? await toyReader() : await copyingReader(toyTokenizer());
    const { best } = await trainRetriever({
      ...{ data, out, method, readerPrompt: '{passage} {query} {answer}', candidates: 3, readerLr: 0.01 },
      ...{ reader, steps: 2, batchSize: 4, threads: 1, readerAnswerTokens: 4, hidden: 16 },
      evalMetric: 'answerLogLikelihood',
    });
    const given = { model: out, data, split: 'dev', threads: '1' };
    const documentFile = join(tempFiles({}), 'questions.jsonl');
    const { json, text } = await runCommand(lmEvalCommand, { ...given, method, documentFile });
    expect(json).toMatchObject({ method, questions: 5 });
    expect((json as { natsPerAnswer: number }).natsPerAnswer).toBeCloseTo(-best.value!, 4);
    expect(text).toMatch(
      /^nats per answer .*\nnats per token .*\nexact match .*\nF1 .*\n5 questions over 17 documents/,
    );
    const each = readFileSync(documentFile, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(each.map(({ id }) => id)).toEqual(['q12', 'q13', 'q14', 'q15', 'q16']);
    const mean = (of: (question: Record<string, number>) => number) =>
      each.reduce((sum, question) => sum + of(question), 0) / each.length;
    expect(mean(({ nats }) => nats!)).toBeCloseTo(json.natsPerAnswer as number, 6);
    expect(mean(({ f1 }) => f1!)).toBeCloseTo(json.f1 as number, 6);
    for (const { passages, answer, tokens } of each) {
      expect(passages.length).toBe(3);
      expect(typeof answer).toBe('string');
      expect(tokens).toBeGreaterThan(0);
    }

    const limited = await runCommand(lmEvalCommand, {
      ...given,
      method,
      limitQueries: '2',
      answerTokens: '0',
    });
    expect(limited.json).toMatchObject({ questions: 2 });
    expect(limited.json).not.toHaveProperty('exactMatch');

    // The same questions in a comparison, beside its controls.
    const config = {
      ...{ model: method === 'realm' ? reader : await copyingReader(toyTokenizer()), data, out: 'out' },
      arms: [{ method, run: out }],
      evaluate: { split: 'dev', 'answer-tokens': 4, prompt: '{question} ' },
    };
    const file = join(tempFiles({}), 'config.json');
    writeFileSync(file, JSON.stringify(config));
    const compared = await runCommand(compareLanguageCommand, { threads: '1' }, [file]);
    const arms = compared.json.arms as { name: string; metrics: Record<string, { mean: number }> }[];
    expect(arms.map(({ name }) => name)).toEqual([
      ...['none', method, `${method}-none`, `${method}-random`, `${method}-oracle`],
    ]);
    expect(compared.json.failures).toEqual([]);
    const of = (name: string, metric: string) => arms.find((arm) => arm.name === name)!.metrics[metric]!.mean;
    for (const metric of ['natsPerAnswer', 'natsPerToken', 'exactMatch', 'f1'])
      expect(of(method, metric), metric).toBeCloseTo(json[metric] as number, 5);
    const natsOf = ['none', 'random', 'oracle'].map((name) => of(`${method}-${name}`, 'natsPerAnswer'));
    expect(new Set([of(method, 'natsPerAnswer'), ...natsOf]).size).toBe(4);
    // The copying reader answers best from the document that has the answer.
    if (method === 'realm') expect(natsOf[2]).toBeLessThan(Math.min(natsOf[0]!, natsOf[1]!));

    const asked = await runCommand(generateCommand, { model: out, data, tokens: '4', threads: '1' }, [
      'ask12y part2',
    ]);
    const { passages, ...answered } = asked.json as unknown as { passages: { read: boolean; id: string }[] };
    expect(answered).toMatchObject({ question: 'ask12y part2', method });
    expect(asked.text).toBe(`${(answered as { text?: string }).text}\n`);
    expect(passages.filter(({ read }) => read).length).toBe(3);
    const first = each.find(({ id }) => id === 'q12');
    expect(passages.map(({ id }) => id)).toEqual(first.passages.map((row: number) => `d${row}`));
    expect((answered as { text?: string }).text).toBe(first.answer);
    const alone = await runCommand(generateCommand, { model: out, tokens: '4', threads: '1' }, ['ask12y']);
    expect(alone.json).not.toHaveProperty('passages');
    const ask = async (flags: Record<string, string>) =>
      (
        await runCommand(generateCommand, { model: out, tokens: '4', threads: '1', ...flags }, [
          'ask12y part2',
        ])
      ).json as unknown as { text: string; passages: { id: string; score: number }[] };
    const sampled = { data, temperature: '4' };
    const texts: string[] = [];
    for (const seed of ['1', '1', '2', '3', '4']) texts.push((await ask({ ...sampled, seed })).text);
    expect(texts[0]).toBe(texts[1]);
    expect(new Set(texts).size).toBeGreaterThan(1);
    await expect(ask({ data, topP: '0.5' })).rejects.toThrow(/topP is about sampling/);
    await expect(ask({ data, packWeights: 'true' })).rejects.toThrow(
      /--pack-weights has no meaning for a run with a reader/,
    );
    // A store with and without vectors of the retriever gives what its documents give.
    const retriever = await loadRetriever(join(out, 'model'));
    for (const hasVectors of [false, true]) {
      const store = join(tempFiles({}), 'store');
      const opened = await Store.open(store, { create: { language: 'any', stem: false, stopWords: false } });
      const documents = ROWS.map((i) => ({ id: `d${i}`, text: `doc${i}x part${i % 5}` }));
      await indexPassages(opened, hasVectors ? retriever : other, documents, {
        ...{ model: join(out, 'model'), threads: 1 },
      });
      await opened.close();
      const found = await ask({ store });
      expect(found.text).toBe((answered as { text?: string }).text);
      expect(found.passages.map(({ id }) => id)).toEqual(passages.map(({ id }) => id));
      await expect(ask({ store, data })).rejects.toThrow(/--data and --store exclude each other/);
    }
    await retriever.dispose();

    // Without documents, with random ones, and with the judged ones.
    const nats: Record<string, number> = {};
    for (const read of ['none', 'random', 'gold'])
      nats[read] = (await runCommand(lmEvalCommand, { ...given, method, read })).json.natsPerAnswer as number;
    for (const [read, control] of Object.entries({ none: 'none', random: 'random', gold: 'oracle' }))
      expect(nats[read], read).toBeCloseTo(of(`${method}-${control}`, 'natsPerAnswer'), 5);
    await expect(runCommand(lmEvalCommand, { ...given, method: 'none', read: 'none' })).rejects.toThrow(
      /read belongs to method: 'realm' and method: 'atlas', not to none/,
    );

    const refused = (options: object) =>
      expect(runCommand(lmEvalCommand, { ...given, method, ...options })).rejects;
    await refused({ method: method === 'atlas' ? 'realm' : 'atlas' }).toThrow(/is one of (realm|atlas), not/);
    await refused({ model: join(out, 'model') }).toThrow(/is no run that has trained a reader/);
    await refused({ readSeed: '2' }).toThrow(/readSeed has no meaning without read: 'random'/);
    await refused({ window: '8' }).toThrow(/takes no .*window/);
    await refused({ task: 'text' }).toThrow(/takes no/);
  });
});
