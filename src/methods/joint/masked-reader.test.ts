import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { toyMaskedReader } from '../../../test/toy-reader.ts';
import { ToyRun } from '../../../test/toy-training.ts';
import { loadData } from '../../data/load.ts';
import { backward } from '../../grad/backward.ts';
import { Graph } from '../../graph/graph.ts';
import { candidateMarginal, type Marginal } from '../../losses/candidate-marginal.ts';
import { MaskedLanguageModel } from '../../models/masked/masked-language-model.ts';
import { MaskedPrompt } from '../../models/masked/masked-prompt.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { evaluateJointRun } from '../../train/language-methods/evaluate-joint.ts';
import { trainRetriever } from '../../train/train-retriever.ts';
import { atlas } from '../atlas.ts';
import { realm } from '../realm.ts';
import type { AskedQuery } from './joint-form.ts';
import { openReader } from './open-reader.ts';

const BERT = fileURLToPath(new URL('../../models/masked/fixtures/bert', import.meta.url));
/** Made by tools/reference/masked_language_model_golden.py, which says what it holds. */
const golden = JSON.parse(readFileSync(new URL('fixtures/masked.json', import.meta.url), 'utf8')) as {
  queries: { query: string; answer: string; candidates: (string | null)[]; absent: number[] }[];
  scores: number[][];
  losses: Record<Marginal, { loss: number; scores: number[][]; reader: Record<string, number[]> }>;
};

const disposables: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0)) await each.dispose();
});

describe('masked language model as a reader', () => {
  it.each(['sequence', 'token'] as const)(
    '%s marginal: the loss and gradients of plain PyTorch',
    async (marginal) => {
      const reader = await openReader({ options: { reader: BERT }, seed: 1 });
      disposables.push(reader);
      const graph = new Graph('masked');
      const declared = reader.declare(graph);
      const input = (name: string, dtype: 'i64' | 'f32' | 'bool', shape: readonly (string | number)[]) =>
        graph.input(name, dtype, shape);
      const scores = input('scores', 'f32', ['queries', 'k']);
      const allowed = input('drawn', 'bool', ['queries', 'k']);
      const { answers } = reader.answers(declared, input as never, { readings: ['alone'] });
      const { loss } = candidateMarginal(scores, answers.alone.logProbabilities, { allowed, marginal });
      const expected = golden.losses[marginal];
      // The encoder has its own names, those of the file have a prefix.
      const own = Object.fromEntries(
        Object.keys(expected.reader).map((name) => [name.replace(/^bert\./, ''), name]),
      );
      const targets = Object.keys(own).map((name) => declared.targets.get(`reader/${name}`)!);
      const [ofScores, ...ofReader] = backward(loss, [scores, ...targets]);
      graph.output('loss', loss);
      graph.output('ofScores', ofScores!);
      for (const [i, name] of Object.keys(own).entries()) graph.output(name, ofReader[i]!);
      const program = await Program.compile(graph, { threads: 1 });
      disposables.push(program);
      const queries = golden.queries.map(
        ({ absent, candidates, ...query }): AskedQuery => ({
          ...query,
          candidates: candidates.map((text, place) => (absent.includes(place) ? undefined : text)),
        }),
      );
      const alone = queries.map(({ candidates }) =>
        candidates.map((text, place) => (text === undefined ? undefined : [place])),
      );
      const { feeds, prompts, tokens, flops } = reader.feeds(queries, { alone }, 'alone');
      expect(prompts).toBe(5);
      const parameters = Object.values(reader.weights).reduce((sum, { data }) => sum + data.length, 0);
      expect(flops).toBe(6 * tokens * parameters);
      const drawn = queries.flatMap(({ candidates }) => candidates.map((text) => Number(text !== undefined)));
      const weights = Object.entries(reader.weights).map(([name, value]) => [`reader/${name}`, value]);
      const found = await program.run({
        ...(Object.fromEntries(weights) as Record<string, HostTensor>),
        ...feeds,
        scores: hostTensor('f32', [2, 3], Float32Array.from(golden.scores.flat())),
        drawn: hostTensor('bool', [2, 3], Uint8Array.from(drawn)),
      });
      expect(scalarValue(found.loss)).toBeCloseTo(expected.loss, 4);
      const close = (name: string, values: readonly number[]) =>
        expect(largestDifference(float32(found[name]), Float32Array.from(values)), name).toBeLessThan(2e-5);
      close('ofScores', expected.scores.flat());
      for (const [name, stored] of Object.entries(own)) close(name, expected.reader[stored]!);
    },
  );

  it.each([realm, atlas])('$id: the loss of the reader falls', async (method) => {
    const run = await ToyRun.begin(method, {
      options: { reader: await toyMaskedReader(), candidates: 3, readerLr: 0.02 },
      learningRate: 0.03,
    });
    disposables.push(run);
    const reports = await run.train(12);
    const name = method === realm ? 'answerNats' : 'readerLoss';
    const mean = (from: number) =>
      reports.slice(from, from + 4).reduce((all, { metrics }) => all + metrics[name]!, 0);
    expect(mean(8)).toBeLessThan(0.9 * mean(0));
  });

  it('has adapters beside queries and values, and no attention for adist', async () => {
    const reader = await openReader({
      options: { reader: BERT, readerTuning: 'lora', readerLora: 2 },
      seed: 1,
    });
    disposables.push(reader);
    expect(reader.specs.filter(({ name }) => name.includes('lora_')).length).toBe(2 * 2 * 2);
    await expect(
      ToyRun.begin(atlas, {
        options: { reader: await toyMaskedReader(), retrieverLoss: 'adist', candidates: 3 },
      }),
    ).rejects.toThrow(/masked language model, which has no cross-attention/);
  });

  it('fills in as many masks as have the best mean log-probability, where no answer is given', async () => {
    const reader = await openReader({ options: { reader: BERT }, seed: 1 });
    disposables.push(reader);
    const [current, model] = [await reader.current(), await MaskedLanguageModel.load(BERT)];
    disposables.push(current, model);
    const query = 'the ___ sat on the mat.';
    const [written, told] = await Promise.all([
      current.write([{ query, passages: ['a red house'] }], { tokens: 3, threads: 1 }),
      current.write([{ query, passages: ['a red house'], answer: 'red house' }], { tokens: 3, threads: 1 }),
    ]);
    const tried = await Promise.all(
      [1, 2, 3].map(async (masks) => {
        const sequence = new MaskedPrompt().masked(model, { query, passage: 'a red house' }, masks);
        const [filled] = await model.fill([sequence], { threads: 1 });
        const [scores] = await model.scoreTokens([{ ...sequence, answer: filled! }], { threads: 1 });
        const mean = scores!.reduce((sum, value) => sum + value, 0) / masks;
        return { mean, text: model.tokenizer.decode(filled!).trim() };
      }),
    );
    expect(told).toEqual([tried[1]!.text]);
    expect(written).toEqual([tried.reduce((best, each) => (each.mean > best.mean ? each : best)).text]);
    expect(new Set(tried.map(({ text }) => text)).size).toBe(3);
    for (const [name, settings] of Object.entries({ temperature: { temperature: 1 }, stop: { stop: ['a'] } }))
      await expect(current.write([{ query, passages: [] }], { tokens: 3, ...settings })).rejects.toThrow(
        `${name}: a masked language model fills in the likeliest tokens`,
      );
  });

  it('saves the reader, resumes to the same bytes, and answers by lm eval', async () => {
    const record = (i: number) => ({
      query: `ask${i}y ___ part${i % 5}`,
      positive: `doc${i}x part${i % 5}`,
      answers: [`doc${i}x`],
    });
    const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
    const data = { pairs: range(0, 12), dev: range(12, 17) };
    const settings = {
      ...{ data, reader: await toyMaskedReader(), candidates: 3, readerLr: 0.01, steps: 4, method: 'realm' },
      ...{ batchSize: 4, evalEvery: 2, threads: 1, refresh: 'async:2:wait', hidden: 16 },
      evalMetric: 'answerLogLikelihood',
    } as const;
    const files = ['model/model.safetensors', 'reader/model.safetensors', 'checkpoint/optimizer.safetensors'];
    const bytes = (out: string) => files.map((each) => readFileSync(join(out, each)).toString('hex'));
    const whole = join(tempFiles({}), 'run');
    const result = await trainRetriever({ ...settings, out: whole });
    const out = join(tempFiles({}), 'run');
    const abort = new AbortController();
    const stopped = trainRetriever(
      { ...settings, out },
      { signal: abort.signal, onStep: ({ step }) => step === 3 && abort.abort() },
    );
    await expect(stopped).rejects.toThrow(/stopped after step 3/);
    await trainRetriever({ ...settings, out, resume: true });
    expect(bytes(out)).toEqual(bytes(whole));
    disposables.push(await MaskedLanguageModel.load(join(out, 'reader')));
    const lines = (records: object[]) => records.map((each) => JSON.stringify(each)).join('\n');
    const folder = tempFiles({
      'corpus.jsonl': lines(data.dev.map(({ positive }, i) => ({ _id: `d${i}`, text: positive }))),
      'queries.jsonl': lines(data.dev.map(({ query }, i) => ({ _id: `q${i}`, text: query }))),
      'answers.jsonl': lines(data.dev.map(({ answers }, i) => ({ _id: `q${i}`, answers }))),
      'qrels/test.tsv': `query-id\tcorpus-id\tscore\n${data.dev.map((_, i) => `q${i}\td${i}\t1`).join('\n')}\n`,
    });
    const read = await loadData(folder, { answers: true, splits: ['test'] });
    const answered = await evaluateJointRun(whole, read, { method: 'realm', split: 'test', threads: 1 });
    expect(answered.questions.map(({ id }) => id)).toEqual(['q0', 'q1', 'q2', 'q3', 'q4']);
    expect(answered.natsPerAnswer).toBeGreaterThan(0);
    expect(answered.exactMatch).toBeGreaterThanOrEqual(0);
    expect(Number.isFinite(result.best.value)).toBe(true);
  });
});

describe('openReader', () => {
  it('lists the kinds of readers for a model of another kind', async () => {
    const folder = tempFiles({ 'config.json': '' });
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ model_type: 'clip' }));
    await expect(openReader({ options: { reader: folder }, seed: 1 })).rejects.toMatchObject({
      message: expect.stringMatching(/of the type "clip", which reads no passages/),
      help: expect.stringMatching(
        /causal language models \(gpt2, llama, .*encoder-decoders \(t5\) and masked language models \(bert, /,
      ),
    });
  });
});
