/**
 * Measures NPM: encoders that find the phrase behind a mask in texts, beside masked language models that write it token by token.
 *
 *     npx tsx bench/rlm/npm.ts DATA WORK [--arms base,more,same-document,random,detached] [--seeds 1,2,3] [--model MODEL] [--base-steps 6000]
 *         [--steps 1500] [--base-batch 32] [--batch 8] [--batch-documents 1] [--temperature 1] [--window 128] [--hidden 256] [--layers 4]
 *         [--base-lr 1e-3] [--lr 3e-4] [--dev-spans 200] [--spans 2000] [--test-documents 0] [--threads 2] [--out bench/results/rlm]
 *
 * DATA holds train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz with long documents. WORK takes the runs. A masked language model is trained first,
 * the base of all arms: from nothing, or from MODEL, whose missing head for masks it trains:
 *
 *     base              the base as it is
 *     more              trained on as a masked language model, in as many steps
 *     same-document     NPM, batches of pieces of one document
 *     random            NPM, batches of random pieces
 *     detached          NPM, no gradient to the tokens that are searched
 *
 * A step reads at most as many tokens in each arm: NPM reads its pieces twice, so `more` has twice as many. But a batch of one document is as large as
 * the document. Of articles of 500 tokens, it has half of what a random batch has; --batch-documents 2 makes them alike.
 *
 * `base` and `more` are read in two ways: by their head, which is told the length of each span, and as encoders that find phrases (untrained
 * keys). Spans of the test split are drawn as in training and masked one at a time; phrases are found in all other pieces of all documents of
 * that split. Temperature and power of the length are tuned on the validation split: with --test-documents, on as many documents of it, since the
 * best ones depend on the number of tokens that are searched. The test split is read once for each reading, the same
 * spans each time. Spans of two tokens or more whose phrase the training split lacks are counted apart.
 *
 * Each reading writes OUT/npm-ARM-READING-SEED.json, with --test-documents OUT/npm-first-DOCUMENTS-ARM-READING-SEED.json, and is not run again
 * while that file has its settings; runs go on from checkpoints.
 * Differences are paired by span, and averaged over the seeds.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { streamTextCorpus, type TextDocument } from '../../src/data/text-corpus.ts';
import { loadRetriever } from '../../src/models/folder/open-retriever.ts';
import { MaskedLanguageModel } from '../../src/models/masked/masked-language-model.ts';
import { evaluateMaskedFill } from '../../src/rlm/evaluate-masked-fill.ts';
import { PhraseEvaluator } from '../../src/rlm/evaluate-npm.ts';
import { type SpanMatch, spanMeasures } from '../../src/rlm/masked-spans.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.ts';
import { trainMasked } from '../../src/train/masked/train-masked.ts';
import type { NpmTrainOptions } from '../../src/train/npm/options.ts';
import { trainNpm } from '../../src/train/npm/train-npm.ts';
import { log, mean, pairedDifference, storedResult, trainingLog } from './results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arms: { type: 'string', default: 'base,more,same-document,random,detached' },
    seeds: { type: 'string', default: '1,2,3' },
    model: { type: 'string', default: '' },
    'base-steps': { type: 'string', default: '6000' },
    steps: { type: 'string', default: '1500' },
    'base-batch': { type: 'string', default: '32' },
    batch: { type: 'string', default: '8' },
    'batch-documents': { type: 'string', default: '1' },
    temperature: { type: 'string', default: '1' },
    window: { type: 'string', default: '128' },
    hidden: { type: 'string', default: '256' },
    layers: { type: 'string', default: '4' },
    'base-lr': { type: 'string', default: '1e-3' },
    lr: { type: 'string', default: '3e-4' },
    'dev-spans': { type: 'string', default: '200' },
    spans: { type: 'string', default: '2000' },
    'test-documents': { type: 'string', default: '0' },
    threads: { type: 'string', default: '2' },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [dataFolder, work] = positionals;
if (!dataFolder || !work) throw new Error('usage: npx tsx bench/rlm/npm.ts DATA WORK [options]');

const number = (name: keyof typeof values): number => Number(values[name]);
const split = (name: string) => join(dataFolder!, `${name}.jsonl.gz`);
const [window, threads] = [number('window'), number('threads')];

type Training = Partial<NpmTrainOptions> | 'masked' | 'none';
type Reading = 'head' | 'phrases';
const ARMS: Readonly<Record<string, { training: Training; readings: readonly Reading[] }>> = {
  base: { training: 'none', readings: ['head', 'phrases'] },
  more: { training: 'masked', readings: ['head', 'phrases'] },
  'same-document': { training: {}, readings: ['phrases'] },
  random: { training: { batching: 'random' }, readings: ['phrases'] },
  detached: { training: { detachKeys: true }, readings: ['phrases'] },
};
/** Values among which the validation split chooses. */
const TEMPERATURES = [0.3, 1, 3];
const LENGTH_POWERS = [0, 0.5, 1];

/** Settings of the base, of the trained models, and of everything. */
const base = {
  ...{ steps: number('base-steps'), batchSize: number('base-batch'), lr: number('base-lr'), window },
  ...(values.model
    ? { model: basename(values.model) }
    : { hidden: number('hidden'), layers: number('layers') }),
};
const [batchDocuments, temperature] = [number('batch-documents'), number('temperature')];
const trained = {
  ...{ base, steps: number('steps'), batch: number('batch'), lr: number('lr'), threads },
  // Results from before these options stay valid.
  ...(batchDocuments !== 1 && { batchDocuments }),
  ...(temperature !== 1 && { temperature }),
};
const settings = {
  ...{ data: basename(dataFolder), ...trained, devSpans: number('dev-spans'), spans: number('spans') },
  testDocuments: number('test-documents'),
};
/** Beginning of the names of result files. */
const prefix = settings.testDocuments > 0 ? `npm-first-${settings.testDocuments}` : 'npm';

interface Result extends ReturnType<typeof spanMeasures> {
  readonly settings: unknown;
  readonly units: readonly SpanUnit[];
}
/** Span with what the differences need. */
interface SpanUnit extends Pick<SpanMatch, 'tokens' | 'exactMatch'> {
  readonly id: string;
  readonly seen: boolean;
}

const callbacks = trainingLog();

/** Runs a training, unless it is done, and returns the folder of its model. */
async function once(
  name: string,
  asked: unknown,
  train: (run: { out: string; resume: boolean }) => Promise<unknown>,
): Promise<string> {
  const out = join(work!, name);
  const done = `${out}.done`;
  if (existsSync(done) && readFileSync(done, 'utf8') === JSON.stringify(asked)) return join(out, 'model');
  log(name);
  await train({ out, resume: hasCheckpoint(out) });
  writeFileSync(done, JSON.stringify(asked));
  return join(out, 'model');
}

const common = { data: split('train'), evalData: split('valid'), threads };
const start = values.model ? { model: values.model } : {};
const baseFolder = () =>
  once('base', base, (run) =>
    trainMasked(
      { ...common, ...base, ...start, ...run, seed: 1, evalEvery: Math.ceil(base.steps / 10) },
      callbacks,
    ),
  );

/** Trains an arm, unless it is trained. A masked model reads each piece once a step where NPM reads it twice, so it gets twice the pieces. */
async function trainArm(arm: string, seed: number): Promise<string> {
  const model = await baseFolder();
  const { training } = ARMS[arm]!;
  if (training === 'none') return model;
  return await once(`${arm}-${seed}`, trained, (run) => {
    const shared = { ...common, ...run, model, window, seed, steps: trained.steps, lr: trained.lr };
    const evalEvery = Math.ceil(trained.steps / 5);
    return training === 'masked'
      ? trainMasked({ ...shared, batchSize: 2 * trained.batch, evalEvery }, callbacks)
      : trainNpm(
          {
            ...{ ...shared, batchSize: trained.batch, evalEvery, temperature },
            ...(training.batching !== 'random' && { batchDocuments }),
            ...training,
          },
          callbacks,
        );
  });
}

/** Documents of a split, up to a number; 0 for all. */
async function* documentsOf(name: string, limit: number): AsyncGenerator<TextDocument> {
  let taken = 0;
  for await (const document of streamTextCorpus(split(name))) {
    yield document;
    taken += 1;
    if (taken === limit) return;
  }
}

const idOf = ({ document, token }: Pick<SpanMatch, 'document' | 'token'>) => `${document}@${token}`;

/** Finds out which spans of the test split the training split has, once: they depend on the vocabulary and the window alone. */
async function seenSpans(): Promise<ReadonlySet<string>> {
  const file = join(work!, 'seen.json');
  const asked = JSON.stringify({ base, spans: settings.spans, testDocuments: settings.testDocuments });
  if (existsSync(file)) {
    const stored = JSON.parse(readFileSync(file, 'utf8')) as { asked: string; seen: string[] };
    if (stored.asked === asked) return new Set(stored.seen);
  }
  log('phrases of the training split');
  const model = await MaskedLanguageModel.load(await baseFolder());
  const { spans } = await evaluateMaskedFill(model, documentsOf('test', settings.testDocuments), {
    ...{ window, threads, limitSpans: settings.spans, seen: streamTextCorpus(split('train')) },
  });
  await model.dispose();
  const seen = spans.filter((span) => span.seen).map(idOf);
  writeFileSync(file, JSON.stringify({ asked, seen }));
  return new Set(seen);
}

/** Fills the spans of a split by the head of a model. */
async function byHead(folder: string): Promise<readonly SpanMatch[]> {
  const model = await MaskedLanguageModel.load(folder);
  const documents = documentsOf('test', settings.testDocuments);
  const { spans } = await evaluateMaskedFill(model, documents, {
    window,
    threads,
    limitSpans: settings.spans,
  });
  await model.dispose();
  return spans;
}

/** Fills the spans of the test split with phrases, by the settings that find most on the validation split. */
async function byPhrases(folder: string) {
  const retriever = await loadRetriever(folder);
  const open = (name: string, limitSpans: number) =>
    PhraseEvaluator.open(retriever, documentsOf(name, settings.testDocuments), {
      ...{ window, threads, limitSpans },
    });
  const dev = await open('valid', settings.devSpans);
  let best = { found: -1, filling: {} };
  for (const temperature of TEMPERATURES)
    for (const lengthPower of LENGTH_POWERS) {
      const filling = { temperature, lengthPower };
      const { exactMatch: found } = await dev.measure(filling);
      if (found > best.found) best = { found, filling };
    }
  await dev.dispose();
  const test = await open('test', settings.spans);
  const { spans, startTop1, startTop10 } = await test.measure(best.filling);
  await test.dispose();
  await retriever.dispose();
  return { spans, filling: best.filling, starts: { startTop1, startTop10 } };
}

/** Reads the test split in one way, unless its result is there. */
async function read(arm: string, reading: Reading, seed: number, folder: string): Promise<Result> {
  const file = join(values.out, `${prefix}-${arm}-${reading}-${seed}.json`);
  const stored = storedResult<Result>(file, settings);
  if (stored) return stored;
  const seen = await seenSpans();
  const start = performance.now();
  const { spans, ...tuned } = reading === 'head' ? { spans: await byHead(folder) } : await byPhrases(folder);
  const matches = spans.map((span) => ({ ...span, seen: seen.has(idOf(span)) }));
  const seconds = (performance.now() - start) / 1000;
  const result = {
    ...{ arm, reading, seed, settings, machine: thisMachine(), seconds, ...tuned, ...spanMeasures(matches) },
    units: matches.map((span) => ({
      ...{ id: idOf(span), tokens: span.tokens, exactMatch: span.exactMatch, seen: span.seen },
    })),
  };
  writeFileSync(file, `${JSON.stringify(result)}\n`);
  const { exactMatch, exactMatchLong, exactMatchUnseen } = result;
  log(
    `${arm}, ${reading}, seed ${seed}: ${JSON.stringify({ exactMatch, exactMatchLong, exactMatchUnseen })}`,
  );
  return result;
}

mkdirSync(values.out, { recursive: true });
mkdirSync(work, { recursive: true });
const results = new Map<string, Result[]>();
for (const seed of values.seeds.split(',').map(Number)) {
  for (const arm of values.arms.split(',')) {
    // The base has no seed.
    const own = ARMS[arm]!.training === 'none' ? 0 : seed;
    if (own === 0 && results.has(`${arm}, head`)) continue;
    const folder = await trainArm(arm, own);
    for (const reading of ARMS[arm]!.readings) {
      const key = `${arm}, ${reading}`;
      results.set(key, [...(results.get(key) ?? []), await read(arm, reading, own, folder)]);
    }
  }
}

const GROUPS: Readonly<Record<string, (unit: SpanUnit) => boolean>> = {
  all: () => true,
  'two tokens or more': ({ tokens }) => tokens > 1,
  'of them unseen': ({ tokens, seen }) => tokens > 1 && !seen,
};
const reference = results.get('base, head') ?? [...results.values()][0]!;
for (const [group, belongs] of Object.entries(GROUPS)) {
  const found = (seeds: readonly Result[]) => {
    const [first] = seeds as [Result];
    const chosen = [...first.units.keys()].filter((i) => belongs(first.units[i]!));
    return chosen.map((i) => mean(seeds.map(({ units }) => units[i]!.exactMatch)));
  };
  const theirs = found(reference);
  console.log(
    `\n${group}: ${theirs.length} spans; share found, difference from the first, 95 % interval, each seed`,
  );
  for (const [name, measured] of results) {
    const own = found(measured);
    const { difference, low, high } = pairedDifference(own, theirs);
    const cells = [mean(own), difference, low, high].map((value) => value.toFixed(4).padStart(9));
    console.log(
      `  ${name.padEnd(26)}${cells.join(' ')}  ${measured.map((each) => mean(found([each])).toFixed(4)).join(' ')}`,
    );
  }
}
