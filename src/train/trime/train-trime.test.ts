import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { PackedWindows } from '../../text/packed-windows.ts';
import { TokenStore } from '../../text/token-store.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { InterruptedError, type ReportedStep } from '../callbacks.ts';
import { trainLanguageModel } from '../language-model/train-language-model.ts';
import type { TrimeTrainOptions } from './options.ts';
import { trainTrime } from './train-trime.ts';
import { windowNeighbours } from './window-neighbours.ts';

const WORDS = ['cat', 'dog', 'river', 'stone', 'house', 'child', 'bird', 'tree', 'road', 'night'];
/** Documents that repeat a few words of their own. */
const DOCUMENTS = Array.from({ length: 40 }, (_, d) => {
  const own = permutation(rngKey(3, d, 'own'), WORDS.length);
  const order = permutation(rngKey(3, d, 'order'), 40);
  return { id: `d${d}`, text: Array.from(order, (i) => WORDS[own[i % 3]!]).join(' ') };
});
const root = tempFiles({ 'texts.jsonl': DOCUMENTS.map((each) => JSON.stringify(each)).join('\n') });
const at = (...names: string[]) => join(root, ...names);
const OPTIONS = {
  data: at('texts.jsonl'),
  ...{ hidden: 16, layers: 1, heads: 2, vocabSize: 280, window: 24, batchSize: 4 },
  ...{ steps: 10, lr: 0.01, evalEvery: 5, threads: 1, memoryWarmup: 0.2 },
} as const;
const train = (name: string, options: Partial<TrimeTrainOptions> = {}, callbacks = {}) =>
  trainTrime({ ...OPTIONS, out: at(name), ...options }, callbacks);
const FILES = [
  'model/model.safetensors',
  ...['parameters', 'optimizer'].map((part) => `checkpoint/${part}.safetensors`),
];
const bytes = (name: string, file: string) => readFileSync(at(name, file));

describe.each(['local', 'long', 'external'] as const)('a new model with the %s memory', (memory) => {
  const reports: ReportedStep[] = [];
  beforeAll(async () => {
    const { settings, best, ledger } = await train(
      memory,
      { memory },
      { onStep: (each: ReportedStep) => reports.push(each) },
    );
    expect(settings).toMatchObject({
      method: 'trime',
      batching: { local: 'random', long: 'consecutive', external: 'bm25' }[memory],
      localOff: memory === 'external' ? 0.9 : null,
      consecutiveWindows: memory === 'long' ? 4 : null,
    });
    expect(best.value).toBeLessThan(280);
    expect(ledger.trainingTokens).toBeGreaterThan(500);
  }, 60_000);

  it('learns, and is a model that loads', async () => {
    expect(reports.at(-1)!.trainingLoss).toBeLessThan(0.9 * reports[0]!.trainingLoss);
    const model = await LanguageModel.load(at(memory, 'model'));
    await model.dispose();
  });

  it('is the same to the byte when it was stopped and resumed', async () => {
    const controller = new AbortController();
    const onStep = ({ step }: ReportedStep) => step === 6 && controller.abort();
    const name = `${memory}-resumed`;
    await expect(train(name, { memory }, { onStep, signal: controller.signal })).rejects.toThrow(
      InterruptedError,
    );
    await train(name, { memory, resume: true });
    for (const file of FILES) expect(bytes(name, file).equals(bytes(memory, file)), file).toBe(true);
  });
});

it('without memory in any batch it is next-token training, to the byte', async () => {
  await train('warm', { memoryWarmup: 1, evalData: 'none' });
  const { memoryWarmup: _, ...plain } = OPTIONS;
  await trainLanguageModel({ ...plain, out: at('plain'), evalData: 'none' });
  expect(bytes('warm', FILES[0]!).equals(bytes('plain', FILES[0]!))).toBe(true);
});

it('a memory without gradients gives other weights', async () => {
  await train('detached', { detachMemory: true });
  expect(bytes('detached', FILES[0]!).equals(bytes('local', FILES[0]!))).toBe(false);
});

it('a memory of other documents gives other weights', async () => {
  await train('others', { memory: 'external', otherDocuments: true });
  expect(bytes('others', FILES[0]!).equals(bytes('external', FILES[0]!))).toBe(false);
});

it.each<[Partial<TrimeTrainOptions>, RegExp]>([
  [{ otherDocuments: true }, /otherDocuments has no meaning with memory: 'local'/],
  [{ localOff: 0.5 }, /localOff has no meaning with memory: 'local'[\s\S]*memory: 'external'/],
  [{ consecutiveWindows: 2 }, /consecutiveWindows has no meaning with batching: 'random'/],
  [{ memory: 'long', consecutiveWindows: 5 }, /consecutiveWindows: 5 is more than the 4 windows of a batch/],
  [{ memory: 'wide' as never }, /memory .*local, long, external/],
  [{ memoryWarmup: 2 }, /memoryWarmup/],
])('refuses %j', async (options, message) => {
  await expect(train('refused', options)).rejects.toThrow(message);
});

it('neighbours of windows share their words, and are no window itself', () => {
  const texts = ['red apple', 'blue sky', 'red apple pie', 'a cloudy blue sky', 'green grass', 'apple pie'];
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary(texts, { model: 'bpe', purpose: 'decoder', vocabSize: 270 }),
  );
  const rows = texts.map((text) => tokenizer.encodeRaw(text));
  const store = TokenStore.of(
    Int32Array.from(rows, ({ length }) => length),
    Int32Array.from(rows.flatMap((row) => [...row])),
  );
  const windows = new PackedWindows(store, { window: 64, share: false });
  const { windows: found, k } = windowNeighbours(windows, tokenizer, { k: 2 });
  const of = (i: number) => [...found.subarray(i * k, (i + 1) * k)];
  expect(of(0).sort()).toEqual([2, 5]);
  expect(of(1)).toEqual([3, -1]);
  expect(of(4)).toEqual([-1, -1]);
  expect(of(5)[0]).toBe(2);
});

it('neighbours of other documents share none with the window', () => {
  const pair = 'red apple red apple';
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary([pair, 'blue sky'], { model: 'bpe', purpose: 'decoder', vocabSize: 270 }),
  );
  // Each of two documents takes several windows of the same words.
  const rows = [pair.repeat(3), pair.repeat(2), 'blue sky'].map((text) => tokenizer.encodeRaw(text));
  const store = TokenStore.of(
    Int32Array.from(rows, ({ length }) => length),
    Int32Array.from(rows.flatMap((row) => [...row])),
  );
  const windows = new PackedWindows(store, { window: 12, share: false });
  const documents = windows.documentRows;
  const found = (otherDocuments: boolean) => {
    const { windows: near, k } = windowNeighbours(windows, tokenizer, { k: 3, otherDocuments });
    return Array.from(documents, (_, w) =>
      [...near.subarray(w * k, (w + 1) * k)].filter((each) => each >= 0),
    );
  };
  const isOwn = (w: number) => (each: number) => documents[each] === documents[w];
  expect(found(false).some((near, w) => near.some(isOwn(w)))).toBe(true);
  const others = found(true);
  for (const [w, near] of others.entries()) {
    expect(near.some(isOwn(w))).toBe(false);
    if (documents[w] !== 2) expect(near.length).toBeGreaterThan(0);
  }
});
