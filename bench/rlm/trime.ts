/**
 * Measures TRIME: models trained with a memory in their softmax, beside their base, a cache and kNN-LM.
 *
 *     npx tsx bench/rlm/trime.ts MODEL DATA WORK [--arms base,more,local,long,external,other,random,p0,detached] [--seeds 1,2,3]
 *         [--steps 2000] [--batch 8] [--window 256] [--lr 3e-4] [--train-tokens N] [--datastore-tokens N] [--dev-tokens 8192] [--test-tokens N] [--k 1024]
 *         [--long 2048] [--out bench/results/rlm]
 *
 * MODEL is a language model trained on the training split (`undrift lm train`). DATA holds train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz.
 * WORK takes runs and datastores, one for each arm and seed. Arms:
 *
 *     base        MODEL as it is
 *     more        trained on as long as the other arms, on next tokens
 *     local, long, external     trained with this memory
 *     other       external memory of other documents only, as the datastore is at test time
 *     random      external memory, batches of random windows
 *     p0          external memory, the local one never off
 *     detached    external memory, no gradient to remembered states
 *
 * All trained arms begin with MODEL and see as many tokens, in equal steps. Each is read in these ways, with weights tuned on the validation split:
 *
 *     none                      the language model alone
 *     cache, knn, knn-cache     kNN-LM over a datastore of the arm's own states of the training split
 *     memory, long-memory       TRIME with the local memory, with that of the document
 *     external, outside         TRIME with local memory and datastore, inside and beside the softmax, or beside it only
 *
 * The test split is read once for each reading. Each reading writes OUT/trime-ARM-READING-SEED.json, and is not run again while that file has its
 * settings; runs go on from checkpoints. Differences are paired by article, and averaged over the seeds.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { streamTextCorpus, type TextDocument } from '../../src/data/text-corpus.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { buildDatastore } from '../../src/rlm/build-datastore.ts';
import { evaluateText } from '../../src/rlm/evaluate-text.ts';
import { findSystem } from '../../src/rlm/systems.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.ts';
import { trainLanguageModel } from '../../src/train/language-model/train-language-model.ts';
import type { TrimeTrainOptions } from '../../src/train/trime/options.ts';
import { trainTrime } from '../../src/train/trime/train-trime.ts';
import { articleNats, log, pairedDifference, storedResult, type TextResult, trainingLog } from './results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arms: { type: 'string', default: 'base,more,local,long,external,other,random,p0,detached' },
    readings: { type: 'string', default: 'none,cache,knn,knn-cache,memory,long-memory,external,outside' },
    seeds: { type: 'string', default: '1,2,3' },
    steps: { type: 'string', default: '2000' },
    batch: { type: 'string', default: '8' },
    window: { type: 'string', default: '256' },
    lr: { type: 'string', default: '3e-4' },
    'train-tokens': { type: 'string', default: '' },
    'datastore-tokens': { type: 'string', default: '' },
    'dev-tokens': { type: 'string', default: '8192' },
    'test-tokens': { type: 'string', default: '' },
    k: { type: 'string', default: '1024' },
    long: { type: 'string', default: '2048' },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [modelFolder, dataFolder, work] = positionals;
if (!modelFolder || !dataFolder || !work)
  throw new Error('usage: npx tsx bench/rlm/trime.ts MODEL DATA WORK [options]');

const number = (name: keyof typeof values): number => Number(values[name]);
const orUndefined = (name: keyof typeof values) => (values[name] === '' ? undefined : number(name));
const split = (name: string) => join(dataFolder!, `${name}.jsonl.gz`);
const window = number('window');

type Training = Partial<TrimeTrainOptions> | 'next token' | 'none';
const ARMS: Readonly<Record<string, Training>> = {
  base: 'none',
  more: 'next token',
  local: { memory: 'local' },
  long: { memory: 'long' },
  external: { memory: 'external' },
  other: { memory: 'external', otherDocuments: true },
  random: { memory: 'external', batching: 'random' },
  p0: { memory: 'external', localOff: 0 },
  detached: { memory: 'external', detachMemory: true },
};

/** Method and options of each way of reading a model. */
const READINGS: Readonly<Record<string, { method: string; datastore?: true; options?: object }>> = {
  none: { method: 'none' },
  cache: { method: 'knn-lm', options: { cache: true } },
  knn: { method: 'knn-lm', datastore: true },
  'knn-cache': { method: 'knn-lm', datastore: true, options: { cache: true } },
  memory: { method: 'trime' },
  'long-memory': { method: 'trime', options: { longTokens: number('long') } },
  external: { method: 'trime', datastore: true },
  outside: { method: 'trime', datastore: true, options: { externalInside: false } },
};

/** Settings that change the trained models, and those of everything. */
const trained = {
  ...{ model: modelFolder, steps: number('steps'), batch: number('batch'), window, lr: number('lr') },
  trainTokens: values['train-tokens'],
};
const settings = {
  ...trained,
  ...{ datastoreTokens: values['datastore-tokens'], k: number('k'), long: number('long') },
  ...{ devTokens: number('dev-tokens'), testTokens: values['test-tokens'] },
};

/** Documents of the training split, up to a number of tokens. */
async function* trainingTexts(limit: number | undefined): AsyncGenerator<TextDocument> {
  const model = await LanguageModel.load(modelFolder!);
  let tokens = 0;
  for await (const document of streamTextCorpus(split('train'))) {
    yield document;
    tokens += model.tokenizer.encodeRaw(document.text).length;
    if (limit !== undefined && tokens >= limit) break;
  }
  await model.dispose();
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const callbacks = trainingLog();

/** Trains an arm, unless it is trained, and returns the folder of its model. */
async function train(arm: string, seed: number): Promise<string> {
  const training = ARMS[arm]!;
  if (training === 'none') return modelFolder!;
  const out = join(work!, `${arm}-${seed}`);
  const done = join(out, '..', `${arm}-${seed}.done`);
  const asked = JSON.stringify(trained);
  if (existsSync(done) && readFileSync(done, 'utf8') === asked) return join(out, 'model');
  log(`${arm}, seed ${seed}`);
  const shared = {
    data: { texts: await listOf(trainingTexts(orUndefined('train-tokens'))) },
    ...{ evalData: split('valid'), model: modelFolder!, out, window, seed },
    ...{ steps: trained.steps, batchSize: trained.batch, lr: trained.lr },
    evalEvery: Math.ceil(trained.steps / 10),
    resume: hasCheckpoint(out),
  };
  if (training === 'next token') await trainLanguageModel(shared, callbacks);
  else await trainTrime({ ...shared, ...training }, callbacks);
  writeFileSync(done, asked);
  return join(out, 'model');
}

/** Builds the datastore of an arm's model, or goes on with it. */
async function datastoreOf(model: LanguageModel, name: string): Promise<string> {
  const folder = join(work!, `datastore-${name}-${values['datastore-tokens'] || 'all'}`);
  if (existsSync(join(folder, 'manifest.json'))) return folder;
  log(`datastore of ${name}`);
  await buildDatastore(model, trainingTexts(orUndefined('datastore-tokens')), folder, {
    ...{ window, stride: window },
  });
  return folder;
}

/** Reads the test split in one way, unless its result is there. */
async function measure(arm: string, reading: string, seed: number, folder: string): Promise<TextResult> {
  const file = join(values.out, `trime-${arm}-${reading}-${seed}.json`);
  const stored = storedResult<TextResult & { readonly settings: unknown }>(file, settings);
  if (stored) return stored;
  const { method, datastore, options } = READINGS[reading]!;
  const model = await LanguageModel.load(folder);
  const start = performance.now();
  const tuned = { tuneData: split('valid'), tuneTokens: settings.devTokens };
  const given = {
    ...(method !== 'none' && tuned),
    ...(datastore && { datastore: await datastoreOf(model, `${arm}-${seed}`), knnK: settings.k }),
    ...options,
  };
  const windows = { window, stride: window };
  const system = await findSystem(method).open(model, given, { windows, modelFolder: folder });
  const found = await evaluateText(system, streamTextCorpus(split('test')), {
    ...windows,
    limitTokens: orUndefined('test-tokens'),
  });
  const seconds = (performance.now() - start) / 1000;
  const content = {
    ...{ arm, reading, seed, settings, machine: thisMachine(), seconds },
    ...{ system: system.settings, ledger: system.ledger.totals, ...found },
  };
  writeFileSync(file, `${JSON.stringify(content)}\n`);
  await system.dispose();
  await model.dispose();
  log(`${arm}, ${reading}, seed ${seed}: test perplexity ${found.perplexity.toFixed(3)}`);
  return found;
}

mkdirSync(values.out, { recursive: true });
mkdirSync(work, { recursive: true });
const results = new Map<string, TextResult[]>();
for (const seed of values.seeds.split(',').map(Number)) {
  for (const arm of values.arms.split(',')) {
    // The base has no seed.
    const own = ARMS[arm] === 'none' ? 0 : seed;
    const folder = await train(arm, own);
    for (const reading of values.readings.split(',')) {
      const key = `${arm}, ${reading}`;
      const known = results.get(key) ?? [];
      if (own === 0 && known.length > 0) continue;
      results.set(key, [...known, await measure(arm, reading, own, folder)]);
    }
  }
}

const reference = results.get('base, none') ?? [...results.values()][0]!;
const theirs = articleNats(reference);
console.log(
  '\nperplexity of each seed; difference from the base in nats per token, with the 95 % interval over articles',
);
const summary: Record<string, unknown> = {};
for (const [name, measured] of results) {
  const { difference, low, high } = pairedDifference(articleNats(measured), theirs);
  const perplexities = measured.map(({ perplexity }) => perplexity);
  summary[name] = { perplexities, difference, low, high };
  const cells = [difference, low, high].map((value) => value.toFixed(4).padStart(9));
  console.log(
    `  ${name.padEnd(24)}${cells.join(' ')}  ${perplexities.map((each) => each.toFixed(3)).join(' ')}`,
  );
}
writeFileSync(join(values.out, 'trime.json'), `${JSON.stringify({ settings, summary }, null, 2)}\n`);
