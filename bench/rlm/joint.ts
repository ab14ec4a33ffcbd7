/**
 * Measures joint training on questions of real text: MiniLM retrieves, SmolLM2 reads with LoRA, and both learn from answers.
 *
 *     npx tsx bench/rlm/joint.ts arms|table MODEL RETRIEVER DATA [--tasks fairytaleqa,squad] [--arms LIST] [--seeds 1,2,3]
 *         [--questions test|dev] [--work FOLDER] [--out bench/results/rlm]
 *
 * DATA holds the folders fairytaleqa and squad (BEIR layout with answers.jsonl). Documents are cut into passages of whole sentences, and the
 * questions are those whose answer stands in one passage (see `answerPassages`). `arms` trains and measures each arm and seed, and writes
 * OUT/joint-TASK-ARM-SEED.json; a file with the same settings is not made again, so that the command can be stopped and repeated. Arms
 * that read with another arm's reader follow it in the list. `table` prints what there is. `--questions dev` is for choosing settings.
 *
 * Cost with SmolLM2 of 135 M parameters and MiniLM on two cores, for each task: some 50 minutes for all arms of a seed. A step reads 8
 * questions with 4 prompts of 90 tokens; an arm has 45 steps, 4 to 5 minutes, and a minute or two of measuring. Adapters in the last 8 of 30
 * layers alone spare most of the way back through the reader.
 *
 * The measure is −log p of the answer in nats, on `--read` of the questions, by the passages that the arm's retriever ranks highest: the sum
 * over the best K and the null passage (for Atlas, given the best K in one prompt); and the recall of the right passage among all passages, on
 * `--asked` questions.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { readEventLog } from '../../src/train/event-log.ts';
import type { TrainOptions } from '../../src/train/options.ts';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import { evenlySpaced } from '../../src/util/evenly-spaced.ts';
import {
  answerNats,
  denseRanking,
  lexicalRanking,
  type QuestionNats,
  type Ranking,
  RECALL_AT,
  recalls,
  withoutPassages,
} from './joint-measure.ts';
import { type LsrTask, lsrTask } from './replug-lsr-task.ts';
import { mean, pairedDifference, storedResult } from './results.ts';

/** Prompt with one example, without which an untrained small model does not answer in a few words. */
const PROMPT =
  'Anna hid the box under her bed.\\nQuestion: Where was the box?\\nAnswer: under her bed\\n\\n' +
  '{passage}\\nQuestion: {query}\\nAnswer: {answer}';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tasks: { type: 'string', default: 'fairytaleqa,squad' },
    arms: { type: 'string', default: '' },
    seeds: { type: 'string', default: '1,2,3' },
    train: { type: 'string', default: '360' },
    questions: { type: 'string', default: 'test' },
    asked: { type: 'string', default: '400' },
    read: { type: 'string', default: '200' },
    corpus: { type: 'string', default: '4000' },
    words: { type: 'string', default: '48' },
    candidates: { type: 'string', default: '3' },
    batch: { type: 'string', default: '8' },
    epochs: { type: 'string', default: '1' },
    lr: { type: 'string', default: '1e-4' },
    readerLr: { type: 'string', default: '1e-4' },
    loraLayers: { type: 'string', default: '8' },
    temperature: { type: 'string', default: '0.05' },
    lexicalTemperature: { type: 'string', default: '5' },
    refreshes: { type: 'string', default: '4' },
    prompt: { type: 'string', default: PROMPT },
    threads: { type: 'string', default: '2' },
    work: { type: 'string', default: join(tmpdir(), 'undrift-joint') },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [stage, modelFolder, retrieverFolder, dataFolder] = positionals;
if (!['arms', 'table'].includes(stage ?? '') || (stage === 'arms' && !dataFolder)) {
  throw new Error('usage: npx tsx bench/rlm/joint.ts arms|table MODEL RETRIEVER DATA [options]');
}
const K = Number(values.candidates);
const temperature = Number(values.temperature);
const threads = Number(values.threads);
const sizes = {
  train: Number(values.train),
  dev: values.questions === 'dev' ? Number(values.asked) : 1,
  test: values.questions === 'test' ? Number(values.asked) : 1,
  corpus: Number(values.corpus),
  words: Number(values.words),
};
const STEPS = Math.round((Number(values.epochs) * sizes.train) / Number(values.batch));
const REFRESH = Math.max(1, Math.round(STEPS / Number(values.refreshes)));

/** Source of an arm's passages: a retriever of its own run, of another arm's, as it was given, or a control. */
type Source = 'own' | 'given' | 'bm25' | 'gold' | 'none' | { readonly of: string };
interface Arm {
  readonly title: string;
  /** Options of the run; absent for an arm that trains nothing. */
  readonly trains?: Partial<TrainOptions>;
  /** Whether the run has two documents without content in place of the passages. */
  readonly isClosed?: boolean;
  readonly source: Source;
  /** Reader: as it was given, of the arm's own run, or of another arm's. */
  readonly reader: 'own' | 'given' | { readonly of: string };
  /** Whether the best passages stand in one prompt. */
  readonly together?: boolean;
}

const realm = (title: string, options: Partial<TrainOptions>): Arm => ({
  ...{ title, trains: { method: 'realm', ...options } },
  ...{ source: 'own', reader: 'own' },
});
/** Trains the reader alone. */
const FROZEN = { freeze: ['all'] } as const;
const after = (title: string, source: Source): Arm => ({ title, source, reader: { of: 'frozen' } });
const plain = (title: string, source: Source): Arm => ({ title, source, reader: 'given' });

const ARMS: Readonly<Record<string, Arm>> = {
  closed: plain('no passage, reader as given', 'none'),
  bm25: plain('BM25, reader as given', 'bm25'),
  minilm: plain('MiniLM as given (REPLUG), reader as given', 'given'),
  gold: plain('right passage, reader as given', 'gold'),
  'closed-trained': {
    ...realm('no passage, reader trained', { ...FROZEN, candidates: 2 }),
    ...{ isClosed: true, source: 'none' },
  },
  frozen: realm('MiniLM frozen, reader trained', FROZEN),
  'bm25-trained': after('BM25, that reader', 'bm25'),
  'gold-trained': after('right passage, that reader', 'gold'),
  lsr: {
    ...{ title: 'REPLUG LSR, reader as given', source: 'own', reader: 'given' },
    trains: { method: 'replug-lsr', refresh: `every:${REFRESH}`, readerTemperature: 0.1 },
  },
  supervised: {
    ...{ title: 'in-batch with right passages, that reader', source: 'own', reader: { of: 'frozen' } },
    trains: { method: 'in-batch' },
  },
  'lsr-trained': after('REPLUG LSR, that reader', { of: 'lsr' }),
  joint: realm('REALM, refreshed', { refresh: `every:${REFRESH}` }),
  'joint-never': realm('REALM, never refreshed', { refresh: 'never' }),
  'joint-corrector': realm('REALM, never refreshed, corrector', {
    refresh: 'never',
    corrector: 'mlp',
    teachingSamples: 8,
  }),
  'joint-write-back': realm('REALM, write-back', { refresh: 'write-back' }),
  'joint-async': realm('REALM, refreshed beside training, awaited', { refresh: `async:${REFRESH}:wait` }),
  atlas: {
    ...realm('Atlas (PDist), refreshed', {
      method: 'atlas',
      refresh: `every:${REFRESH}`,
      readerTemperature: 0.1,
    }),
    together: true,
  },
};

/** Result of one arm and seed. */
interface ArmResult {
  readonly settings: unknown;
  readonly seconds: number;
  readonly means: Readonly<Record<string, number>>;
  readonly ledger?: Readonly<Record<string, number>>;
  readonly questions: readonly QuestionNats[];
}

const { tasks: _t, arms: _a, seeds: _s, threads: _th, work: _w, out: _o, ...SETTINGS } = values;
const list = (text: string) => text.split(',').filter((item) => item !== '');
const SEEDS = list(values.seeds).map(Number);
const resultFile = (task: string, arm: string, seed: number) =>
  join(values.out, `joint-${task}-${arm}-${seed}.json`);
const resultOf = (task: string, arm: string, seed: number): ArmResult | undefined =>
  storedResult(resultFile(task, arm, seed), SETTINGS);
const runFolder = (task: LsrTask, arm: string, seed: number) =>
  join(values.work, `${task.name}-${arm}-${seed}`);
/** Questions to measure on. */
const askedOf = ({ questions }: LsrTask) => questions[values.questions as 'dev' | 'test'];
/** Whether an arm is the same for all seeds. */
const isFixed = ({ trains, reader }: Arm) => !trains && reader === 'given';

/** Names the layers of the reader that get adapters: queries and values of the last ones. */
function adapters(): Pick<TrainOptions, 'readerLoraTargets'> {
  const count = Number(values.loraLayers);
  if (count === 0) return {};
  const { num_hidden_layers: layers } = JSON.parse(readFileSync(join(modelFolder!, 'config.json'), 'utf8'));
  const last = Array.from({ length: count }, (_, i) => layers - count + i);
  return {
    readerLoraTargets: last.flatMap((i) => ['q', 'v'].map((name) => `layers.${i}.self_attn.${name}_proj`)),
  };
}

/** Trains an arm, and returns its costs and its last figures. */
async function train(task: LsrTask, name: string, seed: number) {
  const { trains, isClosed } = ARMS[name]!;
  const out = runFolder(task, name, seed);
  rmSync(out, { recursive: true, force: true });
  const reads = trains!.method !== 'in-batch';
  const isJoint = reads && trains!.method !== 'replug-lsr';
  const { ledger } = await trainRetriever({
    ...{
      data: isClosed ? withoutPassages(task.memory()) : task.memory(),
      model: retrieverFolder!,
      out,
      seed,
      threads,
    },
    temperature,
    ...(reads && { reader: modelFolder!, readerPrompt: values.prompt, candidates: K }),
    ...{
      batchSize: Number(values.batch),
      epochs: Number(values.epochs),
      lr: Number(values.lr),
      evalSplit: 'none',
    },
    ...(isJoint && { readerTuning: 'lora', readerLr: Number(values.readerLr), ...adapters() }),
    // The last look at the table comes before a refresh of the last step.
    ...(reads && !isClosed && { diagnose: Math.max(1, STEPS - 1) }),
    ...trains,
  });
  const events = await readEventLog(join(out, 'metrics.jsonl'));
  const steps = events.filter(({ kind }) => kind === 'train');
  const late = steps.slice(Math.floor(0.75 * steps.length));
  const figures = [
    'retrievalUtility',
    'nullMass',
    'posteriorDivergence',
    'answerNats',
    'readerLoss',
    'teacherEntropy',
  ];
  const lateMeans = figures.flatMap((figure) => {
    const found = late.flatMap(({ values: own }) => own[figure] ?? []);
    return found.length > 0 ? [[`late/${figure}`, mean(found)] as const] : [];
  });
  const table = events.filter(({ kind }) => kind === 'diagnosis').at(-1)?.values ?? {};
  const looked = ['overlap@10', 'staleness', 'klStale', 'klCorrected', 'stalenessCorrected'];
  return {
    ledger,
    means: {
      ...Object.fromEntries(lateMeans),
      ...Object.fromEntries(
        looked.flatMap((figure) => (table[figure] === undefined ? [] : [[figure, table[figure]]])),
      ),
    } as Record<string, number>,
  };
}

/** Runs one arm and seed, and writes its result. */
async function runArm(task: LsrTask, name: string, seed: number): Promise<void> {
  const arm = ARMS[name]!;
  const start = performance.now();
  const trained = arm.trains ? await train(task, name, seed) : undefined;
  const trainSeconds = (performance.now() - start) / 1000;
  const ownerOf = (part: Source) => (typeof part === 'object' ? part.of : name);
  const asked = askedOf(task);
  const ranked = await ranking(task, arm.source, join(runFolder(task, ownerOf(arm.source), seed), 'model'));
  const reader =
    arm.reader === 'given'
      ? modelFolder!
      : join(runFolder(task, typeof arm.reader === 'object' ? arm.reader.of : name, seed), 'reader');
  const model = await LanguageModel.load(reader);
  const read = evenlySpaced(
    ranked.map((each, q) => ({ ranked: each, question: asked[q]! })),
    Number(values.read),
  );
  const [readQuestions, rankings] = [read.map(({ question }) => question), read.map((each) => each.ranked)];
  const questions = await answerNats(model, task, readQuestions, rankings, {
    ...{ passages: K, together: arm.together ?? false, prompt: values.prompt, threads },
  });
  await model.dispose();
  const seconds = (performance.now() - start) / 1000;
  const result = {
    ...{
      task: task.name,
      arm: name,
      seed,
      settings: SETTINGS,
      machine: thisMachine(),
      seconds,
      trainSeconds,
    },
    ...(trained && { ledger: trained.ledger }),
    means: {
      natsPerAnswer: mean(questions.map(({ nats }) => nats)),
      ...(arm.source !== 'none' && arm.source !== 'gold' && recalls(asked, ranked)),
      ...trained?.means,
    },
    questions,
  } satisfies ArmResult & Record<string, unknown>;
  writeFileSync(resultFile(task.name, name, seed), `${JSON.stringify(result)}\n`);
  console.log(`${task.name} ${name} ${seed}: ${JSON.stringify(result.means)} after ${seconds.toFixed(0)} s`);
}

async function ranking(task: LsrTask, source: Source, ownModel: string): Promise<Ranking[]> {
  const asked = askedOf(task);
  if (source === 'none') return asked.map(() => ({ rows: [], scores: [] }));
  if (source === 'gold') return asked.map(({ gold }) => ({ rows: [gold], scores: [0] }));
  if (source === 'bm25') return lexicalRanking(task, asked, Number(values.lexicalTemperature));
  const folder = source === 'given' ? retrieverFolder! : ownModel;
  return await denseRanking(folder, task, asked, { temperature, threads });
}

/** Prints means over seeds, with differences by a paired bootstrap over questions. */
function printTable(task: string): void {
  const isThere = readdirSync(values.out).some((file) => file.startsWith(`joint-${task}-`));
  if (!isThere) return;
  const of = (name: string) =>
    (isFixed(ARMS[name]!) ? [SEEDS[0]!] : SEEDS).flatMap((seed) => resultOf(task, name, seed) ?? []);
  const perQuestion = (results: readonly ArmResult[]) =>
    results[0]!.questions.map((_, q) => mean(results.map(({ questions }) => questions[q]!.nats)));
  const bases = ['closed-trained', 'frozen'].map((name) => [name, of(name)] as const);
  console.log(
    `\n${task}: seeds, nats per answer, difference from ${bases.map(([name]) => name).join(' and from ')} (95 %), ` +
      `recall@${RECALL_AT.join(', ')}, overlap@10, documents embedded, s of refresh and correction, s of training`,
  );
  for (const [name, { title }] of Object.entries(ARMS)) {
    const results = of(name);
    if (results.length === 0) continue;
    const nats = perQuestion(results);
    const differences = bases.map(([, base]) => {
      if (base.length === 0) return '-';
      const { difference, low, high } = pairedDifference(nats, perQuestion(base));
      return `${difference.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
    });
    const figure = (key: string) => mean(results.map(({ means }) => means[key] ?? Number.NaN)).toFixed(3);
    const spent = (...keys: string[]) =>
      mean(results.map(({ ledger }) => keys.reduce((sum, key) => sum + (ledger?.[key] ?? 0), 0)));
    const times = [spent('refreshMs', 'correctMs'), spent('stepMs', 'updateMs', 'sampleMs')];
    const cells = [
      ...[title.padEnd(44), results.length, mean(nats).toFixed(3), ...differences],
      ...RECALL_AT.map((k) => figure(`recall@${k}`)),
      ...[
        figure('overlap@10'),
        spent('documentEncodes').toFixed(0),
        ...times.map((ms) => (ms / 1000).toFixed(1)),
      ],
    ];
    console.log(`  ${cells.join('  ')}`);
  }
}

mkdirSync(values.out, { recursive: true });
for (const name of list(values.tasks)) {
  if (stage === 'arms') {
    const task = await lsrTask(dataFolder!, name, sizes, { passages: 'answer' });
    const wanted = values.arms === '' ? Object.keys(ARMS) : list(values.arms);
    for (const seed of SEEDS) {
      for (const arm of wanted) {
        const isDone = (isFixed(ARMS[arm]!) && seed !== SEEDS[0]) || resultOf(name, arm, seed);
        if (!isDone) await runArm(task, arm, seed);
      }
    }
  }
  printTable(name);
}
