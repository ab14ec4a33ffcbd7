import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { toyReader } from '../../../test/toy-reader.ts';
import { ToyRun } from '../../../test/toy-training.ts';
import { backward } from '../../grad/backward.ts';
import { Graph } from '../../graph/graph.ts';
import { add, div, mul, neg, sum } from '../../graph/ops.ts';
import { generateTargets } from '../../models/encoder-decoder/generate-targets.ts';
import { SequenceToSequenceModel } from '../../models/encoder-decoder/sequence-to-sequence.ts';
import { ReaderPrompt } from '../../models/language/reader-prompt.ts';
import { float32, type HostTensor, hostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { trainRetriever } from '../../train/train-retriever.ts';
import { atlas } from '../atlas.ts';
import { realm } from '../realm.ts';
import type { AskedQuery, JointReading, PromptPlaces } from './joint-form.ts';
import type { JointReader } from './joint-reader.ts';
import { openReader } from './open-reader.ts';
import { RETRIEVER_LOSSES, retrieverParts } from './retriever-loss.ts';

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const json = (path: string) => JSON.parse(readFileSync(file(path), 'utf8'));
const T5 = '../../models/encoder-decoder/fixtures/t5-untied';
// Made by tools/reference/fusion_reader_golden.py, which says what it holds.
const golden = json('fixtures/fusion.json') as {
  queries: { candidates: number[]; target: number }[];
  scores: number[][];
  temperature: number;
  readerLoss: number;
  losses: Record<string, { g: number[][]; loss: number; gradient: number[][] }>;
};
const tokens = json(`${T5}/golden.json`) as { inputIds: number[][]; targets: string[] };

const disposables: { dispose(): Promise<void> }[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const each of disposables.splice(0)) await each.dispose();
});

/** Opens the reader of the golden values, whose passages are numbers of inputs. */
async function goldenReader(options: object = {}): Promise<JointReader> {
  vi.spyOn(ReaderPrompt.prototype, 'context').mockImplementation((_, { passage }) =>
    Int32Array.from(tokens.inputIds[passage === undefined ? 1 : Number(passage)]!),
  );
  const reader = await openReader({ options: { reader: file(T5), ...options }, seed: 1 });
  disposables.push(reader);
  return reader;
}

const asked = (order = [0, 1, 2]): AskedQuery[] =>
  golden.queries.map(({ candidates, target }) => ({
    query: '',
    answer: tokens.targets[target]!,
    candidates: order.map((place) => (candidates[place]! < 0 ? undefined : String(candidates[place]))),
  }));

/** Prompts of each way of reading the candidates. */
const placesOf = (queries: readonly AskedQuery[]): Record<JointReading, PromptPlaces> => {
  const found = queries.map(({ candidates }) =>
    [...candidates.keys()].filter((k) => candidates[k] !== undefined),
  );
  const each = (read: (place: number, all: number[]) => number[]) =>
    queries.map(({ candidates }, b) =>
      candidates.map((text, place) => (text === undefined ? undefined : read(place, found[b]!))),
    );
  return {
    together: found.map((all) => [all]),
    alone: each((place) => [place]),
    without: each((place, all) => all.filter((other) => other !== place)),
  };
};

/** Runs all losses of Atlas over the candidates in an order. */
async function read(
  reader: JointReader,
  queries: readonly AskedQuery[],
  { order = [0, 1, 2], gradients = false } = {},
) {
  const graph = new Graph('fusion');
  const declared = reader.declare(graph);
  const input = (name: string, dtype: 'i64' | 'f32' | 'bool', shape: readonly (string | number)[]) =>
    graph.input(name, dtype, shape);
  const scores = input('scores', 'f32', ['queries', 'k']);
  const drawn = input('drawn', 'bool', ['queries', 'k']);
  const form = { readings: ['together', 'alone', 'without'], attention: true } as const;
  const found = reader.answers(declared, input as never, form);
  const { logProbabilities, scored } = found.answers.together;
  const readerLoss = neg(div(sum(mul(logProbabilities, scored)), sum(scored)));
  graph.output('readerLoss', readerLoss);
  graph.output('attention', found.attention!);
  const names = gradients ? [...declared.targets.keys()].slice(0, 2) : [];
  const targets = names.map((name) => declared.targets.get(name)!);
  for (const [i, own] of backward(readerLoss, targets).entries()) graph.output(`reader/${names[i]}`, own);
  for (const way of RETRIEVER_LOSSES) {
    const options = { readerTemperature: golden.temperature, marginal: 'sequence' } as const;
    const { trainingLoss } = retrieverParts(way, { scores, drawn, ...found }, options);
    graph.output(way, trainingLoss);
    if (!gradients) continue;
    graph.output(`${way}/scores`, backward(trainingLoss, [scores])[0]!);
    for (const [i, total] of backward(add(readerLoss, trainingLoss), targets).entries())
      graph.output(`${way}/total/${names[i]}`, total);
  }
  const program = await Program.compile(graph, { threads: 1 });
  disposables.push(program);
  const { feeds } = reader.feeds(queries, placesOf(queries), 'together');
  const weights = Object.entries(reader.weights).map(([name, value]) => [`reader/${name}`, value]);
  return await program.run({
    ...(Object.fromEntries(weights) as Record<string, HostTensor>),
    ...feeds,
    scores: hostTensor(
      'f32',
      [2, 3],
      Float32Array.from(golden.scores.flatMap((row) => order.map((k) => row[k]!))),
    ),
    drawn: hostTensor(
      'bool',
      [2, 3],
      Uint8Array.from(
        queries.flatMap(({ candidates }) => candidates.map((text) => Number(text !== undefined))),
      ),
    ),
  });
}

const close = (tensor: HostTensor | undefined, expected: readonly number[], by: number) =>
  expect(largestDifference(float32(tensor), Float32Array.from(expected))).toBeLessThan(by);

describe('Fusion-in-Decoder reader', () => {
  it('has the losses of plain PyTorch, with the gradient P − Q and none to the reader', async () => {
    const found = await read(await goldenReader(), asked(), { gradients: true });
    expect(scalarValue(found.readerLoss)).toBeCloseTo(golden.readerLoss, 5);
    close(
      found.attention,
      golden.losses.adist!.g.flatMap((row) => [0, 1, 2].map((k) => row[k] ?? 0)),
      1e-5,
    );
    for (const way of RETRIEVER_LOSSES) {
      const { loss, gradient } = golden.losses[way]!;
      expect(Math.abs(scalarValue(found[way]) / loss - 1), way).toBeLessThan(1e-4);
      close(found[`${way}/scores`], gradient.flat(), 1e-4);
      const names = Object.keys(found).filter((name) => name.startsWith('reader/'));
      expect(names.length).toBe(2);
      for (const name of names) {
        const own = float32(found[name]);
        expect(Math.hypot(...own), name).toBeGreaterThan(0);
        close(found[name.replace('reader/', `${way}/total/`)], [...own], 1e-6);
      }
    }
  });

  it('gives the same losses whatever the order of the passages', async () => {
    const reader = await goldenReader();
    const [straight, turned] = [
      await read(reader, asked()),
      await read(reader, asked([2, 0, 1]), { order: [2, 0, 1] }),
    ];
    for (const name of ['readerLoss', ...RETRIEVER_LOSSES])
      expect(Math.abs(scalarValue(turned[name]) / scalarValue(straight[name]) - 1), name).toBeLessThan(1e-5);
    const [a, b] = [float32(straight.attention), float32(turned.attention)];
    close(turned.attention, [a[2]!, a[0]!, a[1]!, a[5]!, a[3]!, a[4]!], 1e-5);
    expect(b[0]).not.toBe(a[0]);
  });

  it('reads the query alone where a prompt has no passage', async () => {
    const reader = await goldenReader();
    const queries: AskedQuery[] = [
      { query: '', answer: tokens.targets[0]!, candidates: ['2', undefined] },
      { query: '', answer: tokens.targets[1]!, candidates: ['3', '0'] },
    ];
    const places = {
      together: [[[]], [[0, 1]]],
      alone: [
        [[0], undefined],
        [[0], [1]],
      ],
    } as const;
    const graph = new Graph('bare');
    const input = (name: string, dtype: 'i64' | 'f32', shape: readonly (string | number)[]) =>
      graph.input(name, dtype, shape);
    const declared = reader.declare(graph);
    const { answers } = reader.answers(declared, input as never, { readings: ['together', 'alone'] });
    for (const name of ['together', 'alone'] as const)
      graph.output(name, sum(answers[name].logProbabilities, { axes: 2 }));
    const program = await Program.compile(graph, { threads: 1 });
    disposables.push(program);
    const { feeds, prompts } = reader.feeds(queries, places, 'together');
    expect(prompts).toBe(5);
    const weights = Object.entries(reader.weights).map(([name, value]) => [`reader/${name}`, value]);
    const found = await program.run({ ...(Object.fromEntries(weights) as typeof feeds), ...feeds });
    const current = await reader.current();
    disposables.push(current);
    const scores = await current.scoreAnswers(
      [[], ['3', '0'], ['2'], ['3'], ['0']].map((passages, i) => ({
        ...{ query: '', passages },
        answer: tokens.targets[[0, 1, 0, 1, 1][i]!]!,
      })),
      { threads: 1 },
    );
    const expected = scores.map((values) => values.reduce((total, value) => total + value, 0));
    close(found.together, expected.slice(0, 2), 1e-3);
    close(found.alone, [expected[2]!, 0, expected[3]!, expected[4]!], 1e-3);
  });

  it('counts operations of the encoder for inputs, and of the decoder for targets', async () => {
    const queries = asked();
    const lengths = queries.map(({ candidates }) =>
      candidates.flatMap((text) => (text === undefined ? [] : [tokens.inputIds[Number(text)]!.length])),
    );
    for (const [options, learn] of [
      [{}, 6],
      [{ readerTuning: 'lora', readerLora: 2 }, 4],
      [{ readerTuning: 'frozen' }, 2],
    ] as const) {
      const reader = await goldenReader(options);
      const { specs } = reader.tuned.model;
      const count = (is: (name: string) => boolean) =>
        specs
          .filter(({ name }) => is(name))
          .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
      const ofEncoder = count((name) => name.startsWith('encoder.'));
      const ofStates = count((name) => /decoder\..*EncDecAttention\.[kv]\./.test(name));
      const ofDecoder = count(() => true) - ofEncoder - ofStates;
      const inputs = lengths.flat().reduce((sum, each) => sum + each, 0);
      // Each target is read once with all passages, and once for each of the k places; a place without a candidate has a start token.
      const targetIds = golden.queries.map(({ target }) =>
        (reader.tuned.model as SequenceToSequenceModel).targetIds(tokens.targets[target]!),
      );
      const together = targetIds.reduce((sum, ids) => sum + 1 + ids.length, 0);
      const alone = targetIds.reduce((sum, ids, b) => sum + lengths[b]!.length * (1 + ids.length), 1);
      const all = placesOf(queries);
      const { flops } = reader.feeds(queries, { together: all.together, alone: all.alone }, 'together');
      expect(flops).toBe(
        learn * inputs * (ofEncoder + ofStates) +
          learn * together * ofDecoder +
          2 * (inputs * ofStates + alone * ofDecoder),
      );
    }
  });

  it('has adapters beside queries and values, and refuses answers without a token', async () => {
    const reader = await goldenReader({ readerTuning: 'lora', readerLora: 2 });
    const adapted = reader.specs.filter(({ name }) => name.includes('lora_')).map(({ name }) => name);
    // Queries and values of 3 layers of the encoder, and of both attentions of 2 layers of the decoder, two matrices each.
    expect(adapted.length).toBe(2 * 2 * (3 + 2 * 2));
    expect(() => reader.check({ query: 'a', answer: '', passages: [] })).toThrow(/has no token/);
  });
});

const PROMPT = '{query} {passage} {answer}';

describe('training with a Fusion-in-Decoder reader', () => {
  it.each([...RETRIEVER_LOSSES, 'realm'] as const)('%s: the loss of the reader falls', async (way) => {
    const run = await ToyRun.begin(way === 'realm' ? realm : atlas, {
      options: {
        ...{ reader: await toyReader(), readerPrompt: PROMPT, candidates: 3, readerLr: 0.02 },
        ...(way !== 'realm' && { retrieverLoss: way, readerTemperature: 1 }),
      },
      learningRate: 0.03,
    });
    disposables.push(run);
    const reports = await run.train(12);
    const mean = (from: number, name: string) =>
      reports.slice(from, from + 4).reduce((all, { metrics }) => all + metrics[name]!, 0);
    const name = way === 'realm' ? 'answerNats' : 'readerLoss';
    expect(mean(8, name)).toBeLessThan(0.9 * mean(0, name));
    expect(run.spent().readerPassages).toBe(12 * 8 * (way === 'adist' ? 1 : 4));
  });

  it('refuses attention of a part of the candidates', async () => {
    const options = {
      reader: await toyReader(),
      retrieverLoss: 'adist',
      candidates: 3,
      readerPassages: 2,
    } as const;
    await expect(ToyRun.begin(atlas, { options })).rejects.toThrow(
      /candidates that are not read get no attention/,
    );
  });

  it('writes by a mixture of prompts', async () => {
    const opened = await openReader({
      options: { reader: await toyReader(), readerPrompt: PROMPT },
      seed: 1,
    });
    const current = await opened.current();
    disposables.push(current, opened);
    const settings = { tokens: 6, threads: 1 };
    const prompts = ['doc3x doc1x', 'ask4y part2 doc9x', 'part1'].map((passage) => ({
      ...{ query: 'ask1y part2', passages: [passage] },
    }));
    const alone = await current.write(prompts, settings);
    const mixed = (some: readonly number[], shares: readonly number[]) =>
      current.writeMixed!(
        some.map((i) => prompts[i]!),
        { ...settings, logWeights: shares.map(Math.log), weights: 'posterior' },
      );
    expect(await mixed([0, 0], [0.5, 0.5])).toBe(alone[0]);
    for (const i of prompts.keys())
      expect(
        await mixed(
          [0, 1, 2],
          [0, 1, 2].map((j) => (j === i ? 1 - 2e-12 : 1e-12)),
        ),
      ).toBe(alone[i]);
  });

  it('saves the reader, resumes to the same bytes, and measures answers', async () => {
    const record = (i: number) => ({
      query: `ask${i}y part${i % 5}`,
      positive: `doc${i}x part${i % 5}`,
      answers: [`doc${i}x`],
    });
    const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
    const data = { pairs: range(0, 12), dev: range(12, 17) };
    const settings = {
      ...{ data, reader: await toyReader(), readerPrompt: PROMPT, candidates: 3, readerLr: 0.01, steps: 4 },
      ...{ batchSize: 4, evalEvery: 2, threads: 1, refresh: 'every:2', readerAnswerTokens: 4, hidden: 16 },
      ...({ method: 'atlas', retrieverLoss: 'adist', evalMetric: 'answerLogLikelihood' } as const),
    } as const;
    const files = ['model/model.safetensors', 'reader/model.safetensors', 'checkpoint/optimizer.safetensors'];
    const bytes = (out: string) => files.map((each) => readFileSync(join(out, each)).toString('hex'));
    const whole = join(tempFiles({}), 'run');
    const evaluations: Readonly<Record<string, number>>[] = [];
    await trainRetriever(
      { ...settings, out: whole },
      { onEvaluation: ({ metrics }) => evaluations.push(metrics) },
    );
    expect(evaluations[0]).toHaveProperty('exactMatch');
    const out = join(tempFiles({}), 'run');
    const abort = new AbortController();
    const stopped = trainRetriever(
      { ...settings, out },
      { signal: abort.signal, onStep: ({ step }) => step === 3 && abort.abort() },
    );
    await expect(stopped).rejects.toThrow(/stopped after step 3/);
    await trainRetriever({ ...settings, out, resume: true });
    expect(bytes(out)).toEqual(bytes(whole));
    const saved = await SequenceToSequenceModel.load(join(out, 'reader'));
    disposables.push(saved);
    const [written] = await generateTargets(saved, [['doc1x part2']], { tokens: 3, threads: 1 });
    expect(typeof written!.text).toBe('string');
  });
});
