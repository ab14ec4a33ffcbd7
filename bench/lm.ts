/**
 * Measures language models beside transformers on PyTorch:
 *
 *     npm run bench:lm -- --model FOLDER [--suite score,train,generate,knn] [--case …] [--rounds N] [--threads N] [--without-python] [--out FILE]
 *     npm run bench:lm -- --small      seconds: tiny models, to see that all sides work
 *
 * | suite | measured                                                     | compared with                                    |
 * |-------|--------------------------------------------------------------|--------------------------------------------------|
 * | score | log-probabilities of all tokens of windows                   | transformers                                     |
 * | train | a training step: loss, gradients, clipping, AdamW            | transformers, with and without fused AdamW       |
 * | generate | the first token after a prompt; 64 tokens after a short one, greedily | transformers, transformers.js           |
 * | knn   | the 1,024 nearest of 1,000,000 keys of 576, for 64 and 1,024 queries; keys in memory, and f16 keys of a datastore | the bare matrix product of the same blocks, from f32 in memory |
 *
 * `--model` names a folder of a llama of Hugging Face, such as SmolLM2-135M; cases of it are left out without. Other models have random
 * weights. Every round runs each side in a fresh process with the same number of threads, in turn. Log-probabilities and losses of the
 * sides are compared. Progress and tables go to stderr, and the numbers to `bench/results/lm.json`, from which `npm run docs` makes the
 * tables of docs/performance.md.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import { compareSides, formatted, type Measurement, type SideSummary } from './comparison.ts';
import { freshNode, freshProcess } from './fresh-process.ts';
import { exportedFolder, LM_CASES, type ModelName, modelFolder } from './lm/cases.ts';
import { PEER_OPTIONS, peersPython } from './peers/python.ts';
import { type Machine, startMachine, writeResult } from './result-file.ts';
import { median, minimum } from './statistics.ts';

/** Comparison of a case with other libraries. */
export interface LmComparison {
  readonly suite: 'score' | 'train';
  readonly case: string;
  readonly model: ModelName;
  /** Windows and tokens of each, of one time. */
  readonly windows: number;
  readonly tokens: number;
  /** Rank of the adapters; 0 if all weights are trained, and for `score`. */
  readonly lora: number;
  readonly sides: readonly SideSummary[];
}

/** Generation beside other libraries: a prompt of one text, and new tokens. */
export interface GenerateComparison {
  readonly suite: 'generate';
  readonly case: string;
  readonly model: ModelName;
  /** Tokens of the prompt, and new tokens. */
  readonly prompt: number;
  readonly tokens: number;
  readonly sides: readonly SideSummary[];
}

/** Result of one case. */
export type LmResult = LmComparison | GenerateComparison | KnnResult;

/** Place of the keys of a search: f32 in memory, or f16 in the files of a datastore. */
export type KnnPlace = 'memory' | 'stored';

/** Search beside the bare product. */
export interface KnnResult {
  readonly suite: 'knn';
  readonly case: string;
  readonly rows: number;
  readonly dimension: number;
  readonly queries: number;
  readonly k: number;
  readonly place: KnnPlace;
  readonly bareMs: number;
  readonly searchMs: number;
  /** Median over the rounds, with the best over the best. */
  readonly ratio: number;
  readonly bestRatio: number;
}

/** Content of bench/results/lm.json. */
export interface LmResults extends Machine {
  /** Name of the folder of the given model. */
  readonly model: string | null;
  readonly results: readonly LmResult[];
}

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    suite: { type: 'string', default: 'score,train,generate,knn' },
    case: { type: 'string', default: '' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(defaultThreads()) },
    small: { type: 'boolean', default: false },
    ...PEER_OPTIONS,
    out: { type: 'string' },
  },
});
const { threads } = options;
const usesPython = !options['without-python'];
const rounds = Number(options.rounds);
const asked = options.case === '' ? undefined : new Set(options.case.split(','));

/** Search of a case: rows, dimension, queries, k and the place of the keys. */
type KnnCase = readonly [rows: number, dimension: number, queries: number, k: number, place: KnnPlace];

const KNN_CASES: Readonly<Record<string, KnnCase>> = {
  'keys-1m': [1_000_000, 576, 64, 1024, 'memory'],
  'keys-1m-batch': [1_000_000, 576, 1024, 1024, 'memory'],
  'stored-1m': [1_000_000, 576, 64, 1024, 'stored'],
  'stored-1m-batch': [1_000_000, 576, 1024, 1024, 'stored'],
  'keys-tiny': [3000, 32, 16, 150, 'memory'],
  'stored-tiny': [3000, 32, 16, 150, 'stored'],
};
/** Times measured in each process, after the first ones. */
const REPEATS = { score: 2, train: 4, generate: 2, knn: 5 };

const peer = (file: string) => fileURLToPath(new URL(`peers/${file}`, import.meta.url));
const inPython = (file: string, args: readonly string[]) =>
  freshProcess<Measurement>(peersPython(), [peer(file), ...args], {
    env: { OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads },
  });
const inNode = <Result>(file: string, args: readonly string[]) =>
  freshNode<Result>(new URL(`lm/${file}`, import.meta.url), args);

/** Whether a case is asked for: by its name, or by the size of the run. */
const isAsked = (id: string): boolean => asked?.has(id) ?? id.startsWith('tiny') === options.small;

async function folderOf(model: ModelName): Promise<string | undefined> {
  return model === 'given' ? options.model : await modelFolder(model);
}

async function comparisons(suite: 'score' | 'train'): Promise<LmComparison[]> {
  const made: LmComparison[] = [];
  for (const [id, given] of Object.entries(LM_CASES[suite])) {
    if (!isAsked(id)) continue;
    const { model, windows, tokens, lora } = { lora: 0, ...given };
    const folder = await folderOf(model);
    if (folder === undefined) {
      console.error(`${suite} ${id}: left out, since no --model is given`);
      continue;
    }
    const args = [folder, windows, tokens, threads, REPEATS[suite], ...(suite === 'train' ? [lora] : [])].map(
      String,
    );
    const python = `lm_${suite}.py`;
    const sides = await compareSides(
      {
        undrift: () => inNode<Measurement>(`undrift-${suite}.ts`, args),
        ...(usesPython && { transformers: () => inPython(python, args) }),
        ...(usesPython &&
          suite === 'train' && {
            'transformers, fused AdamW': () => inPython(python, [...args, '--fused']),
          }),
      },
      rounds,
    );
    const rates = Object.fromEntries(sides.map((s) => [s.name, (1000 * windows * tokens) / s.medianMs]));
    console.error(`${suite} ${id}: ${windows} × ${tokens} tokens\n${formatted(sides, 'tokens/s', rates)}\n`);
    made.push({ suite, case: id, model, windows, tokens, lora, sides });
  }
  return made;
}

async function generations(): Promise<GenerateComparison[]> {
  const made: GenerateComparison[] = [];
  for (const [id, { model, prompt, tokens }] of Object.entries(LM_CASES.generate)) {
    if (!isAsked(id)) continue;
    const folder = await folderOf(model);
    if (folder === undefined) {
      console.error(`generate ${id}: left out, since no --model is given`);
      continue;
    }
    const exported = await exportedFolder(folder);
    const args = [prompt, tokens, threads, REPEATS.generate].map(String);
    const sides = await compareSides(
      {
        undrift: () => inNode<Measurement>('undrift-generate.ts', [folder, ...args]),
        'undrift, packed weights': () =>
          inNode<Measurement>('undrift-generate.ts', [folder, ...args, '--packed']),
        ...(usesPython && { transformers: () => inPython('lm_generate.py', [folder, ...args]) }),
        'transformers.js': () =>
          inNode<Measurement>('../peers/transformers-js-generate.ts', [exported, ...args]),
      },
      rounds,
    );
    const rates = Object.fromEntries(sides.map((s) => [s.name, (1000 * tokens) / s.medianMs]));
    console.error(
      `generate ${id}: ${tokens} new tokens after ${prompt}\n${formatted(sides, 'new tokens/s', rates)}\n`,
    );
    made.push({ suite: 'generate', case: id, model, prompt, tokens, sides });
  }
  return made;
}

async function nearestKeys(): Promise<KnnResult[]> {
  const made: KnnResult[] = [];
  for (const [id, asCase] of Object.entries(KNN_CASES)) {
    if (!(asked?.has(id) ?? id.endsWith('tiny') === options.small)) continue;
    const [rows, dimension, queries, k, place] = asCase;
    const args = [...asCase, threads, REPEATS.knn].map(String);
    const found = await inNode<{ bareMs: number[]; searchMs: number[] }>('undrift-knn.ts', args);
    const ratio = median(found.searchMs.map((ms, i) => ms / found.bareMs[i]!));
    const bestRatio = minimum(found.searchMs) / minimum(found.bareMs);
    const [bareMs, searchMs] = [median(found.bareMs), median(found.searchMs)];
    console.error(
      `knn ${id}: bare ${bareMs.toFixed(0)} ms, search ${searchMs.toFixed(0)} ms, × ${ratio.toFixed(2)}`,
    );
    made.push({
      ...{ suite: 'knn', case: id, rows, dimension, queries, k, place },
      ...{ bareMs, searchMs, ratio, bestRatio },
    });
  }
  return made;
}

/** Suites by name. */
const SUITES: Readonly<Record<string, () => Promise<LmResult[]>>> = {
  score: () => comparisons('score'),
  train: () => comparisons('train'),
  generate: generations,
  knn: nearestKeys,
};

const suites = options.suite.split(',');
const unknown = suites.find((name) => !SUITES[name]);
if (unknown !== undefined) {
  console.error(`bench:lm: no such suite: ${unknown}\n  help: use ${Object.keys(SUITES).join(', ')}`);
  process.exit(2);
}
const machine = startMachine(Number(threads));
const results: LmResult[] = [];
for (const name of suites) results.push(...(await SUITES[name]!()));
const measured: LmResults = {
  ...machine(),
  model: options.model?.split('/').filter(Boolean).at(-1) ?? null,
  results,
};
const out =
  options.out ?? (options.small ? undefined : fileURLToPath(new URL('results/lm.json', import.meta.url)));
writeResult(measured, { out, json: out === undefined });
