/**
 * Measures steps of training a retriever and its reader together:
 *
 *     npm run bench:joint -- [--model FOLDER --retriever FOLDER] [--suite parts,fusion] [--case …] [--rounds N] [--threads N] [--without-python] [--out FILE]
 *     npm run bench:joint -- --small      seconds: tiny models, to see that all sides work
 *
 * | suite  | measured                                                                                    | compared with |
 * |--------|---------------------------------------------------------------------------------------------|---------------|
 * | parts  | a step of REALM or Atlas by its parts, with a table of 500 documents that is refreshed       | –             |
 * | fusion | a step of Atlas: Fusion-in-Decoder of a T5 of the size of T5-small, PDist, AdamW over both models | PyTorch  |
 *
 * `--model` names a causal language model such as SmolLM2-135M, which is trained by adapters of rank 8, and `--retriever` a retriever such
 * as all-MiniLM-L6-v2; cases of them are left out without. Other models have random weights. Every round runs each side in a fresh process
 * with the same number of threads, in turn; the losses of the sides are compared. Progress and tables go to stderr, and the numbers to
 * `bench/results/joint.json` after each case, from which `npm run docs` makes the tables of docs/performance.md. Other cases in that file are kept
 * where they are of the same machine and models, so that cases can be measured one at a time.
 *
 * The parts come from the ledger of runs. Reading and the retriever's own work are one program: the retriever's part is that of
 * `replug-lsr` with as many candidates, whose reader works outside of the program, and reading is the rest.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultThreads } from '../src/runtime/devices.ts';
import type { TrainOptions } from '../src/train/options.ts';
import { compareSides, formatted, type Measurement, type SideSummary } from './comparison.ts';
import { freshNode, freshProcess } from './fresh-process.ts';
import { batchFile, FUSION_CASES, jointModels, PART_CASES } from './joint/cases.ts';
import type { MeasuredRun, RunToMeasure } from './joint/measure-run.ts';
import { PEER_OPTIONS, peersPython } from './peers/python.ts';
import { type Machine, startMachine, writeResult } from './result-file.ts';
import { median, table } from './statistics.ts';

/** Parts of a step, in milliseconds. */
export interface StepParts {
  /** Embedding of the queries and search in the table. */
  readonly retrieve: number;
  /** Embedding of queries and candidates, loss and gradient of the retriever. */
  readonly retriever: number;
  /** Reading of the candidates, with the gradient of the reader. */
  readonly read: number;
  readonly update: number;
  /** One refresh of the whole table. */
  readonly refresh: number;
}

/** Result of a case of the suite `parts`. */
export interface PartsResult {
  readonly suite: 'parts';
  readonly case: string;
  readonly batch: number;
  readonly candidates: number;
  readonly documents: number;
  readonly words: number;
  readonly rounds: number;
  /** Medians over the rounds. */
  readonly parts: StepParts;
  /** Tokens that the reader reads in a step. */
  readonly readerTokens: number;
  readonly peakResidentBytes: number;
}

/** Result of a case of the suite `fusion`. */
export interface FusionResult {
  readonly suite: 'fusion';
  readonly case: string;
  readonly batch: number;
  readonly candidates: number;
  readonly words: number;
  readonly rounds: number;
  readonly sides: readonly SideSummary[];
}

type CaseResult = PartsResult | FusionResult;

/** Content of bench/results/joint.json. */
export interface JointResults extends Machine {
  /** Names of the given models. */
  readonly model: string | null;
  readonly retriever: string | null;
  readonly results: readonly CaseResult[];
}

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    retriever: { type: 'string' },
    suite: { type: 'string', default: 'parts,fusion' },
    case: { type: 'string', default: '' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(defaultThreads()) },
    small: { type: 'boolean', default: false },
    ...PEER_OPTIONS,
    out: { type: 'string' },
  },
});
const threads = Number(options.threads);
const rounds = Number(options.rounds);
const asked = options.case === '' ? undefined : new Set(options.case.split(','));
const isAsked = (id: string): boolean => asked?.has(id) ?? id.startsWith('tiny') === options.small;

const WARM_UP = 2;
const STEPS = 4;
/** Updates between two refreshes. */
const REFRESH = 2;
const RATE = 1e-5;
const COMMON = { threads, lr: RATE, readerLr: RATE, schedule: 'constant', warmup: 0 } as const;
const measured = (run: RunToMeasure) =>
  freshNode<MeasuredRun>(new URL('joint/measure-run.ts', import.meta.url), [JSON.stringify(run)]);

/** Runs the suite `parts`. */
async function* parts(): AsyncGenerator<PartsResult> {
  for (const [id, { method, shape, ...texts }] of Object.entries(PART_CASES)) {
    if (!isAsked(id)) continue;
    const isGiven = shape === 'given';
    if (isGiven && (!options.model || !options.retriever)) {
      console.error(`parts ${id}: left out, since --model and --retriever are not given`);
      continue;
    }
    const models = await jointModels(isGiven ? 'tiny' : shape);
    const { batch, candidates, documents, words } = texts;
    const shared: Partial<TrainOptions> & { threads: number } = {
      ...{ ...COMMON, model: isGiven ? options.retriever! : models.retriever, batchSize: batch, candidates },
      refresh: `every:${REFRESH}`,
    };
    const reader: Partial<TrainOptions> = isGiven
      ? { reader: options.model!, readerTuning: 'lora', readerLora: 8 }
      : { reader: models.t5 };
    const { readerLr: _, ...alone } = shared;
    const joint: MeasuredRun[] = [];
    const own: MeasuredRun[] = [];
    for (let round = 0; round < rounds; round++) {
      const run = { texts, warmUp: WARM_UP, steps: STEPS };
      joint.push(await measured({ ...run, options: { ...shared, ...reader, method } }));
      own.push(await measured({ ...run, options: { ...alone, method: 'replug-lsr', reader: models.llama } }));
    }
    const of = (runs: readonly MeasuredRun[], name: string) =>
      median(runs.map(({ ledger }) => ledger[name] ?? 0));
    const retriever = of(own, 'stepMs');
    const found: StepParts = {
      ...{ retrieve: of(joint, 'sampleMs'), retriever, read: of(joint, 'stepMs') - retriever },
      ...{ update: of(joint, 'updateMs'), refresh: REFRESH * of(joint, 'refreshMs') },
    };
    const peakResidentBytes = Math.max(...joint.map((run) => run.peakResidentBytes));
    const rows = Object.entries(found).map(([name, ms]) => [name, ms.toFixed(1)]);
    console.error(`parts ${id}, ms\n${table(rows)}\n${(peakResidentBytes / 1e6).toFixed(0)} MB\n`);
    yield {
      ...{ suite: 'parts', case: id, batch, candidates, documents, words, rounds, parts: found },
      ...{ readerTokens: of(joint, 'readerTokens'), peakResidentBytes },
    };
  }
}

/** Runs the suite `fusion`. */
async function* fusion(): AsyncGenerator<FusionResult> {
  for (const [id, { shape, ...texts }] of Object.entries(FUSION_CASES)) {
    if (!isAsked(id)) continue;
    const models = await jointModels(shape);
    const file = await batchFile(shape, texts);
    const { batch, candidates, words } = texts;
    const run: RunToMeasure = {
      ...{ texts, warmUp: WARM_UP, steps: STEPS },
      options: {
        ...{ ...COMMON, method: 'atlas', retrieverLoss: 'pdist', model: models.retriever, reader: models.t5 },
        ...{ batchSize: batch, candidates },
      },
    };
    const script = fileURLToPath(new URL('peers/atlas_step.py', import.meta.url));
    const args = [models.retriever, models.t5, file, threads, STEPS, RATE].map(String);
    const env = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) };
    const sides = await compareSides(
      {
        undrift: () => measured(run),
        ...(!options['without-python'] && {
          transformers: () => freshProcess<Measurement>(peersPython(), [script, ...args], { env }),
        }),
      },
      rounds,
    );
    console.error(`fusion ${id}: ${batch} × ${candidates} passages of ${words} words\n${formatted(sides)}\n`);
    yield { suite: 'fusion', case: id, batch, candidates, words, rounds, sides };
  }
}

const SUITES: Readonly<Record<string, () => AsyncGenerator<CaseResult>>> = { parts, fusion };
const suites = options.suite.split(',');
const unknown = suites.find((name) => !SUITES[name]);
if (unknown !== undefined) {
  console.error(`bench:joint: no such suite: ${unknown}\n  help: use ${Object.keys(SUITES).join(', ')}`);
  process.exit(2);
}
const nameOf = (folder: string | undefined) => folder?.split('/').filter(Boolean).at(-1) ?? null;
const machine = startMachine(threads);
const out =
  options.out ?? (options.small ? undefined : fileURLToPath(new URL('results/joint.json', import.meta.url)));
let found: JointResults = {
  ...{ ...machine(), model: nameOf(options.model), retriever: nameOf(options.retriever) },
  results: [],
};
if (out !== undefined && existsSync(out)) {
  const earlier = JSON.parse(readFileSync(out, 'utf8')) as JointResults;
  const isAlike = (['processor', 'node', 'threads', 'model', 'retriever'] as const).every(
    (field) => earlier[field] === found[field],
  );
  if (isAlike) found = { ...found, results: earlier.results };
}
for (const name of suites) {
  for await (const result of SUITES[name]!()) {
    const others = found.results.filter((other) => other.suite !== name || other.case !== result.case);
    found = { ...found, ...machine(), results: [...others, result] };
    writeResult(found, { out });
  }
}
writeResult(found, { json: out === undefined });
