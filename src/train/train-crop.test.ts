import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadRetriever } from '../models/folder/model-folder.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { InterruptedError, type TrainCallbacks } from './callbacks.ts';
import { readEventLog } from './event-log.ts';
import type { TrainOptions } from './settings.ts';
import { trainRetriever } from './train-retriever.ts';

const SYLLABLES = [
  'ba',
  'ce',
  'di',
  'fo',
  'gu',
  'ha',
  'je',
  'ki',
  'lo',
  'mu',
  'na',
  'pe',
  'ri',
  'so',
  'tu',
  'va',
];

/**
 * 400 documents on 40 topics, each of 14 of the 16 words of its topic, which no other topic has. The two halves of a document have no
 * word in common: which ones go together is to be learnt.
 */
const documents = Array.from({ length: 400 }, (_, i) =>
  Array.from(permutation(rngKey(5, i, 'words'), 16).subarray(0, 14), (word) => {
    const topic = i % 40;
    return [topic % 16, word, topic >> 4, (topic + word) % 16].map((part) => SYLLABLES[part]).join('');
  }).join(' '),
);

let corpus: string;
let runs: string;
beforeAll(async () => {
  corpus = join(tempFiles({ 'texts.txt': `${documents.join('\n')}\nab\ncd\n` }), 'texts.txt');
  runs = await mkdtemp(join(tmpdir(), 'undrift-crop-'));
});
afterAll(() => rm(runs, { recursive: true, force: true }));

const small = (out: string, more: Partial<TrainOptions> = {}): TrainOptions & { threads: number } => ({
  data: corpus,
  out: join(runs, out),
  method: 'crop',
  batchSize: 32,
  steps: 20,
  hidden: 32,
  vocabSize: 1000,
  evalEvery: 10,
  threads: 1,
  ...more,
});

describe('training on crops', () => {
  it('makes documents that were not trained on easier to find, and keeps the best model', async () => {
    const notes: string[] = [];
    const found: number[] = [];
    const watch: TrainCallbacks = {
      onNote: (note) => notes.push(note),
      onEvaluation: ({ metrics }) => found.push(metrics['ndcg@10']!),
    };
    await trainRetriever(small('untrained', { steps: 1, lr: 1e-9 }), watch);
    await trainRetriever(small('trained', { steps: 150, evalEvery: 150 }), watch);
    expect(found).toHaveLength(2);
    expect(found[1]).toBeGreaterThan(found[0]! + 0.1);
    expect(notes).toContain('402 documents, 380 of them trained on; 1 steps of 32 documents');
    expect(notes).toContain('left out 2 documents that are too short to crop');
    // The run is a start for other methods.
    const retriever = await loadRetriever(join(runs, 'trained', 'model'));
    expect(retriever.trainedSteps).toBe(150);
    expect(await readFile(join(runs, 'trained', 'model', 'README.md'), 'utf8')).toContain('held-out split');
  });

  it.each([
    ['static', {}],
    [
      'transformer, a queue, the inverse cloze task, dropout and accumulation',
      {
        ...{ model: 'transformer', layers: 1, heads: 2, lr: 1e-3, dropout: 0.1, accumulate: 2 },
        ...{ maxQueryTokens: 16, maxDocTokens: 24, batchSize: 16 },
        ...{ queueSize: 64, cropTask: 'inverse-cloze' as const, queryPrompt: 'query: ' },
      },
    ],
  ])('goes on after an interruption as if there had been none: %s', async (name, options) => {
    const [whole, parts] = [`whole-${name.length}`, `parts-${name.length}`];
    await trainRetriever(small(whole, options));
    const controller = new AbortController();
    const interrupted = trainRetriever(small(parts, options), {
      signal: controller.signal,
      onStep: ({ step }) => step === 13 && controller.abort(),
    });
    await expect(interrupted).rejects.toThrow(InterruptedError);
    await trainRetriever({ ...small(parts, options), resume: true });
    for (const name of ['model/model', 'checkpoint/parameters', 'checkpoint/method']) {
      const file = `${name}.safetensors`;
      const [a, b] = await Promise.all([whole, parts].map((out) => readFile(join(runs, out, file))));
      expect(a!.equals(b!), file).toBe(true);
    }
    const events = await readEventLog(join(runs, parts, 'metrics.jsonl'));
    expect(events.filter(({ kind }) => kind === 'eval').map(({ step }) => step)).toEqual([10, 20]);
    // The distance between crops of a document is not staleness.
    expect(events.some(({ values }) => 'staleness' in values)).toBe(false);
  });

  it('is not evaluated on request, and then trains on all documents', async () => {
    const notes: string[] = [];
    const { best } = await trainRetriever(small('unmeasured', { evalSplit: 'none', steps: 2 }), {
      onNote: (note) => notes.push(note),
    });
    expect(best.value).toBeNull();
    expect(notes).toContain('no evaluation: the last model is kept, not the best');
    expect(notes.join('\n')).toContain('402 documents, 400 of them trained on');
  });

  it.each([
    [{ evalSplit: 'dev' }, /no split "dev" to evaluate on.*\n.*held-out/],
    [{ cropMin: 0.6 }, /cropMin: 0\.6 is more than cropMax: 0\.5/],
    [{ queueSize: 8 }, /a batch of 32 documents does not fit/],
    [{ maxQueryTokens: 2, queryPrompt: 'a long prompt: ' }, /no room.*\n.*maxQueryTokens/],
  ])('refuses what cannot go well: %j', async (options, message) => {
    await expect(trainRetriever(small('refused', options))).rejects.toThrow(message);
  });

  it('says that all documents are too short', async () => {
    const words = join(tempFiles({ 'words.txt': 'one\ntwo\nthree\n' }), 'words.txt');
    await expect(trainRetriever(small('words', { data: words, batchSize: 2 }))).rejects.toThrow(
      /words\.txt: no document has the 8 tokens/,
    );
  });
});
