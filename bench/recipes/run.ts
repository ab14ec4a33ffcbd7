/**
 * Trains the best encoder that a recipe makes from a given one, beside the recipe that sentence-transformers recommends, with the same start,
 * data, steps and batch:
 *
 *     npx tsx bench/recipes/run.ts CONFIG WORK [--seeds 1,2,3] [--sides start,undrift,peer] [--split test] [--threads 2] [--out FILE]
 *
 * CONFIG is a JSON file of this folder (see `Recipe`); its paths are relative to it. WORK takes data, runs and models. Each stage runs in a process
 * of its own, which reports time and peak memory. All models are evaluated alike, on one split. The peer needs Python with PyTorch; without it,
 * its side is left out with a message. A side that the result file (default `bench/results/recipes/NAME.json`) holds with the same settings is
 * not run again.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { loadData } from '../../src/data/load.ts';
import type { RetrievalData } from '../../src/data/retrieval-data.ts';
import { loadRetriever } from '../../src/models/folder/model-folder.ts';
import { evaluateRetriever } from '../../src/retrieval/evaluate-retriever.ts';
import { hasCheckpoint } from '../../src/train/checkpoint.ts';
import { freshNode, freshProcess } from '../fresh-process.ts';
import { missingPeers, peersPython } from '../peers/python.ts';

/** Config file of a recipe. Paths are relative to it. */
interface Recipe {
  readonly name: string;
  /** Data set with the splits train, dev and test. */
  readonly data: string;
  /** Model folder that all sides start from. */
  readonly model: string;
  /** Options of training that all sides share. */
  readonly shared: {
    readonly batchSize: number;
    readonly steps: number;
    readonly maxQueryTokens: number;
    readonly maxDocTokens: number;
  };
  /** Commands of Undrift. The last one trains the retriever, and has the shared options. */
  readonly undrift: readonly Stage[];
  /** Options of the peer: its rate, and how it mines negatives. */
  readonly peer: {
    readonly lr: number;
    readonly temperature: number;
    readonly negatives: number;
    readonly rankFrom: number;
    readonly rankTo: number;
    readonly relativeMargin: number;
  };
  readonly metrics: readonly string[];
  /** Largest number of queries of the evaluation. */
  readonly queries: number;
}

/** Command of `undrift`, `mine` or `train`, with its flags; `stage:NAME` stands for the output of an earlier stage. */
interface Stage {
  readonly name: string;
  readonly command: 'mine' | 'train';
  readonly flags: Readonly<Record<string, string>>;
}

/** Cost of a stage, in its own process. */
interface StageCost {
  readonly seconds: number;
  readonly peakResidentBytes: number;
}

/** Model of a side, with what it cost. */
interface SideResult {
  readonly side: string;
  readonly seed: number;
  readonly split: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly stages: Readonly<Record<string, StageCost>>;
  readonly version?: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    sides: { type: 'string', default: 'start,undrift,peer' },
    split: { type: 'string', default: 'test' },
    threads: { type: 'string', default: '2' },
    out: { type: 'string' },
  },
});
const [configFile, work] = positionals;
if (!configFile || !work) throw new Error('usage: npx tsx bench/recipes/run.ts CONFIG WORK [options]');
const file = resolve(configFile);
const beside = (path: string) => resolve(dirname(file), path);
const recipe = JSON.parse(readFileSync(file, 'utf8')) as Recipe;
const { shared, metrics, queries } = recipe;
const threads = Number(values.threads);
const model = beside(recipe.model);
const data = await loadData(beside(recipe.data));
const out = values.out ?? fileURLToPath(new URL(`../results/recipes/${recipe.name}.json`, import.meta.url));

const settings = { ...recipe, data: basename(recipe.data), model: basename(recipe.model) };
const stored = existsSync(out) ? JSON.parse(readFileSync(out, 'utf8')) : undefined;
const isSame = JSON.stringify(stored?.settings) === JSON.stringify(settings);
const results: SideResult[] = isSame ? [...stored.results] : [];
mkdirSync(dirname(out), { recursive: true });

for (const seed of values.seeds.split(',').map(Number)) {
  for (const side of values.sides.split(',')) {
    const own = side === 'start' ? 0 : seed;
    const { split } = values;
    if (results.some((each) => each.side === side && each.seed === own && each.split === split)) continue;
    const missing =
      side === 'peer' ? missingPeers(['torch', 'sentence_transformers', 'datasets']) : undefined;
    if (missing) {
      console.error(`peer left out: ${missing}`);
      continue;
    }
    const made = await make(side, own);
    const found = await evaluated(made.model);
    const { stages = {}, version } = made;
    results.push({ side, seed: own, split, metrics: found, stages, ...(version && { version }) });
    writeFileSync(out, `${JSON.stringify({ settings, machine: thisMachine(), results }, null, 1)}\n`);
    const seconds = Object.values(stages).reduce((sum, each) => sum + each.seconds, 0);
    console.log(`${side}, seed ${own}: ${JSON.stringify(found)}, ${seconds.toFixed(0)} s`);
  }
}

interface Made {
  readonly model: string;
  readonly stages?: Readonly<Record<string, StageCost>>;
  readonly version?: string;
}

async function make(side: string, seed: number): Promise<Made> {
  if (side === 'start') return { model };
  if (side === 'undrift') return await ours(seed);
  if (side === 'peer') return await theirs(seed);
  throw new Error(`no side is called ${side}: start, undrift or peer`);
}

/** Runs the stages of Undrift. */
async function ours(seed: number): Promise<Made> {
  const stages: Record<string, StageCost> = {};
  const outputs = new Map<string, string>();
  const retriever = recipe.undrift.at(-1)!;
  const { batchSize, steps, maxQueryTokens, maxDocTokens } = shared;
  const lengths = { 'max-query-tokens': maxQueryTokens, 'max-doc-tokens': maxDocTokens };
  const sharedFlags = { 'batch-size': batchSize, steps, ...lengths };
  for (const stage of recipe.undrift) {
    const { name, command, flags } = stage;
    const place = join(work!, `${recipe.name}-${name}-${seed}`);
    const isMined = command === 'mine';
    const given = Object.entries(flags).map(([key, value]) => {
      const earlier = /^stage:(.*)$/.exec(value)?.[1];
      return [key, earlier === undefined ? value : outputs.get(earlier)!] as const;
    });
    const all = {
      ...{ model, data: beside(recipe.data), seed, threads },
      ...{ out: isMined ? `${place}.jsonl` : place },
      ...(stage === retriever && sharedFlags),
      ...Object.fromEntries(given),
    };
    const resumed = hasCheckpoint(place) ? ['--resume'] : isMined ? [] : ['--overwrite'];
    const line = Object.entries(all).flatMap(([key, value]) => [`--${key}`, String(value)]);
    console.log(`undrift ${[command, ...line, ...resumed].join(' ')}`);
    stages[name] = await freshNode<StageCost>(new URL('stage.ts', import.meta.url), [
      ...[command, ...line, ...resumed, '--quiet'],
    ]);
    outputs.set(name, all.out);
  }
  return { model: join(outputs.get(retriever.name)!, 'model'), stages };
}

/** Trains the model of the peer, on the training queries with their right documents. */
async function theirs(seed: number): Promise<Made> {
  const folder = join(work!, `${recipe.name}-peer-${seed}`);
  mkdirSync(folder, { recursive: true });
  const { corpus } = data;
  const lines = (records: readonly object[]) =>
    records.map((record) => `${JSON.stringify(record)}\n`).join('');
  writeFileSync(join(folder, 'pairs.jsonl'), lines(trainingPairs(data)));
  const documents = Array.from({ length: corpus.size }, (_, row) => ({ text: corpus.text(row) }));
  writeFileSync(join(folder, 'corpus.jsonl'), lines(documents));
  const { batchSize, steps, maxDocTokens } = shared;
  const options = { ...recipe.peer, model, batchSize, steps, seed, maxTokens: maxDocTokens };
  const script = fileURLToPath(new URL('../peers/recipe.py', import.meta.url));
  const { version, seconds, peakResidentBytes } = await freshProcess<StageCost & { version: string }>(
    peersPython(),
    [script, folder, String(threads), JSON.stringify(options)],
    { env: { OMP_NUM_THREADS: String(threads), TOKENIZERS_PARALLELISM: 'false' } },
  );
  return { model: join(folder, 'model'), version, stages: { recipe: { seconds, peakResidentBytes } } };
}

/** Makes a record of each training query and right document. */
function trainingPairs({ corpus, queries: texts, qrels }: RetrievalData) {
  return [...qrels('train')].flatMap(([query, grades]) =>
    [...grades].flatMap(([document, grade]) =>
      grade > 0
        ? [{ query: texts.text(texts.row(query)!), positive: corpus.text(corpus.row(document)!) }]
        : [],
    ),
  );
}

async function evaluated(folder: string): Promise<Readonly<Record<string, number>>> {
  const { maxQueryTokens, maxDocTokens } = shared;
  const retriever = await loadRetriever(folder, {
    maxTokens: { query: maxQueryTokens, document: maxDocTokens },
  });
  const found = await evaluateRetriever(retriever, data, values.split, {
    ...{ metrics: [...metrics], limitQueries: queries, threads },
  });
  await retriever.dispose();
  return found.metrics;
}
