/**
 * Child process of `bench/refresh.ts` that runs training steps with and without a concurrent refresh:
 *
 *     measure-refresh.ts CASE DATA THREADS WORKER_THREADS NICENESS ROUNDS
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadData } from '../src/data/load.ts';
import { asyncIndex } from '../src/methods/async-index.ts';
import type { TableMethod } from '../src/methods/table/table-method.ts';
import { BackgroundEncoder, type BackgroundJob } from '../src/models/background/background-encoder.ts';
import { CostLedger } from '../src/objective/cost-ledger.ts';
import { Temperature } from '../src/objective/temperature.ts';
import { adamw } from '../src/optim/adamw.ts';
import { Learner } from '../src/runtime/learner.ts';
import { makeRetriever } from '../src/train/make-retriever.ts';
import { Batches } from '../src/train/pair-batches.ts';
import { resolveSettings } from '../src/train/settings.ts';
import { optionValues } from '../src/util/option-table.ts';
import { report } from './fresh-process.ts';
import { medians, type WithQuartiles } from './statistics.ts';

/** Speed of training and of a refresh, alone and together. Medians over the rounds. */
export interface RefreshResult extends WithQuartiles {
  readonly case: string;
  readonly title: string;
  readonly threads: number;
  readonly workerThreads: number;
  readonly niceness: number;
  readonly rows: number;
  /** Training steps per second without a refresh. */
  readonly stepsPerSecond: number;
  /** Training steps per second during a refresh. */
  readonly stepsPerSecondBeside: number;
  /**
   * Time of a refresh in the training process, with all of its threads and training paused, in milliseconds.
   */
  readonly hereMs: number;
  /** Time of a refresh in the worker, with training paused, in milliseconds. */
  readonly aloneMs: number;
  /** Time of a refresh in the worker during training, in milliseconds. */
  readonly besideMs: number;
}

/** Cases by name. `rows` is the option `cacheSize`. */
export const REFRESH_CASES = {
  static: { title: 'static, D 512, B 128', model: 'static', rows: 0 },
  transformer: { title: 'transformer, 2 layers, D 256, B 32', model: 'transformer', rows: 2000 },
} as const;

const [id = 'static', path = '', ...numbers] = process.argv.slice(2);
const [threads, workerThreads, niceness, rounds] = numbers.map(Number) as [number, number, number, number];
const { title, model, rows: cacheSize } = REFRESH_CASES[id as keyof typeof REFRESH_CASES];

const data = await loadData(path);
const settings = resolveSettings({
  data: path,
  out: '',
  model,
  method: 'async-index',
  cacheSize,
  refresh: 'never',
});
const compute = { threads };
const retriever = await makeRetriever(settings, data, { fromRun: undefined });
const documents = retriever.tokenize('document', data.corpus.size, (row) => data.corpus.text(row));
const queries = retriever.tokenize('query', data.queries.size, (row) => data.queries.text(row));
const examples = data.examples('train');
const temperature = new Temperature(settings.temperature, { learned: false });
const weights = { ...retriever.weights, ...temperature.weights };
const learner = await Learner.create([...retriever.specs, ...temperature.specs], weights, adamw(), compute);
const folder = mkdtempSync(join(tmpdir(), 'undrift-bench-'));
const method = (await asyncIndex.start({
  retriever,
  weights,
  gradientBuffers: learner.gradientBuffers,
  queries,
  documents,
  positives: data.positiveSets('train'),
  copies: () => [],
  temperature,
  dropoutRatio: 0,
  chunkSize: 32,
  seed: 1,
  compute,
  options: optionValues(asyncIndex.options, { cacheSize, refresh: 'never' }),
  ledger: new CostLedger(),
  texts: { query: (row) => data.queries.text(row), document: (row) => data.corpus.text(row) },
  examples,
  folder,
})) as TableMethod;
await method.begin();
const { batchSize } = settings;
const batches = new Batches(examples, documents, { batchSize, negativesPerQuery: 0, seed: 1 });
const encoder = new BackgroundEncoder(retriever, 'document', documents, {
  threads: workerThreads,
  niceness,
  folder,
});

const update = { learningRate: 1e-5, weightDecay: 0.01, maxGradientNorm: 1 };
let draw = 0;
async function step(): Promise<void> {
  const { gradients } = await method.step(batches.batch(draw), draw);
  await learner.apply(gradients, update);
  await method.updated(++draw);
}
/**
 * Trains as long as `goesOn` returns true.
 *
 * @returns  steps per second
 */
async function stepsWhile(goesOn: (elapsedMs: number) => boolean): Promise<number> {
  const startMs = performance.now();
  let steps = 0;
  for (; goesOn(performance.now() - startMs); steps++) await step();
  return (1000 * steps) / (performance.now() - startMs);
}
const rows = Uint32Array.from(method.table.documents);
const begin = () => encoder.encode(retriever.weights, rows);
/** Waits for a job. A timer keeps the event loop alive, which the job alone does not. */
async function settled(job: BackgroundJob): Promise<void> {
  const timer = setInterval(() => {}, 1000);
  await job.settled;
  clearInterval(timer);
}
const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
};

// Compiles all programs and fills the memory arenas.
for (let i = 0; i < 3; i++) await step();
await settled(await begin());

const measured = {
  without: [] as number[],
  beside: [] as number[],
  hereMs: [] as number[],
  aloneMs: [] as number[],
  besideMs: [] as number[],
};
for (let round = 0; round < rounds; round++) {
  measured.hereMs.push(
    await timed(() => retriever.encodeTokens('document', documents, { ...compute, rows })),
  );
  const alone = await begin();
  await settled(alone);
  measured.aloneMs.push(alone.elapsedMs);
  measured.without.push(await stepsWhile((elapsedMs) => elapsedMs < alone.elapsedMs));
  const beside = await begin();
  measured.beside.push(await stepsWhile(() => beside.outcome === 'running'));
  measured.besideMs.push(beside.elapsedMs);
}
await encoder.dispose();
await method.dispose();
rmSync(folder, { recursive: true, force: true });
report({
  case: id,
  title,
  threads,
  workerThreads,
  niceness,
  rows: rows.length,
  ...medians({
    stepsPerSecond: measured.without,
    stepsPerSecondBeside: measured.beside,
    hereMs: measured.hereMs,
    aloneMs: measured.aloneMs,
    besideMs: measured.besideMs,
  }),
} satisfies RefreshResult);
