/**
 * Measures joint training on made-up facts, of which a small reader and a small retriever learn everything within minutes.
 *
 *     npx tsx bench/rlm/facts.ts prepare|arms|table [--systems realm,atlas] [--arms LIST] [--seeds 1,2,3] [--work FOLDER]
 *         [--out bench/results/rlm]
 *
 * `prepare` writes the data (`bench/rlm/facts-data.ts`) and trains from nothing, for each seed: a retriever on judged pairs (`judged`), one
 * that knows names alone (`warm`, the inverse cloze of REALM), and two readers that copy, a llama for REALM and a T5 for Atlas. Readers
 * learn on facts that are asked a few times each, so that nothing can be learnt by heart. `arms` prepares what is missing, trains and
 * measures each arm and seed, and writes OUT/facts-SYSTEM-ARM-SEED.json; a file with the same settings is not made again. `table` prints
 * what there is.
 *
 * Cost on two cores that do nothing else: 80 seconds to prepare a seed, 10 to 25 for an arm; half an hour for all arms of three seeds.
 *
 * Measured on test questions, whose facts stand in no training question: nats of the answer and exact match of `undrift lm eval --method`,
 * recall of the right document; and over the run the retrieval utility, and what a fresh table has cost beside the formula.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { loadData } from '../../src/data/load.ts';
import { createSequenceToSequence } from '../../src/models/encoder-decoder/create-sequence-to-sequence.ts';
import { saveSequenceToSequence } from '../../src/models/encoder-decoder/save-sequence-to-sequence.ts';
import { createLanguageModel } from '../../src/models/language/create-language-model.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { saveLanguageModel } from '../../src/models/language/save-language-model.ts';
import { readEventLog } from '../../src/train/event-log.ts';
import { evaluateJointRun } from '../../src/train/language-methods/evaluate-joint.ts';
import { trainLanguageModel } from '../../src/train/language-model/train-language-model.ts';
import type { TrainOptions } from '../../src/train/options.ts';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import { FACTS_PROMPT, writeFacts } from './facts-data.ts';
import { denseRanking, RECALL_AT, recalls, withoutPassages } from './joint-measure.ts';
import { lsrTask } from './replug-lsr-task.ts';
import { log, mean, storedResult } from './results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    systems: { type: 'string', default: 'realm,atlas' },
    arms: { type: 'string', default: '' },
    seeds: { type: 'string', default: '1,2,3' },
    entities: { type: 'string', default: '500' },
    warmEntities: { type: 'string', default: '1000' },
    texts: { type: 'string', default: '30000' },
    hidden: { type: 'string', default: '64' },
    warmSteps: { type: 'string', default: '400' },
    clozeSteps: { type: 'string', default: '200' },
    steps: { type: 'string', default: '240' },
    batch: { type: 'string', default: '16' },
    lr: { type: 'string', default: '1e-3' },
    readerLr: { type: 'string', default: '5e-4' },
    teacherTemperatures: { type: 'string', default: 'pdist=0.1,loop=0.1,adist=1' },
    test: { type: 'string', default: '300' },
    split: { type: 'string', default: 'test' },
    threads: { type: 'string', default: '2' },
    work: { type: 'string', default: join(tmpdir(), 'undrift-facts') },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [stage] = positionals;
if (!['prepare', 'arms', 'table'].includes(stage ?? '')) {
  throw new Error('usage: npx tsx bench/rlm/facts.ts prepare|arms|table [options]');
}
const number = (name: keyof typeof values) => Number(values[name]);
const list = (text: string) => text.split(',').filter((item) => item !== '');
const { systems: _s, arms: _a, seeds: _n, threads: _t, work: _w, out: _o, ...SETTINGS } = values;
const SEEDS = list(values.seeds).map(Number);
const threads = number('threads');
const REFRESH = 50;
/** Documents that propose the candidates when they are ranked afresh. */
const OVER_RETRIEVED = 64;
/** Trains the reader alone. */
const FROZEN = { freeze: ['all'] } as const;
const data = (name: string) => join(values.work, 'data', name);

type System = 'realm' | 'atlas';
interface Arm {
  readonly title: string;
  readonly options: Partial<TrainOptions>;
  /** Retriever to start from. Default `warm`. */
  readonly retriever?: 'warm' | 'judged' | 'new';
  /** Whether the reader starts from nothing. Default: it copies. */
  readonly isNewReader?: boolean;
  /** Whether two documents without content stand in place of all. */
  readonly isClosed?: boolean;
}
const every = (n: number) => ({ refresh: `every:${n}` });
const CORRECTED = { refresh: 'never', corrector: 'mlp', teachingSamples: 16 } as const;
const FRESHNESS: Readonly<Record<string, Arm>> = {
  never: { title: 'never refreshed', options: { refresh: 'never' } },
  'every-step': { title: 'refreshed every step', options: every(1) },
  async: {
    title: `refreshed beside training every ${REFRESH}, awaited`,
    options: { refresh: `async:${REFRESH}:wait` },
  },
  'write-back': { title: 'write-back', options: { refresh: 'write-back' } },
  corrector: { title: 'never refreshed, corrector', options: CORRECTED },
};
const CONTROLS: Readonly<Record<string, Arm>> = {
  closed: { title: 'closed book', options: { ...FROZEN, candidates: 2 }, isClosed: true },
  frozen: { title: 'warm retriever, frozen', options: FROZEN },
  judged: { title: 'retriever of judged pairs, frozen', options: FROZEN, retriever: 'judged' },
};
/** Temperatures of the teachers by retriever loss, of 0.1, 0.5 and 1 the best on dev with seed 1. */
const TEACHERS = new Map(list(values.teacherTemperatures).map((each) => each.split('=') as [string, string]));
const taughtBy = (way: NonNullable<TrainOptions['retrieverLoss']>) => ({
  retrieverLoss: way,
  ...(TEACHERS.has(way) && { readerTemperature: Number(TEACHERS.get(way)) }),
});
const LOSSES = Object.fromEntries(
  (['pdist', 'adist', 'emdr2', 'loop'] as const).map((way) => [
    way,
    { title: `${way}, every ${REFRESH}`, options: { ...every(REFRESH), ...taughtBy(way) } } satisfies Arm,
  ]),
);
const ARMS: Readonly<Record<System, Readonly<Record<string, Arm>>>> = {
  realm: {
    ...CONTROLS,
    joint: { title: `joint, every ${REFRESH}`, options: every(REFRESH) },
    ...FRESHNESS,
    'no-null': {
      title: `without null passage, every ${REFRESH}`,
      options: { ...every(REFRESH), nullPassage: false },
    },
    'cold-retriever': { title: 'retriever from nothing', options: every(REFRESH), retriever: 'new' },
    cold: {
      title: 'retriever and reader from nothing',
      options: every(REFRESH),
      retriever: 'new',
      isNewReader: true,
    },
  },
  atlas: {
    ...CONTROLS,
    ...LOSSES,
    ...FRESHNESS,
    rerank: {
      title: `never refreshed, ${OVER_RETRIEVED} ranked afresh`,
      options: { refresh: 'never', overRetrieve: OVER_RETRIEVED },
    },
    'query-side': {
      title: 'query side alone',
      options: { refresh: 'never', towers: 'separate', trainOnly: ['query'] },
    },
  },
};
const CANDIDATES: Readonly<Record<System, number>> = { realm: 7, atlas: 4 };

/** Result of one arm and seed. */
interface ArmResult {
  readonly settings: unknown;
  readonly means: Readonly<Record<string, number>>;
  readonly ledger: Readonly<Record<string, number>>;
}
const resultFile = (system: string, arm: string, seed: number) =>
  join(values.out, `facts-${system}-${arm}-${seed}.json`);
const resultOf = (system: string, arm: string, seed: number): ArmResult | undefined =>
  storedResult(resultFile(system, arm, seed), SETTINGS);

/** Folders of the models of a seed. */
const modelsOf = (seed: number) => {
  const of = (name: string) => join(values.work, `seed-${seed}`, name);
  return {
    ...{
      judged: join(of('judged'), 'model'),
      warm: join(of('warm'), 'model'),
      language: join(of('language'), 'model'),
    },
    ...{ 'realm-new': of('llama-new'), 'atlas-new': of('t5-new') },
    ...{ realm: join(of('llama'), 'reader'), atlas: join(of('t5'), 'reader') },
    of,
  };
};

/** Makes the models of a seed that are not there. */
async function prepare(seed: number): Promise<void> {
  if (!existsSync(data('facts'))) {
    const sizes = {
      entities: number('entities'),
      warmEntities: number('warmEntities'),
      texts: number('texts'),
    };
    writeFacts(join(values.work, 'data'), { ...sizes, values: 200, seed: 1 });
  }
  const models = modelsOf(seed);
  const shape = { hidden: number('hidden'), layers: 1, heads: 2 };
  const common = { seed, threads, evalSplit: 'none', overwrite: true };
  const missing = (folder: string) => {
    if (!existsSync(folder)) log(`seed ${seed}: ${folder}`);
    return !existsSync(folder);
  };
  const pairs = {
    ...common,
    ...shape,
    method: 'in-batch',
    model: 'transformer',
    batchSize: 64,
    lr: 2e-3,
  } as const;
  if (missing(models.judged)) {
    await trainRetriever({
      ...pairs,
      data: data('copy'),
      steps: 300,
      vocabSize: 2048,
      out: models.of('judged'),
    });
  }
  if (missing(models.warm)) {
    const tokenizer = join(models.judged, 'tokenizer.json');
    await trainRetriever({
      ...pairs,
      data: data('cloze'),
      steps: number('clozeSteps'),
      tokenizer,
      out: models.of('warm'),
    });
  }
  const reader = { hidden: number('hidden'), layers: 2, heads: 4 };
  if (missing(models.language)) {
    await trainLanguageModel({
      ...{
        data: join(data('texts'), 'train.jsonl'),
        evalData: 'none',
        model: 'llama',
        ...reader,
        window: 48,
      },
      ...{
        vocabSize: 2048,
        batchSize: 32,
        lr: 3e-3,
        seed,
        threads,
        out: models.of('language'),
        overwrite: true,
      },
    });
  }
  if (missing(models['realm-new']) || missing(models['atlas-new'])) {
    const { tokenizer } = await LanguageModel.load(models.language);
    const llama = createLanguageModel({ kind: 'llama', tokenizer, ...reader, maxTokens: 64, seed });
    await saveLanguageModel(models['realm-new'], llama);
    await saveSequenceToSequence(
      models['atlas-new'],
      createSequenceToSequence({ tokenizer, ...reader, seed }),
    );
  }
  // The best passage of a retriever that finds the right one is all that these readers see: they learn to copy from it.
  for (const [system, start, out] of [
    ['realm', models.language, models.of('llama')],
    ['atlas', models['atlas-new'], models.of('t5')],
  ] as const) {
    if (!missing(models[system])) continue;
    await trainRetriever({
      ...{
        ...common,
        data: data('copy'),
        model: models.judged,
        method: 'atlas',
        ...FROZEN,
      },
      ...{ reader: start, readerPrompt: FACTS_PROMPT, readerPassages: 1, candidates: 2, readerLr: 3e-3 },
      ...{ batchSize: 32, steps: number('warmSteps'), out },
    });
  }
}

/** Trains and measures one arm and seed, and writes its result. */
async function runArm(system: System, name: string, seed: number): Promise<void> {
  const { title, options, retriever = 'warm', isNewReader = false, isClosed = false } = ARMS[system][name]!;
  const start = performance.now();
  const models = modelsOf(seed);
  const out = join(values.work, `seed-${seed}`, 'runs', `${system}-${name}`);
  rmSync(out, { recursive: true, force: true });
  const sizes = { train: 1e6, dev: 1e6, test: number('test'), corpus: 1e6, words: 99 };
  const task = await lsrTask(data(''), 'facts', sizes);
  const memory = isClosed ? withoutPassages(task.memory()) : task.memory();
  const shape = {
    hidden: number('hidden'),
    layers: 1,
    heads: 2,
    tokenizer: join(models.judged, 'tokenizer.json'),
  };
  const { ledger } = await trainRetriever({
    ...{ data: memory, method: system, seed, threads, out, evalSplit: 'none' },
    ...(retriever === 'new' ? { model: 'transformer', ...shape } : { model: models[retriever] }),
    ...{ reader: isNewReader ? models[`${system}-new`] : models[system], readerPrompt: FACTS_PROMPT },
    ...{ candidates: CANDIDATES[system], batchSize: number('batch'), steps: number('steps') },
    ...{ lr: number('lr'), readerLr: number('readerLr'), readerAnswerTokens: 4 },
    ...(system === 'atlas' && taughtBy('pdist')),
    // The last look at the table comes before a refresh of the last step.
    ...(!isClosed && { diagnose: number('steps') - 1 }),
    ...options,
  });
  const events = await readEventLog(join(out, 'metrics.jsonl'));
  const series = events.flatMap(({ kind, step, values: own }) =>
    kind === 'train' && own.retrievalUtility !== undefined
      ? [[step, own.retrievalUtility, own.nullMass]]
      : [],
  );
  const last = (kind: string) => events.filter((event) => event.kind === kind).at(-1)?.values ?? {};
  const looked = ['overlap@10', 'staleness', 'klStale', 'klCorrected'].flatMap((figure) => {
    const value = last('diagnosis')[figure];
    return value === undefined ? [] : [[figure, value] as const];
  });
  const answers = await evaluateJointRun(out, await loadData(memory, { answers: true }), {
    ...{ method: system, split: values.split, limitQueries: number('test'), threads },
  });
  const isRanked = !isClosed && values.split === 'test';
  const ranked = isRanked
    ? await denseRanking(join(out, 'model'), task, task.questions.test, { temperature: 1, threads })
    : undefined;
  const result = {
    ...{ system, arm: name, title, seed, settings: SETTINGS, machine: thisMachine(), ledger },
    seconds: (performance.now() - start) / 1000,
    means: {
      ...{ natsPerAnswer: answers.natsPerAnswer, exactMatch: answers.exactMatch! },
      ...(ranked && recalls(task.questions.test, ranked)),
      ...Object.fromEntries(looked),
      ...last('overhead'),
    } as Record<string, number>,
    series,
  } satisfies ArmResult & Record<string, unknown>;
  writeFileSync(resultFile(system, name, seed), `${JSON.stringify(result)}\n`);
  log(`${system} ${name} ${seed}: ${JSON.stringify(result.means)} after ${result.seconds.toFixed(0)} s`);
}

/** Prints means and standard deviations over the seeds. */
function printTable(system: System): void {
  if (!readdirSync(values.out).some((file) => file.startsWith(`facts-${system}-`))) return;
  console.log(
    `\n${system}: seeds, nats per answer, exact match, recall@${RECALL_AT.join(', ')}, overlap@10, utility of the first and last quarter, ` +
      'documents embedded, s of refreshes, s of steps, cost of a fresh table as a share of steps: measured, formula',
  );
  for (const [name, { title }] of Object.entries(ARMS[system])) {
    const results = SEEDS.flatMap((seed) => resultOf(system, name, seed) ?? []);
    if (results.length === 0) continue;
    const cell = (key: string, digits: number) => {
      const found = results.flatMap(({ means }) => means[key] ?? []);
      if (found.length === 0) return '-';
      const middle = mean(found);
      const deviation = Math.sqrt(
        found.reduce((sum, value) => sum + (value - middle) ** 2, 0) / Math.max(1, found.length - 1),
      );
      return `${middle.toFixed(digits)} ± ${deviation.toFixed(digits)}`;
    };
    const utility = (from: number, to: number) => {
      const found = results.flatMap((result) => {
        const { series } = result as unknown as { series: [number, number, number][] };
        return series
          .slice(Math.floor(from * series.length), Math.ceil(to * series.length))
          .map(([, value]) => value);
      });
      return found.length === 0 ? '-' : mean(found).toFixed(2);
    };
    const spent = (...keys: string[]) =>
      mean(results.map(({ ledger }) => keys.reduce((sum, key) => sum + (ledger[key] ?? 0), 0)));
    const overhead = system === 'atlas' && name === 'rerank' ? 'overRetrieve' : 'refresh';
    const cells = [
      ...[title.padEnd(44), results.length, cell('natsPerAnswer', 3), cell('exactMatch', 3)],
      ...RECALL_AT.map((k) => cell(`recall@${k}`, 2)),
      ...[cell('overlap@10', 2), utility(0, 0.25), utility(0.75, 1), spent('documentEncodes').toFixed(0)],
      ...[spent('refreshMs', 'correctMs', 'rerankMs'), spent('stepMs', 'updateMs', 'sampleMs')].map((ms) =>
        (ms / 1000).toFixed(1),
      ),
      ...[cell(`${overhead}Measured`, 3), cell(`${overhead}Formula`, 3)],
    ];
    console.log(`  ${cells.join('  ')}`);
  }
}

mkdirSync(values.out, { recursive: true });
if (stage !== 'table') for (const seed of SEEDS) await prepare(seed);
for (const system of list(values.systems) as System[]) {
  if (stage === 'prepare') break;
  if (stage === 'arms') {
    const wanted =
      values.arms === '' ? Object.keys(ARMS[system]) : list(values.arms).filter((arm) => ARMS[system][arm]);
    for (const seed of SEEDS) {
      for (const arm of wanted) if (!resultOf(system, arm, seed)) await runArm(system, arm, seed);
    }
  }
  printTable(system);
}
