/**
 * Measures RETRO over a frozen language model (RETROfit): neighbours, shuffled neighbours, no neighbours, and parts of neighbours.
 *
 *     npx tsx bench/rlm/retro.ts MODEL DATA WORK [--arms true,shuffled,neighbour,continuation] [--seeds 1,2,3] [--steps 2000] [--batch 16]
 *         [--window 256] [--chunk 16] [--k 2] [--layers 3,4] [--encoder 1] [--lr 1e-3] [--train-tokens N] [--database-tokens N]
 *         [--dev-tokens 20000] [--test-tokens N] [--retriever bm25] [--out bench/results/rlm]
 *
 * MODEL is a language model trained on the training split (`undrift lm train`). DATA holds the splits train, valid (or dev) and
 * test, as .jsonl.gz or .jsonl.
 * Neighbours are chunks of the training split of other articles. WORK takes the neighbours and the runs, one for each arm and seed.
 *
 * A run keeps the weights with the lowest perplexity on the validation split. The test split is read once for each reading of a model:
 *
 *     off                                         the base
 *     true, shuffled, neighbour, continuation     trained and read with these neighbours or parts
 *     true-shuffled, true-random                  trained with neighbours, read with as many of other chunks, with k random chunks
 *     true-k4, true-k8                            read with more neighbours
 *     true-overlap                                read without neighbours that share more than a quarter of the chunk to predict as one piece
 *
 * Differences are paired by article, and averaged over the seeds.
 *
 * Each reading writes OUT/retro-READING-SEED.json, and is not run again while that file has its settings; runs go on from checkpoints.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { streamTextCorpus } from '../../src/data/text-corpus.ts';
import { type TokenCorpus, tokenizeCorpus } from '../../src/data/token-corpus.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { ChunkDatabase } from '../../src/rlm/chunk-database.ts';
import {
  chunkQuery,
  findNeighbours,
  type NeighbourLists,
  type NeighbourPart,
  neighbourIdentity,
  shuffledNeighbours,
  storedNeighbours,
} from '../../src/rlm/chunk-neighbours.ts';
import { evaluateText } from '../../src/rlm/evaluate-text.ts';
import type { LanguageSystem } from '../../src/rlm/language-system.ts';
import { type NeighbourSource, neighbourSource } from '../../src/rlm/neighbour-source.ts';
import { plainSystem } from '../../src/rlm/plain-system.ts';
import { loadRetro, RetroModel, saveRetro } from '../../src/rlm/retro.ts';
import { type NeighbourChoice, RetroSystem } from '../../src/rlm/retro-system.ts';
import { windowsOf } from '../../src/rlm/text-windows.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.ts';
import { retroSubject } from '../../src/train/retro/retro-subject.ts';
import { RetroWindows } from '../../src/train/retro/retro-windows.ts';
import { runTraining } from '../../src/train/run.ts';
import {
  articleNats,
  log,
  mean,
  pairedDifference,
  storedResult,
  type TextResult,
  type TextSplit,
  textSplit,
} from './results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arms: { type: 'string', default: 'true,shuffled,neighbour,continuation' },
    seeds: { type: 'string', default: '1,2,3' },
    steps: { type: 'string', default: '2000' },
    batch: { type: 'string', default: '16' },
    window: { type: 'string', default: '256' },
    chunk: { type: 'string', default: '16' },
    k: { type: 'string', default: '2' },
    layers: { type: 'string', default: '3,4' },
    encoder: { type: 'string', default: '1' },
    lr: { type: 'string', default: '1e-3' },
    'train-tokens': { type: 'string', default: '' },
    'database-tokens': { type: 'string', default: '' },
    'dev-tokens': { type: 'string', default: '20000' },
    'test-tokens': { type: 'string', default: '' },
    retriever: { type: 'string', default: 'bm25' },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [modelFolder, dataFolder, work] = positionals;
if (!modelFolder || !dataFolder || !work)
  throw new Error('usage: npx tsx bench/rlm/retro.ts MODEL DATA WORK [options]');

const number = (name: keyof typeof values): number => Number(values[name]);
const orUndefined = (name: keyof typeof values) => (values[name] === '' ? undefined : number(name));
const [m, k, window] = [number('chunk'), number('k'), number('window')];
const compute = {};

/** Reading of a trained model. */
interface Reading {
  readonly neighbours?: NeighbourChoice;
  readonly part?: NeighbourPart;
  readonly k?: number;
  readonly source?: 'random' | 'overlap';
}

/** Training of an arm, and the readings of its model besides its own. */
const ARMS: Readonly<Record<string, { own: Reading; others?: Readonly<Record<string, Reading>> }>> = {
  true: {
    own: {},
    others: {
      'true-shuffled': { neighbours: 'shuffled' },
      'true-random': { source: 'random' },
      'true-k4': { k: 4 },
      'true-k8': { k: 8 },
      'true-overlap': { source: 'overlap' },
    },
  },
  shuffled: { own: { neighbours: 'shuffled' } },
  neighbour: { own: { part: 'neighbour' } },
  continuation: { own: { part: 'continuation' } },
};

const settings = {
  ...{
    model: modelFolder.split('/').slice(-2).join('/'),
    chunk: m,
    k,
    window,
    steps: number('steps'),
    batch: number('batch'),
  },
  ...{ layers: values.layers, encoder: number('encoder'), lr: number('lr'), retriever: values.retriever },
  ...{ trainTokens: values['train-tokens'], databaseTokens: values['database-tokens'] },
  ...{ devTokens: number('dev-tokens'), testTokens: values['test-tokens'] },
};

let told = 0;
function report({ stage, done, total }: { stage: string; done: number; total: number | undefined }): void {
  if (Date.now() - told < 10_000) return;
  told = Date.now();
  log(`  ${stage}: ${done} of ${total ?? '?'}`);
}

const split = (name: TextSplit) => textSplit(dataFolder!, name);

async function corpusOf(base: LanguageModel, name: TextSplit, limitTokens?: number): Promise<TokenCorpus> {
  return await tokenizeCorpus(streamTextCorpus(split(name)), base.tokenizer, {
    limitTokens,
    onProgress: report,
  });
}

/** Everything that all arms share. */
class Shared {
  readonly base: LanguageModel;
  readonly chunks: ChunkDatabase;
  readonly database: ChunkDatabase;
  readonly dev: TokenCorpus;
  readonly #sources = new Map<string, Promise<NeighbourSource>>();

  constructor(
    base: LanguageModel,
    parts: { training: TokenCorpus; passages: TokenCorpus; dev: TokenCorpus },
  ) {
    this.base = base;
    this.database = new ChunkDatabase(parts.passages, base.tokenizer, m);
    this.chunks =
      parts.training === parts.passages
        ? this.database
        : new ChunkDatabase(parts.training, base.tokenizer, m);
    this.dev = parts.dev;
  }

  /** Returns a source of neighbours, made when it is first asked for. */
  source(kind: Reading['source']): Promise<NeighbourSource> {
    const key = kind ?? 'found';
    let source = this.#sources.get(key);
    if (!source) {
      const given = {
        retriever: kind === 'random' ? 'random' : values.retriever,
        sameDocument: false,
        maxOverlap: kind === 'overlap' ? 0.25 : 1,
      };
      source = neighbourSource(this.database, this.base, given, { onProgress: report });
      this.#sources.set(key, source);
    }
    return source;
  }

  async neighbours(): Promise<NeighbourLists> {
    const { chunks, database } = this;
    const found = await this.source(undefined);
    const identity = neighbourIdentity(chunks, database, { source: found.name, rules: found.rules, k });
    return await storedNeighbours(join(work!, 'neighbours.safetensors'), identity, () =>
      findNeighbours(found.source, chunks.size, (row) => chunkQuery(chunks, row), { k, onProgress: report }),
    );
  }

  async system(retro: RetroModel, { source, ...reading }: Reading, seed: number): Promise<LanguageSystem> {
    return new RetroSystem(retro, this.database, (await this.source(source)).source, { k, seed, ...reading });
  }
}

async function train(shared: Shared, arm: string, seed: number): Promise<string> {
  const folder = join(work!, `${arm}-${seed}`);
  const model = join(folder, 'model');
  const done = join(folder, 'done.json');
  const asked = JSON.stringify(settings);
  if (existsSync(done) && readFileSync(done, 'utf8') === asked) return model;
  mkdirSync(folder, { recursive: true });
  const { base, chunks, database } = shared;
  const { own } = ARMS[arm]!;
  const config = {
    ...{ chunkTokens: m, neighbours: k, encoderLayers: settings.encoder },
    crossLayers: settings.layers.split(',').map(Number),
  };
  const retro = RetroModel.create(base, config, { seed });
  const lists = await shared.neighbours();
  const of = (row: number) => chunks.document(row);
  const read = own.neighbours === 'shuffled' ? shuffledNeighbours(lists, seed, { of, database }) : lists;
  const windows = new RetroWindows(chunks, read, { window, batchSize: settings.batch, seed });
  const segments = Array.from({ length: shared.dev.tokens.rows }, (_, row) => [
    ...windowsOf(
      Int32Array.from(shared.dev.tokens.tokens(row)),
      { window, stride: window },
      shared.dev.ids.get(row),
    ),
  ]).flat();
  const system = await shared.system(retro, own, seed);
  const subject = retroSubject({
    ...{ retro, base: modelFolder!, windows, database, part: own.part ?? 'both', compute },
    evaluation: { segments, system, plain: plainSystem(base) },
    keep: async (metrics, { step }) =>
      await saveRetro(model, retro, {
        base: modelFolder!,
        facts: { training: { step, metrics, arm, seed } },
      }),
  });
  log(`${arm} ${seed}: ${windows.count} windows, ${windows.perEpoch} batches an epoch`);
  await runTraining(
    subject,
    {
      ...{ folder, totalSteps: settings.steps, lr: settings.lr, schedule: 'cosine', warmup: 0.05 },
      ...{ weightDecay: 0.01, evalEvery: Math.ceil(settings.steps / 10), compute },
      identity: { settings: asked, arm, seed },
      resume: hasCheckpoint(folder),
    },
    {
      onBaseline: ({ metrics }) => log(`  base: dev perplexity ${metrics.perplexity!.toFixed(3)}`),
      onStep({ step, trainingLoss, throughput }) {
        if (step % Math.ceil(settings.steps / 40) !== 0) return;
        log(`  step ${step}: loss ${trainingLoss.toFixed(4)}, ${throughput.perSecond.toFixed(0)} tokens/s`);
      },
      onEvaluation: ({ step, metrics, best }) =>
        log(`  step ${step}: dev perplexity ${metrics.perplexity!.toFixed(3)}${best ? ', the best' : ''}`),
    },
  );
  await system.dispose();
  writeFileSync(done, asked);
  return model;
}

/** Measures a reading on the test split, unless its result is there. */
async function measure(
  reading: string,
  seed: number,
  open: () => Promise<{ system: LanguageSystem; close(): Promise<void> }>,
): Promise<TextResult> {
  const file = join(values.out, `retro-${reading}-${seed}.json`);
  const stored = storedResult<TextResult & { readonly settings: unknown }>(file, settings);
  if (stored) return stored;
  const { system, close } = await open();
  const start = performance.now();
  const options = { window, stride: window, limitTokens: orUndefined('test-tokens') };
  const found = await evaluateText(system, streamTextCorpus(split('test')), {
    ...options,
    onProgress: report,
  });
  const seconds = (performance.now() - start) / 1000;
  const content = {
    ...{ reading, seed, settings, machine: thisMachine(), seconds },
    ...{ ledger: system.ledger.totals, ...found },
  };
  writeFileSync(file, `${JSON.stringify(content)}\n`);
  await close();
  log(`${reading} ${seed}: test perplexity ${found.perplexity.toFixed(3)}, ${found.tokens} tokens`);
  return found;
}

mkdirSync(values.out, { recursive: true });
mkdirSync(work, { recursive: true });
const base = await LanguageModel.load(modelFolder);
const seeds = values.seeds.split(',').map(Number);
const passages = await corpusOf(base, 'train', orUndefined('database-tokens'));
const training =
  values['train-tokens'] === values['database-tokens']
    ? passages
    : await corpusOf(base, 'train', orUndefined('train-tokens'));
const shared = new Shared(base, {
  training,
  passages,
  dev: await corpusOf(base, 'valid', settings.devTokens),
});
log(`${shared.database.size} chunks to retrieve, ${shared.chunks.size} to train on`);

const results = new Map<string, TextResult[]>();
const off = await measure('off', 0, async () => ({ system: plainSystem(base), close: async () => {} }));
results.set('off', [off]);
for (const seed of seeds) {
  for (const arm of values.arms.split(',')) {
    const folder = await train(shared, arm, seed);
    for (const [name, reading] of Object.entries({ [arm]: ARMS[arm]!.own, ...ARMS[arm]!.others })) {
      const measured = await measure(name, seed, async () => {
        const retro = await loadRetro(folder);
        const system = await shared.system(retro, reading, seed);
        const close = async () => {
          await system.dispose();
          await retro.base.dispose();
        };
        return { system, close };
      });
      results.set(name, [...(results.get(name) ?? []), measured]);
    }
  }
}

console.log(
  '\nnats per token (mean of articles); differences from off and from shuffled with 95 % intervals over articles; perplexity of each seed',
);
const summary: Record<string, unknown> = {};
for (const [name, measured] of results) {
  const nats = articleNats(measured);
  const natsPerToken = mean(nats);
  const fromOff = pairedDifference(nats, articleNats([off]));
  const shuffled = results.get('shuffled');
  const fromShuffled = shuffled && pairedDifference(nats, articleNats(shuffled));
  const perplexities = measured.map(({ perplexity }) => perplexity);
  const cells = [fromOff, ...(fromShuffled ? [fromShuffled] : [])].map(
    ({ difference, low, high }) => `${difference.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`,
  );
  console.log(
    `  ${name.padEnd(14)}${natsPerToken.toFixed(4)}   ${cells.join('   ')}   ${perplexities.map((each) => each.toFixed(3)).join(' ')}`,
  );
  summary[name] = { natsPerToken, fromOff, ...(fromShuffled && { fromShuffled }), perplexities };
}
writeFileSync(
  join(values.out, 'retro-summary.json'),
  `${JSON.stringify({ settings, seeds, articles: off.documents.length, machine: thisMachine(), readings: summary }, null, 2)}\n`,
);
