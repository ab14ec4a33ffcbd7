/**
 * Measures retrievers that are trained on documents alone (Contriever, Izacard et al. 2022) on sets of queries that they never saw:
 *
 *     npx tsx bench/quality/unsupervised.ts CORPUS DATA WORK [--start MODEL] [--arms untrained,inverse-cloze,crops,deletion,cloze-queue,crops-queue,deletion-queue]
 *         [--sets squad,fairytaleqa,medquad,nfcorpus] [--seeds 1,2,3] [--layers 2] [--hidden 128] [--vocab-size 8192] [--steps 1000]
 *         [--batch 64] [--lr 5e-4] [--queue 4096] [--queries 500] [--threads 1] [--out bench/results/unsupervised.json]
 *
 * CORPUS holds documents, as `undrift train --corpus` takes them. DATA is a folder with the data sets. WORK takes the runs. All arms of a seed
 * start from one transformer: a new one, or with --start one of MODEL's shape and tokenizer whose weights are shuffled within each matrix, so that
 * only their sizes remain. Arms:
 *
 *     untrained       that transformer
 *     inverse-cloze   a sentence and the text around it
 *     crops           two random crops of a document
 *     deletion        crops, of which a tenth of the tokens is left out
 *     …-queue         the same with a queue of earlier positives, embedded by a slow encoder
 *
 * The result file is written after each arm. An arm that it holds with the same settings is not run again; runs go on from checkpoints.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { loadData } from '../../src/data/load.ts';
import { streamTextCorpus } from '../../src/data/text-corpus.ts';
import { loadRetriever } from '../../src/models/folder/model-folder.ts';
import { saveRetriever } from '../../src/models/folder/save-retriever.ts';
import { createRetriever } from '../../src/models/retriever/create-retriever.ts';
import type { Retriever } from '../../src/models/retriever/retriever.ts';
import { evaluateRetriever } from '../../src/retrieval/evaluate-retriever.ts';
import { float32 } from '../../src/runtime/host-tensor.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { VocabularyTrainer } from '../../src/text/train-vocabulary.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.ts';
import type { TrainOptions } from '../../src/train/options.ts';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import { permutation, rngKey } from '../../src/util/rng.ts';
import { log, mean, trainingLog } from '../rlm/results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    start: { type: 'string', default: '' },
    arms: {
      type: 'string',
      default: 'untrained,inverse-cloze,crops,deletion,cloze-queue,crops-queue,deletion-queue',
    },
    sets: { type: 'string', default: 'squad,fairytaleqa,medquad,nfcorpus' },
    seeds: { type: 'string', default: '1,2,3' },
    layers: { type: 'string', default: '2' },
    hidden: { type: 'string', default: '128' },
    'vocab-size': { type: 'string', default: '8192' },
    steps: { type: 'string', default: '1000' },
    batch: { type: 'string', default: '64' },
    lr: { type: 'string', default: '5e-4' },
    queue: { type: 'string', default: '4096' },
    queries: { type: 'string', default: '500' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string', default: 'bench/results/unsupervised.json' },
  },
});
const [corpus, dataFolder, work] = positionals;
if (!corpus || !dataFolder || !work)
  throw new Error('usage: npx tsx bench/quality/unsupervised.ts CORPUS DATA WORK [options]');

const number = (name: 'layers' | 'hidden' | 'vocab-size' | 'steps' | 'batch' | 'lr' | 'queue' | 'queries') =>
  Number(values[name]);
const threads = Number(values.threads);
const sets = values.sets.split(',');
const METRICS = ['ndcg@10', 'recall@100'] as const;
const cloze = { cropTask: 'inverse-cloze', cropDelete: 0 } as const;
const queued = { queueSize: number('queue') };
const ARMS: Readonly<Record<string, Partial<TrainOptions> | undefined>> = {
  untrained: undefined,
  'inverse-cloze': cloze,
  crops: { cropDelete: 0 },
  deletion: { cropDelete: 0.1 },
  'cloze-queue': { ...cloze, ...queued },
  'crops-queue': { cropDelete: 0, ...queued },
  'deletion-queue': { cropDelete: 0.1, ...queued },
};
const settings = {
  ...{ start: values.start ? 'shuffled weights' : 'new' },
  ...(!values.start && {
    layers: number('layers'),
    hidden: number('hidden'),
    vocabSize: number('vocab-size'),
  }),
  ...{ steps: number('steps'), batch: number('batch'), lr: number('lr'), queue: number('queue') },
  ...{ sets, queries: number('queries') },
};

/** Metrics of an arm by data set, and its cost. */
interface ArmResult {
  readonly arm: string;
  readonly seed: number;
  readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly ledger: Readonly<Record<string, number>>;
}

/** Makes the model that all arms of a seed start from, and returns its folder. */
async function startOf(seed: number): Promise<string> {
  const folder = join(work!, `start-${seed}`);
  if (existsSync(folder)) return folder;
  const made = values.start ? await shuffled(values.start, seed) : await created(seed);
  await saveRetriever(folder, made, { onnx: false });
  await made.dispose();
  return folder;
}

async function created(seed: number): Promise<Retriever> {
  const trainer = new VocabularyTrainer({ model: 'wordpiece', vocabSize: number('vocab-size') });
  for await (const { text } of streamTextCorpus(corpus!)) trainer.add(text);
  return createRetriever({
    ...{ kind: 'transformer', tokenizer: Tokenizer.fromJson(trainer.finish()), seed },
    ...{ layers: number('layers'), hidden: number('hidden') },
  });
}

/** Loads a model and puts the entries of each matrix into a random order. */
async function shuffled(path: string, seed: number): Promise<Retriever> {
  const retriever = await loadRetriever(path, { maxTokens: { query: 32, document: 128 } });
  for (const [name, tensor] of Object.entries(retriever.weights)) {
    if (tensor.dims.length < 2) continue;
    const own = float32(tensor);
    const before = own.slice();
    const order = permutation(rngKey(seed, 0, `shuffle/${name}`), own.length);
    for (let i = 0; i < own.length; i++) own[i] = before[order[i]!]!;
  }
  return retriever;
}

/** Measures a model on the test queries of every set. */
async function measure(model: string): Promise<ArmResult['metrics']> {
  const found: Record<string, Readonly<Record<string, number>>> = {};
  for (const set of sets) {
    const data = await loadData(join(dataFolder!, set), { splits: ['test'] });
    const retriever = await loadRetriever(model);
    const { metrics } = await evaluateRetriever(retriever, data, 'test', {
      ...{ metrics: [...METRICS], limitQueries: number('queries'), threads },
    });
    found[set] = metrics;
    await retriever.dispose();
  }
  return found;
}

const results: ArmResult[] = [];
const stored = existsSync(values.out) ? JSON.parse(readFileSync(values.out, 'utf8')) : undefined;
if (stored && JSON.stringify(stored.settings) === JSON.stringify(settings)) results.push(...stored.results);
mkdirSync(work, { recursive: true });
for (const seed of values.seeds.split(',').map(Number)) {
  const model = await startOf(seed);
  for (const arm of values.arms.split(',')) {
    if (!(arm in ARMS)) throw new Error(`no arm is called ${arm}`);
    if (results.some((each) => each.arm === arm && each.seed === seed)) continue;
    log(`${arm}, seed ${seed}`);
    const options = ARMS[arm];
    const out = join(work, `${arm}-${seed}`);
    const trained =
      options &&
      (await trainRetriever(
        {
          ...{ method: 'crop', data: corpus, model, out, seed, threads, evalSplit: 'none' },
          ...{ steps: number('steps'), batchSize: number('batch'), lr: number('lr') },
          ...options,
          ...(hasCheckpoint(out) ? { resume: true } : { overwrite: true }),
        },
        trainingLog(),
      ));
    const metrics = await measure(trained?.model ?? model);
    results.push({ arm, seed, metrics, ledger: trained?.ledger ?? {} });
    log(`  ${sets.map((set) => `${set} ${metrics[set]!['ndcg@10']!.toFixed(3)}`).join(', ')}`);
    writeFileSync(values.out, `${JSON.stringify({ settings, machine: thisMachine(), results })}\n`);
  }
}

console.log(
  `\nnDCG@10, mean of the seeds\n  ${'arm'.padEnd(16)}${sets.map((set) => set.padStart(13)).join('')}`,
);
for (const arm of values.arms.split(',')) {
  const own = results.filter((each) => each.arm === arm);
  const cells = sets.map((set) => mean(own.map(({ metrics }) => metrics[set]!['ndcg@10']!)).toFixed(3));
  console.log(`  ${arm.padEnd(16)}${cells.map((cell) => cell.padStart(13)).join('')}`);
}
