/**
 * Measures RPT: models that retrieve chunks of the text that they read, with the retriever and its controls as arms.
 *
 *     npx tsx bench/rlm/rpt.ts MODEL DATA WORK [--arms base,window,random,bm25,lexical,semantic,oracle,no-gate,predicted] [--seeds 1,2,3]
 *         [--reference MODEL] [--chunk 16] [--window 64] [--stride 32] [--sequence 1024] [--candidates 10] [--neighbours 2] [--steps 1000]
 *         [--batch 2] [--lr 1e-3] [--base-lr 3e-4] [--train-tokens 300000] [--dev-tokens 20000] [--test-tokens 60000] [--out bench/results/rlm]
 *
 * MODEL is a language model trained on the training split (`undrift lm train`), from which all arms start, and which grades chunks unless
 * --reference names another one. DATA holds the splits train, valid (or dev) and test with long documents, as .jsonl.gz or .jsonl. WORK takes the
 * runs, one for each arm and seed, and the grades, which all of them share. Arms:
 *
 *     base        MODEL as it is
 *     window      trained on its windows alone, as long as the others; not with --base-lr 0, where it is the base
 *     random      reads random earlier chunks
 *     bm25        reads earlier chunks by BM25 with the chunk as query (RETRO with BM25 in the same architecture)
 *     lexical     learned retriever, graded by BM25 with the next chunk in the query
 *     semantic    learned retriever, graded by the reference model
 *     oracle      reads the best chunks by grade, in training and in the test: what retrieval could give
 *     no-gate     as semantic, without gates
 *     predicted   as semantic, reads its own neighbours from the first step on
 *
 * A run keeps the weights with the lowest perplexity on the validation split. The test split is read once for each arm. Beside its perplexity
 * stands the step of these weights: where training harms the base, arms keep an early one, and their parts have learnt little. And the precision: the
 * share of the neighbours read whose grade is above 0. Only candidates, the best by BM25 with the next chunk in the query, have grades; other
 * neighbours count as useless. `window`, `base` and arms of random neighbours say what the others have to beat; where `oracle` is no better than
 * `window`, the grades carry no signal at this size, which is then the result. Each arm writes OUT/rpt-ARM-SEED.json, and is not run again while that file has
 * its settings; runs go on from checkpoints, and grading from what is on the disk. Differences are paired by article, and averaged over the seeds.
 *
 * Estimated cost with a model of 4 layers and 128 dimensions on 2 cores at 20 GFLOP/s: grading 300,000 tokens with 10 candidates reads 13 million
 * tokens once, 40 minutes; 1,000 steps of two sequences, of 1,024 tokens at most, take 50 minutes for each arm and seed, and the test 2 minutes.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { streamTextCorpus, type TextDocument } from '../../src/data/text-corpus.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { gradedChunks } from '../../src/rlm/chunk-choice.ts';
import { type ChunkGrader, ReferenceGrader } from '../../src/rlm/chunk-grades.ts';
import { ChunkedText } from '../../src/rlm/chunked-text.ts';
import { evaluateText } from '../../src/rlm/evaluate-text.ts';
import type { LanguageSystem } from '../../src/rlm/language-system.ts';
import { plainSystem } from '../../src/rlm/plain-system.ts';
import { openRpt, RPT_CONFIG } from '../../src/rlm/rpt.ts';
import { type ChosenNeighbours, RptSystem } from '../../src/rlm/rpt-system.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.ts';
import type { RptTrainOptions } from '../../src/train/rpt/options.ts';
import { trainRpt } from '../../src/train/rpt/train-rpt.ts';
import {
  articleNats,
  log,
  pairedDifference,
  storedResult,
  type TextResult,
  type TextSplit,
  textSplit,
  trainingLog,
} from './results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arms: { type: 'string', default: 'base,window,random,bm25,lexical,semantic,oracle,no-gate,predicted' },
    seeds: { type: 'string', default: '1,2,3' },
    reference: { type: 'string', default: '' },
    chunk: { type: 'string', default: '16' },
    window: { type: 'string', default: '64' },
    stride: { type: 'string', default: '32' },
    sequence: { type: 'string', default: '1024' },
    candidates: { type: 'string', default: '10' },
    neighbours: { type: 'string', default: '2' },
    steps: { type: 'string', default: '1000' },
    batch: { type: 'string', default: '2' },
    lr: { type: 'string', default: '1e-3' },
    'base-lr': { type: 'string', default: '3e-4' },
    'train-tokens': { type: 'string', default: '300000' },
    'dev-tokens': { type: 'string', default: '20000' },
    'test-tokens': { type: 'string', default: '60000' },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [modelFolder, dataFolder, work] = positionals;
if (!modelFolder || !dataFolder || !work)
  throw new Error('usage: npx tsx bench/rlm/rpt.ts MODEL DATA WORK [options]');

const number = (name: keyof typeof values): number => Number(values[name]);
const split = (name: TextSplit) => textSplit(dataFolder!, name);
const reference = values.reference || modelFolder;
const [chunkTokens, window, stride] = [number('chunk'), number('window'), number('stride')];
const [chunkCandidates, k] = [number('candidates'), number('neighbours')];
const scoreCache = join(work, 'scores');

/** Options of the arms that read neighbours, and of those whose chunks are graded. */
const reading = { chunkNeighbours: k, lr: number('lr') };
const graded = { ...reading, chunkCandidates, reference, scoreCache };
/** Options of each arm, or none for the model as it is. */
const ARMS: Readonly<Record<string, Partial<RptTrainOptions> | undefined>> = {
  base: undefined,
  window: { retrieval: 'none' },
  random: { ...reading, retrieval: 'random' },
  bm25: { ...reading, retrieval: 'bm25' },
  lexical: { ...reading, labels: 'lexical', chunkCandidates },
  semantic: graded,
  oracle: { ...graded, retrieval: 'oracle' },
  'no-gate': { ...graded, gates: false },
  predicted: { ...graded, sampling: 'predicted' },
};
const arms = values.arms.split(',');
for (const arm of arms)
  if (!(arm in ARMS)) throw new Error(`--arms: there is no ${arm}, only ${Object.keys(ARMS).join(', ')}`);
if (arms.includes('window') && number('base-lr') === 0)
  throw new Error('--arms: window is the base with --base-lr 0; name base in its place');

/** Settings that change the trained models, and those of everything. */
const trained = {
  ...{ model: modelFolder, reference, chunkTokens, window, stride, k, chunkCandidates },
  ...{ sequence: number('sequence'), steps: number('steps'), batch: number('batch') },
  ...{ lr: number('lr'), baseLr: number('base-lr'), trainTokens: number('train-tokens') },
  devTokens: number('dev-tokens'),
};
const settings = { ...trained, testTokens: number('test-tokens') };

/** Perplexity of an arm on the test split, and its precision. */
interface ArmResult extends TextResult {
  /** Share of the neighbours read that have a grade above 0; null where none are read. */
  readonly precision: number | null;
  /** Step of the weights, which are the best by the validation split; null for the model as it is. */
  readonly step: number | null;
  readonly settings: unknown;
}

const callbacks = trainingLog();

/** Trains an arm, unless it is trained, and returns the folder of its model. */
async function train(arm: string, seed: number): Promise<string> {
  const options = ARMS[arm];
  if (!options) return modelFolder!;
  const out = join(work!, `${arm}-${seed}`);
  const done = `${out}.done`;
  const asked = JSON.stringify(trained);
  if (existsSync(done) && readFileSync(done, 'utf8') === asked) return join(out, 'model');
  log(`${arm}, seed ${seed}`);
  const { sequence, steps, batch: batchSize, baseLr, trainTokens, devTokens } = trained;
  await trainRpt(
    {
      ...{ data: split('train'), evalData: split('valid'), model: modelFolder!, out, seed },
      ...{ chunkTokens, window, stride, sequence, steps, batchSize, baseLr },
      ...{ limitTokens: trainTokens, evalTokens: devTokens, evalEvery: Math.ceil(steps / 5) },
      ...options,
      resume: hasCheckpoint(out),
    },
    callbacks,
  );
  writeFileSync(done, asked);
  return join(out, 'model');
}

/** Share of neighbours that have a grade above 0, among those of chunks that have some and are followed by another chunk. */
async function precisionOf(
  chosen: readonly ChosenNeighbours[],
  documents: readonly TextDocument[],
  { tokenizer }: LanguageModel,
  grader: ChunkGrader,
): Promise<number | null> {
  let [right, all] = [0, 0];
  const { before } = tokenizer.wrapper;
  for (const { id, text } of documents) {
    const ids = Int32Array.from([...before, ...tokenizer.encodeRaw(text)]);
    const chunked = new ChunkedText(ids, { tokenizer, chunkTokens, name: id });
    for (const { chunk, among, neighbours } of chosen.filter(({ document }) => document === id)) {
      if (neighbours.length === 0 || chunk + 1 >= chunked.chunks) continue;
      const { chunks, grades } = await grader.grade(chunked, chunk, among);
      const useful = new Set(chunks.filter((_, i) => grades[i]! > 0));
      right += neighbours.filter((each) => useful.has(each)).length;
      all += neighbours.length;
    }
  }
  await grader.flush?.();
  return all === 0 ? null : right / all;
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Step of the weights that a run has kept; null for a model that is no RPT model. */
function stepOf(folder: string): number | null {
  const file = join(folder, RPT_CONFIG);
  if (!existsSync(file)) return null;
  return (JSON.parse(readFileSync(file, 'utf8')) as { training: { step: number } }).training.step;
}

/** Reads the test split with the model of an arm, unless its result is there. */
async function measure(arm: string, seed: number, folder: string): Promise<ArmResult> {
  const file = join(values.out, `rpt-${arm}-${seed}.json`);
  const stored = storedResult<ArmResult>(file, settings);
  if (stored) return stored;
  const model = await LanguageModel.load(folder);
  const judge = await LanguageModel.load(reference);
  const grader = await ReferenceGrader.create(judge, {
    ...{ candidates: chunkCandidates, tokenizer: model.tokenizer, chunkTokens, cache: scoreCache },
  });
  const chosen: ChosenNeighbours[] = [];
  const start = performance.now();
  const system: LanguageSystem =
    ARMS[arm] === undefined
      ? plainSystem(model)
      : new RptSystem(await openRpt(folder, model), {
          ...{ seed, oracle: gradedChunks(grader), onChosen: (each) => chosen.push(each) },
        });
  const documents = await listOf(streamTextCorpus(split('test')));
  const found = await evaluateText(system, documents, { window, stride, limitTokens: settings.testTokens });
  const seconds = (performance.now() - start) / 1000;
  const precision = await precisionOf(chosen, documents, model, grader);
  const content = {
    ...{ arm, seed, settings, machine: thisMachine(), seconds, precision, step: stepOf(folder) },
    ...{ ledger: system.ledger.totals, ...found },
  };
  writeFileSync(file, `${JSON.stringify(content)}\n`);
  await system.dispose();
  await model.dispose();
  await judge.dispose();
  const shown = precision === null ? '' : `, precision ${precision.toFixed(3)}`;
  log(`${arm}, seed ${seed}: test perplexity ${found.perplexity.toFixed(3)}${shown}`);
  return content;
}

mkdirSync(values.out, { recursive: true });
mkdirSync(work, { recursive: true });
const results = new Map<string, ArmResult[]>();
for (const seed of values.seeds.split(',').map(Number)) {
  for (const arm of arms) {
    const known = results.get(arm) ?? [];
    // The base has no seed.
    if (ARMS[arm] === undefined && known.length > 0) continue;
    const own = ARMS[arm] === undefined ? 0 : seed;
    results.set(arm, [...known, await measure(arm, own, await train(arm, own))]);
  }
}

const compared = results.has('window') ? 'window' : [...results.keys()][0]!;
const theirs = articleNats(results.get(compared)!);
console.log(
  `\ndifference from ${compared} in nats per token, with the 95 % interval over articles; precision, step of the weights, and perplexity of each seed`,
);
const summary: Record<string, unknown> = {};
for (const [arm, measured] of results) {
  const { difference, low, high } = pairedDifference(articleNats(measured), theirs);
  const perplexities = measured.map(({ perplexity }) => perplexity);
  const precisions = measured.map(({ precision }) => precision);
  const keptAt = measured.map(({ step }) => step);
  summary[arm] = { perplexities, precisions, steps: keptAt, difference, low, high };
  const cells = [difference, low, high].map((value) => value.toFixed(4).padStart(9));
  const shown = precisions.map((each) => (each === null ? '    –' : each.toFixed(3)));
  console.log(
    `  ${arm.padEnd(12)}${cells.join(' ')}  ${shown.join(' ')}  ${keptAt.map((each) => each ?? '–').join(' ')}  ${perplexities.map((each) => each.toFixed(3)).join(' ')}`,
  );
}
writeFileSync(join(values.out, 'rpt.json'), `${JSON.stringify({ settings, summary }, null, 2)}\n`);
