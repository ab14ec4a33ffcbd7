import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { loadRetriever } from '../../models/folder/model-folder.ts';
import { MaskedLanguageModel } from '../../models/masked/masked-language-model.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { InterruptedError, type ReportedStep, type TrainCallbacks } from '../callbacks.ts';
import { trainNpm } from '../npm/train-npm.ts';
import type { MaskedTrainOptions } from './options.ts';
import { trainMasked } from './train-masked.ts';

type Evaluation = Parameters<NonNullable<TrainCallbacks['onEvaluation']>>[0];
const WORDS = ['cat', 'dog', 'river', 'stone', 'house', 'child', 'bird', 'tree', 'road', 'night'];
/** Documents of two words in turn. A masked word follows from the words around it. */
const DOCUMENTS = Array.from({ length: 60 }, (_, d) => {
  const [a, b] = permutation(rngKey(3, d, 'own'), WORDS.length);
  return { id: `d${d}`, text: `${WORDS[a!]} ${WORDS[b!]} `.repeat(22) };
});
const root = tempFiles({ 'texts.jsonl': DOCUMENTS.map((each) => JSON.stringify(each)).join('\n') });
const at = (...names: string[]) => join(root, ...names);
const OPTIONS = {
  data: at('texts.jsonl'),
  ...{ hidden: 64, layers: 2, heads: 2, vocabSize: 100, window: 24, batchSize: 16 },
  ...{ steps: 200, lr: 0.003, evalEvery: 100, warmup: 0.1, threads: 1 },
} as const;
const train = (name: string, options: Partial<MaskedTrainOptions> = {}, callbacks: TrainCallbacks = {}) =>
  trainMasked({ ...OPTIONS, out: at(name), ...options }, callbacks);
/** Options of a new model, left to their defaults where a model is given. */
const NO_SHAPE = { hidden: undefined, layers: undefined, heads: undefined, vocabSize: undefined };
const FILES = [
  'model/model.safetensors',
  ...['parameters', 'optimizer'].map((part) => `checkpoint/${part}.safetensors`),
];
const bytes = (name: string, file: string) => readFileSync(at(name, file));

describe('a new model', () => {
  const losses: number[] = [];
  const notes: string[] = [];
  beforeAll(async () => {
    const { settings, ledger } = await train(
      'new',
      {},
      {
        onNote: (note) => notes.push(note),
        onEvaluation: ({ metrics }: Evaluation) => losses.push(metrics.maskedLoss!),
      },
    );
    expect(settings).toMatchObject({ method: 'masked', model: 'bert', maskShare: 0.15, batchSize: 16 });
    expect(ledger.trainingTokens).toBeGreaterThan(200 * 16 * 20);
  }, 60_000);

  it('learns to tell a token from those around it', () => {
    // Ten words are equally frequent: log 10 is the loss of a model that reads nothing.
    expect(losses.at(-1)).toBeLessThan(0.5 * Math.log(WORDS.length));
    expect(notes.join('\n')).toMatch(/60 documents in \d+ pieces; .* parameters, 200 steps of 16 pieces/);
  });

  it('is a masked language model that loads, and from which other models start', async () => {
    const model = await MaskedLanguageModel.load(at('new', 'model'));
    const { before, after } = model.tokenizer.wrapper;
    const words = model.tokenizer.encodeRaw('cat dog cat [MASK] cat dog cat dog');
    const ids = Int32Array.of(...before, ...words, ...after);
    const place = ids.indexOf(model.maskId);
    const [filled] = await model.fill([
      { ids, types: new Int32Array(ids.length), places: Int32Array.of(place), answer: Int32Array.of(0) },
    ]);
    expect(model.tokenizer.decode(filled!).trim()).toBe('dog');
    await model.dispose();
    const encoder = await loadRetriever(at('new', 'model'));
    expect(encoder.encoder.maxTokens).toBe(24);
    await encoder.dispose();
    const { settings } = await trainNpm({
      ...{ data: at('texts.jsonl'), model: at('new', 'model'), out: at('npm'), steps: 1 },
      ...{ window: 24, batchSize: 4, evalData: 'none', threads: 1 },
    });
    expect(settings.vocabSize).toBe(null);
  });

  it('starts from an encoder without a head for masks with a new head, by the seed, and says so', async () => {
    const said: string[] = [];
    const short = { model: at('npm', 'model'), steps: 2, evalData: 'none' } as const;
    const onNote = (note: string) => said.push(note);
    for (const [name, seed] of [
      ['head', 5],
      ['head-again', 5],
      ['head-other', 6],
    ] as const)
      await train(name, { ...short, ...NO_SHAPE, seed }, { onNote });
    expect(said).toContain('the model has no head for masked tokens: a new one is trained');
    expect(bytes('head', FILES[0]!)).toEqual(bytes('head-again', FILES[0]!));
    expect(bytes('head', FILES[0]!)).not.toEqual(bytes('head-other', FILES[0]!));
    const model = await MaskedLanguageModel.load(at('head', 'model'));
    expect(Object.keys(model.weights)).toContain('cls.predictions.transform.dense.weight');
    await model.dispose();
  });

  it('is the same to the byte when it was stopped and resumed', async () => {
    const controller = new AbortController();
    const onStep = ({ step }: ReportedStep) => step === 130 && controller.abort();
    await expect(train('resumed', {}, { onStep, signal: controller.signal })).rejects.toThrow(
      InterruptedError,
    );
    await train('resumed', { resume: true });
    for (const file of FILES) expect(bytes('resumed', file).equals(bytes('new', file)), file).toBe(true);
  });

  it('trains on from a run, in parts', async () => {
    const { data, batchSize, window, threads } = OPTIONS;
    const { settings } = await trainMasked({
      ...{ data, batchSize, window, threads, model: at('new'), out: at('tuned') },
      ...{ steps: 2, evalData: 'none', freeze: ['embeddings'] },
    });
    expect(settings).toMatchObject({ lr: 3e-5, hidden: null, vocabSize: null });
    const [before, after] = await Promise.all(
      [at('new', 'model'), at('tuned', 'model')].map((folder) => MaskedLanguageModel.load(folder)),
    );
    const isSame = (name: string) =>
      Buffer.from(before!.weights[name]!.data.buffer).equals(Buffer.from(after!.weights[name]!.data.buffer));
    expect(isSame('embeddings.word_embeddings.weight')).toBe(true);
    expect(isSame('cls.predictions.transform.dense.weight')).toBe(false);
  });
});

it.each<[Partial<MaskedTrainOptions>, RegExp]>([
  [{ model: at('nowhere') }, /hidden is for new models[\s\S]*model: 'bert'/],
  [{ maskShare: 2 }, /maskShare should be a number from 0\.01 to 0\.9/],
  [{ lora: 4 } as never, /lora/],
  [{ dropout: 0.1 } as never, /dropout/],
])('refuses %j', async (options, message) => {
  await expect(train('refused', options)).rejects.toThrow(message);
});
