import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { loadRetriever } from '../../models/folder/model-folder.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { InterruptedError, type ReportedStep, type TrainCallbacks } from '../callbacks.ts';
import type { NpmTrainOptions } from './options.ts';
import { trainNpm } from './train-npm.ts';

type Evaluation = Parameters<NonNullable<TrainCallbacks['onEvaluation']>>[0];
const WORDS = [
  'cat',
  'dog',
  'river',
  'stone',
  'house',
  'child',
  'bird',
  'tree',
  'road',
  'night',
  'lamp',
  'key',
];
/** Tokens of a piece: those of the window beside two special ones, without the room for masks. */
const PIECE = 26;
/** Documents of two words in turn, each repeated over a piece. */
const DOCUMENTS = Array.from({ length: 40 }, (_, d) => {
  const own = permutation(rngKey(3, d, 'own'), WORDS.length);
  const runs = Array.from({ length: 8 }, (_, i) => `${WORDS[own[i % 2]!]} `.repeat(PIECE));
  return { id: `d${d}`, text: runs.join('') };
});
const lines = (documents: readonly object[]) => documents.map((each) => JSON.stringify(each)).join('\n');
const root = tempFiles({
  'texts.jsonl': lines(DOCUMENTS),
  'short.jsonl': lines(DOCUMENTS.map(({ id }) => ({ id, text: 'one piece alone' }))),
});
const at = (...names: string[]) => join(root, ...names);
const OPTIONS = {
  data: at('texts.jsonl'),
  ...{ hidden: 64, layers: 1, heads: 2, vocabSize: 100, window: 32, batchSize: 4 },
  ...{ steps: 80, lr: 0.003, evalEvery: 40, warmup: 0, threads: 1 },
} as const;
const train = (name: string, options: Partial<NpmTrainOptions> = {}, callbacks = {}) =>
  trainNpm({ ...OPTIONS, out: at(name), ...options }, callbacks);
const FILES = [
  'model/model.safetensors',
  ...['parameters', 'optimizer'].map((part) => `checkpoint/${part}.safetensors`),
];
const bytes = (name: string, file: string) => readFileSync(at(name, file));

describe('a new model', () => {
  const reports: ReportedStep[] = [];
  const notes: string[] = [];
  const found: number[] = [];
  beforeAll(async () => {
    const { settings, ledger } = await train(
      'new',
      {},
      {
        onStep: (each: ReportedStep) => reports.push(each),
        onNote: (note: string) => notes.push(note),
        onEvaluation: ({ metrics }: Evaluation) => found.push(metrics.foundPhrases!),
      },
    );
    expect(settings).toMatchObject({
      ...{ method: 'npm', model: 'transformer', batching: 'same-document', detachKeys: false },
      ...{ batchDocuments: 1, temperature: 1 },
      ...{ lr: 0.003, window: 32, batchSize: 4 },
    });
    expect(ledger.trainingTokens).toBeGreaterThan(5000);
    // One of the three other pieces has the word: both ends are there by chance in one of nine cases.
    expect(found.at(-1)).toBeGreaterThan(0.8);
  }, 60_000);

  it('learns, and is a model that loads', async () => {
    expect(reports.at(-1)!.trainingLoss).toBeLessThan(0.3 * reports[0]!.trainingLoss);
    expect(notes.join('\n')).toMatch(/40 documents, .* pieces in .* groups that repeat phrases/);
    const model = await loadRetriever(at('new', 'model'));
    expect(model.trainedSteps).toBeGreaterThan(0);
    expect(model.config.maxTokens.document).toBe(32);
    await model.dispose();
  });

  it('is the same to the byte when it was stopped and resumed', async () => {
    const controller = new AbortController();
    const onStep = ({ step }: ReportedStep) => step === 57 && controller.abort();
    await expect(train('resumed', {}, { onStep, signal: controller.signal })).rejects.toThrow(
      InterruptedError,
    );
    await train('resumed', { resume: true });
    for (const file of FILES) expect(bytes('resumed', file).equals(bytes('new', file)), file).toBe(true);
  });

  it('trains on from a model of its own, with LoRA and dropout', async () => {
    const { model, batchSize, window, data, threads } = { ...OPTIONS, model: at('new') };
    const tuned: number[] = [];
    const { settings } = await trainNpm(
      {
        ...{ data, model, out: at('tuned'), batchSize, window, threads },
        ...{ steps: 4, lora: 2, dropout: 0.1, evalEvery: 2 },
      },
      { onEvaluation: ({ metrics }) => tuned.push(metrics.foundPhrases!) },
    );
    expect(settings).toMatchObject({ lr: 2e-4, loraAlpha: 4, hidden: null, vocabSize: null });
    expect(tuned.at(-1)).toBeGreaterThan(0.8);
    expect(bytes('tuned', 'adapter/adapter_config.json').toString()).toContain('"r": 2');
  });
});

it('random batches, several documents, a temperature, and keys without gradients give other weights', async () => {
  await train('same', { steps: 3, evalData: 'none' });
  await train('random', { steps: 3, evalData: 'none', batching: 'random' });
  await train('detached', { steps: 3, evalData: 'none', detachKeys: true });
  await train('several', { steps: 3, evalData: 'none', batchDocuments: 3 });
  await train('cold', { steps: 3, evalData: 'none', temperature: 0.3 });
  const names = ['same', 'random', 'detached', 'several', 'cold'];
  const [same, ...others] = names.map((name) => bytes(name, FILES[0]!));
  for (const each of others) expect(each.equals(same!)).toBe(false);
}, 60_000);

it.each<[Partial<NpmTrainOptions>, RegExp]>([
  [{ model: at('nowhere') }, /hidden is for new models[\s\S]*model: 'transformer'/],
  [{ batching: 'wide' as never }, /batching .*same-document, random/],
  [{ lora: 4 }, /lora keeps weights of a model as they are/],
  [{ batchSize: 1 }, /batchSize/],
  [{ batching: 'random', batchDocuments: 2 }, /batchDocuments has no meaning with batching: 'random'/],
  [{ keyHeads: 2 } as never, /keyHeads/],
  [
    { data: at('short.jsonl') },
    /no document repeats a phrase between two of its pieces[\s\S]*longer documents/,
  ],
])('refuses %j', async (options, message) => {
  await expect(train('refused', options)).rejects.toThrow(message);
});
