import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { undrift } from '../../../test/robustness/drills.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { TEST_COMPUTE } from '../../../test/test-device.ts';
import { tokenizeCorpus } from '../../data/token-corpus.ts';
import { readSafetensors } from '../../io/safetensors.ts';
import { createLanguageModel } from '../../models/language/create-language-model.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { saveLanguageModel } from '../../models/language/save-language-model.ts';
import { initialValue } from '../../nn/parameters.ts';
import { lexicalGrader } from '../../rlm/chunk-grades.ts';
import { documentSegments } from '../../rlm/evaluate-text.ts';
import { loadRpt, RptModel } from '../../rlm/rpt.ts';
import { RptSystem } from '../../rlm/rpt-system.ts';
import { float32, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { normal, permutation, randomInts, rngKey } from '../../util/rng.ts';
import { InterruptedError, type TrainCallbacks } from '../callbacks.ts';
import { longBatcher } from '../language-model/window-batcher.ts';
import { LongTexts } from './long-texts.ts';
import type { RptTrainOptions } from './options.ts';
import { RptBatches } from './rpt-batches.ts';
import { rptTrainingGraph } from './rpt-subject.ts';
import { RptSchedules } from './schedules.ts';
import { trainRpt } from './train-rpt.ts';

const WORDS = Array.from({ length: 26 }, (_, i) => `w${String.fromCharCode(97 + i)}`);

/** Documents of blocks of eight random words, each of which comes again, in another order, after all others. */
function documents(count: number, seed: number): { id: string; text: string }[] {
  const draws = new Int32Array(8);
  return Array.from({ length: count }, (_, d) => {
    const blocks = Array.from({ length: 4 }, (_, b) => {
      randomInts(rngKey(seed, 10 * d + b, 'words'), WORDS.length, draws);
      return Array.from(draws, (word) => ` ${WORDS[word]}`).join('');
    });
    const order = permutation(rngKey(seed, d, 'order'), blocks.length);
    return { id: `${seed}-${d}`, text: [...blocks, ...Array.from(order, (b) => blocks[b]!)].join('') };
  });
}
const root = tempFiles();
const at = (...names: string[]) => join(root, ...names);
const BASE = at('base');
beforeAll(async () => {
  const texts = documents(40, 9).map(({ text }) => text);
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary(texts, { model: 'bpe', purpose: 'decoder', vocabSize: 340 }),
  );
  const shape = { hidden: 16, layers: 2, heads: 2, maxTokens: 32, seed: 1 };
  await saveLanguageModel(BASE, createLanguageModel({ kind: 'llama', tokenizer, ...shape }));
});
const OPTIONS = {
  model: BASE,
  data: { texts: documents(24, 1) },
  evalData: { texts: documents(4, 2) },
  ...{ chunkTokens: 4, window: 12, stride: 8, chunkCandidates: 4 },
  ...{ steps: 8, batchSize: 4, evalEvery: 4, lr: 0.01, baseLr: 0.001, seed: 3, threads: 1 },
} satisfies Omit<RptTrainOptions, 'out'>;
const train = (name: string, options: Partial<RptTrainOptions> = {}, callbacks: TrainCallbacks = {}) =>
  trainRpt({ ...OPTIONS, out: at(name), ...options }, callbacks);
const FILES = [
  ...['model', 'rpt'].map((part) => `model/${part}.safetensors`),
  ...['parameters', 'optimizer'].map((part) => `checkpoint/${part}.safetensors`),
];
const weightsOf = async (name: string, part: string) =>
  (await readSafetensors(at(name, 'model', `${part}.safetensors`))).tensors;

describe('a run', () => {
  beforeAll(async () => {
    const { settings, best, ledger, parameters } = await train('whole');
    expect(settings).toMatchObject({
      ...{ method: 'rpt', retrieval: 'learned', labels: 'semantic', sequence: 192 },
      reference: BASE,
    });
    expect(best.value).toBeGreaterThan(1);
    expect(ledger.trainingTokens).toBeGreaterThan(1000);
    expect(parameters).toBeGreaterThan(1000);
  }, 60_000);

  it('is the same to the byte when it was stopped while it graded and trained, and resumed', async () => {
    const graded = new AbortController();
    const stopGrading = {
      signal: graded.signal,
      onProgress: ({ stage, done }: { stage: string; done: number }) =>
        stage === 'neighbours' && done === 20 && graded.abort(),
    };
    await expect(train('resumed', {}, stopGrading as never)).rejects.toThrow(InterruptedError);
    const trained = new AbortController();
    const onStep = ({ step }: { step: number }) => step === 5 && trained.abort();
    await expect(
      train('resumed', { resume: true }, { onStep, signal: trained.signal } as never),
    ).rejects.toThrow(InterruptedError);
    await train('resumed', { resume: true });
    for (const file of FILES)
      expect(readFileSync(at('resumed', file)).equals(readFileSync(at('whole', file))), file).toBe(true);
  });

  it('trains all parts, and writes a model that loads', async () => {
    const { base, wing, weights } = await loadRpt(at('whole', 'model'));
    const given = await LanguageModel.load(BASE);
    for (const spec of wing.specs) {
      const initial = initialValue(spec, OPTIONS.seed);
      expect(float32(weights[spec.name]), spec.name).not.toEqual(initial);
    }
    for (const name of Object.keys(base.weights))
      expect(float32(base.weights[name]), name).not.toEqual(float32(given.weights[name]));
    await base.dispose();
    await given.dispose();
    expect(readFileSync(at('whole', 'model', 'README.md'), 'utf8')).toContain('retrieves itself');
  });

  it('leaves the retriever as it is without a ranking loss, and the base with a rate of 0', async () => {
    await train('unranked', { rankWeight: 0, baseLr: 0, evalData: undefined });
    const found = await weightsOf('unranked', 'rpt');
    const initial = RptModel.create(await LanguageModel.load(BASE), { chunkTokens: 4 }, { seed: 3 });
    for (const name of ['query', 'key'].map((side) => `rpt.retriever.${side}.weight`))
      expect(float32(found[name])).toEqual(float32(initial.weights[name]));
    expect(float32(found['rpt.gate.weight'])).not.toEqual(float32(initial.weights['rpt.gate.weight']));
    const given = await readSafetensors(join(BASE, 'model.safetensors'));
    const base = await weightsOf('unranked', 'model');
    for (const [name, { data }] of Object.entries(base))
      expect(data, name).toEqual(given.tensors[name]!.data);
  });
});

it('ends with the same bytes after it was killed in the middle of its grades, and resumed', async () => {
  const data = at('killed.jsonl');
  writeFileSync(
    data,
    documents(12, 7)
      .map((each) => JSON.stringify(each))
      .join('\n'),
  );
  const shape = { 'chunk-tokens': 4, window: 12, stride: 8, 'chunk-candidates': 4 };
  const flags = { method: 'rpt', model: BASE, data, steps: 3, lr: 0.01, ...shape };
  const words = (out: string) => [
    ...['lm', 'train', '--out', out, '--threads', '1'],
    ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]),
  ];
  const log = at('operations.log');
  expect(await undrift(root, words('uninterrupted'), { at: 0, log })).toMatchObject({ code: 0 });
  // Grades of 32 chunks are written together: half of the second write reaches the disk.
  const operations = readFileSync(log, 'utf8').split('\n');
  const writes = [...operations.keys()].filter((i) => /^open .*\.scores$/.test(operations[i]!));
  expect(writes.length).toBeGreaterThan(2);
  expect((await undrift(root, words('killed'), { at: writes[1]! + 2, half: true })).code).toBe(null);
  expect(existsSync(at('killed', 'checkpoint', 'state.json'))).toBe(false);
  const sizes = (out: string) =>
    readdirSync(at(out, 'scores')).map((name) => statSync(at(out, 'scores', name)).size);
  const [whole] = sizes('uninterrupted');
  const [kept] = sizes('killed');
  expect(kept).toBeGreaterThan(0.3 * whole!);
  expect(kept).toBeLessThan(0.7 * whole!);

  // Settings are written when training begins, so that the command is given again as a whole.
  expect(await undrift(root, [...words('killed'), '--resume'])).toMatchObject({ code: 0 });
  // Chunks whose grades were kept are not graded again; the record that was cut short is.
  const added = sizes('killed').reduce((sum, size) => sum + size, 0) - kept!;
  expect(added).toBeLessThan(0.7 * whole!);
  expect(added + kept!).toBeGreaterThanOrEqual(whole!);
  for (const file of FILES)
    expect(readFileSync(at('killed', file)).equals(readFileSync(at('uninterrupted', file))), file).toBe(true);
}, 240_000);

it('each arm trains other weights, and none that it has no use for', async () => {
  const seen = new Set<string>();
  const arms: Partial<RptTrainOptions>[] = [
    { labels: 'lexical' },
    { labels: 'lexical', gates: false },
    { labels: 'lexical', sampling: 'gold' },
    { retrieval: 'oracle' },
    { retrieval: 'bm25', chunkCandidates: undefined },
    { retrieval: 'random', chunkCandidates: undefined },
    { retrieval: 'none', chunkCandidates: undefined, lr: undefined },
  ];
  for (const [i, arm] of arms.entries()) {
    await train(`arm-${i}`, { ...arm, steps: 4, evalData: undefined });
    seen.add(readFileSync(at(`arm-${i}`, 'model', 'rpt.safetensors')).toString('base64'));
  }
  expect(seen.size).toBe(arms.length);
  const initial = RptModel.create(await LanguageModel.load(BASE), { chunkTokens: 4 }, { seed: 3 });
  for (const [name, { data }] of Object.entries(await weightsOf('arm-6', 'rpt')))
    expect(data, name).toEqual(initial.weights[name]!.data);
}, 60_000);

it('the retriever learns to find what came before', async () => {
  const learning = { labels: 'lexical', rankWeight: 5, rankWarmup: 0, rankMargin: 1 } as const;
  const data = { texts: documents(120, 4) };
  await train('learning', { ...learning, data, steps: 90, lr: 0.02, baseLr: 0.003, evalData: undefined });
  const rpt = await loadRpt(at('learning', 'model'));
  const found: Record<string, number> = {};
  for (const retrieval of ['learned', 'random'] as const) {
    let [right, all] = [0, 0];
    const system = new RptSystem(rpt, {
      retrieval,
      onChosen({ document, chunk, neighbours }) {
        const text = tokensOf.get(document!)!;
        const words = (each: number) => text.subarray(4 * each, 4 * each + 4).join();
        const same = [...Array(chunk).keys()].find((each) => words(each) === words(chunk));
        if (same === undefined) return;
        all += 1;
        right += Number(neighbours.includes(same));
      },
    });
    const { tokenizer } = rpt.base;
    const tokensOf = new Map<string, Int32Array>();
    for (const { id, text } of documents(8, 6)) {
      tokensOf.set(id, Int32Array.from([...tokenizer.wrapper.before, ...tokenizer.encodeRaw(text)]));
      const windows = { window: OPTIONS.window, stride: OPTIONS.stride };
      await system.score(documentSegments({ model: rpt.base }, { id, text }, windows).segments, TEST_COMPUTE);
    }
    await system.dispose();
    expect(all).toBeGreaterThan(20);
    found[retrieval] = right / all;
  }
  await rpt.base.dispose();
  // Measured: 0.67 learned, 0.26 random.
  expect(found.learned).toBeGreaterThan(2 * found.random!);
}, 120_000);

it.each<[Partial<RptTrainOptions>, RegExp]>([
  [{ window: 14 }, /window: 14 must be a multiple of chunkTokens: 4, from 8 to 32/],
  [{ stride: 16 }, /stride: 16 must be a multiple of chunkTokens: 4, from 4 to 12/],
  [{ chunkTokens: 20, window: undefined }, /the model reads 32 tokens, less than two chunks of 20/],
  [
    { chunkTokens: 10, window: 20, stride: 10 },
    /reference model reads 32 tokens, less than four chunks of 10/,
  ],
  [{ retrieval: 'bm25', rankWeight: 2 }, /rankWeight has no meaning with retrieval: 'bm25'/],
  [{ reference: '/no/such/folder' }, /^reference \/no\/such\/folder: no such folder/],
  [{ labels: 'lexical', reference: BASE }, /reference has no meaning with labels: 'lexical'/],
  [{ gates: false, gateFloor: 0.2 }, /gateFloor has no meaning with gates: false/],
  [
    { retrieval: 'none', baseLr: 0, lr: undefined },
    /nothing is trained with retrieval: 'none' and baseLr: 0/,
  ],
  [{ retrieval: 'none' }, /lr has no meaning with retrieval: 'none', where no parts are added/],
  [{ retrieval: 'none', lr: undefined, chunkNeighbours: 3 }, /chunkNeighbours has no meaning/],
  [{ rankWeight: 0, rankMargin: 3 }, /rankMargin has no meaning with rankWeight: 0/],
  [
    { data: { texts: [{ id: 'a', text: ' wa wb wc wd' }] } },
    /no document is long enough to retrieve from itself/,
  ],
])('refuses %j', async (options, message) => {
  await expect(train('refused', { chunkCandidates: undefined, ...options })).rejects.toThrow(message);
});

describe('long texts', () => {
  let model: LanguageModel;
  let rpt: RptModel;
  let texts: LongTexts;
  const SHAPE = { chunkTokens: 4, window: 12, stride: 8 };
  const all = [...documents(3, 5), { id: 'short', text: ' wa wb wc wd' }];
  beforeAll(async () => {
    model = await LanguageModel.load(BASE);
    rpt = RptModel.create(model, SHAPE);
    for (const { name } of rpt.wing.specs) normal(rngKey(5, 0, name), float32(rpt.weights[name]));
    texts = await textsOf(44);
  });
  afterAll(() => model.dispose());
  const textsOf = async (sequence: number) => {
    const { tokenizer } = model;
    const corpus = await tokenizeCorpus(all, tokenizer);
    return new LongTexts(corpus, { tokenizer, config: rpt.wing.config, sequence });
  };

  it('predict every token once, in windows that follow one another', () => {
    // A document of 64 words and a start token is a sequence of 44 and one of 21 tokens, of which the last window begins behind two chunks. The short one has none.
    expect(texts.count).toBe(6);
    expect(texts.left).toBe(1);
    expect(texts.tokens).toBe(3 * 65);
    for (let sequence = 0; sequence < texts.count; sequence++) {
      const windows = texts.windows(sequence);
      const predicted = windows.flatMap(({ start, from, ids }) =>
        Array.from({ length: ids.length - from }, (_, i) => start + from + i),
      );
      expect(predicted).toEqual([...Array(sequence % 2 === 0 ? 44 : 21).keys()].slice(1));
      for (const [i, { start }] of windows.entries()) expect(start).toBe(8 * i);
      for (const { chunk, among } of texts.chunks(sequence)) {
        const start = 8 * windows.findIndex(({ start, ids }) => start + ids.length >= 4 * (chunk + 1));
        expect(among).toBe(Math.max(0, start / 4 - 1));
      }
    }
  });

  it('allow the same neighbours in a batch: of the same text, with their successors before the window', async () => {
    const batches = await batchesOf('scheduled');
    const batch = batches.batch(
      texts.sequences.map((_, i) => i),
      0,
    );
    const chunks = [...Array(texts.count).keys()].flatMap((sequence) =>
      texts.chunks(sequence).map((each) => ({ sequence, ...each })),
    );
    const C = chunks.length;
    const { dims, data } = batch.feeds['chunks/allowed']!;
    expect(dims).toEqual([C, C]);
    for (const [i, row] of chunks.entries())
      for (const [j, column] of chunks.entries()) {
        const isAllowed = row.sequence === column.sequence && column.chunk < row.among;
        expect(data[i * C + j]).toBe(Number(isAllowed));
      }
  });

  async function batchesOf(sampling: 'scheduled' | 'predicted', of = texts): Promise<RptBatches> {
    const grader = lexicalGrader(4);
    const grades = [...Array(of.count).keys()].map((sequence) =>
      Promise.all(
        of.chunks(sequence).map(({ chunk, among }) => grader.grade(of.text(sequence), chunk, among)),
      ),
    );
    const settings = { rankWeight: 1, rankWarmup: 0.5, rankMargin: 2, sampling };
    return new RptBatches(
      of,
      { grades: await Promise.all(grades) },
      { config: rpt.wing.config, seed: 1, schedules: new RptSchedules(settings, 10) },
    );
  }

  it('have in training the loss of a system that reads them window by window', async () => {
    const program = await Program.compile(
      rptTrainingGraph(rpt, { frozenBase: false, frozenRetriever: false }, {}),
      TEST_COMPUTE,
    );
    const whole = await textsOf(65);
    const [first] = longBatcher(whole.sequences, { batchSize: 3, seed: 1 }).batches(0);
    const { feeds } = (await batchesOf('predicted', whole)).batch(first!, 0);
    const outputs = await program.run({ ...rpt.weights, ...feeds });
    await program.dispose();
    const system = new RptSystem(rpt);
    const segments = all
      .slice(0, 3)
      .flatMap((document) => documentSegments({ model }, document, SHAPE).segments);
    const scores = (await system.score(segments, TEST_COMPUTE)).flatMap((each) => [...each]);
    await system.dispose();
    expect(scores).toHaveLength(3 * 64);
    const mean = scores.reduce((sum, each) => sum - each, 0) / scores.length;
    expect(scalarValue(outputs.languageLoss)).toBeCloseTo(mean, 4);
    expect(scalarValue(outputs.rankLoss)).toBeGreaterThan(0);
  });

  it('read gold neighbours by chance, with the seed and the batch', async () => {
    const shares = [0, 2, 4, 6, 9].map(async (draw) => {
      const { feeds } = (await batchesOf('scheduled')).batch(
        texts.sequences.map((_, i) => i),
        draw,
      );
      return (feeds['given/isRead']!.data as Float32Array).reduce((sum, each) => sum + each, 0);
    });
    const found = await Promise.all(shares);
    expect(found[0]).toBeGreaterThan(found[3]!);
    expect(found[4]).toBe(0);
  });
});

it('schedules rise and fall as they should', () => {
  const settings = { rankWeight: 2, rankWarmup: 0.2, rankMargin: 3 };
  const of = (sampling: 'scheduled' | 'gold' | 'predicted') =>
    new RptSchedules({ ...settings, sampling }, 101);
  const { rankWeight, rankMargin, goldShare } = {
    rankWeight: (batch: number) => of('scheduled').rankWeight(batch),
    rankMargin: (batch: number) => of('scheduled').rankMargin(batch),
    goldShare: (batch: number) => of('scheduled').goldShare(batch),
  };
  expect([0, 10.1, 20.3, 100].map(rankWeight)).toEqual([0, expect.closeTo(1, 10), 2, 2]);
  expect([0, 50, 100].map(rankMargin)).toEqual([1, 2, 3]);
  expect(goldShare(0)).toBe(1);
  expect(goldShare(0.45 * 101)).toBeCloseTo(0.5, 10);
  expect(goldShare(91)).toBe(0);
  expect([of('gold').goldShare(100), of('predicted').goldShare(0)]).toEqual([1, 0]);
  expect(new RptSchedules({ ...settings, rankWarmup: 0, sampling: 'gold' }, 1).rankWeight(0)).toBe(2);
});
