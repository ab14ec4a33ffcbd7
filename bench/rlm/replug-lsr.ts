/**
 * Measures REPLUG LSR: a retriever trained from a frozen reader, by the answers that the reader then finds likely.
 *
 *     npx tsx bench/rlm/replug-lsr.ts teacher|arms|table MODEL RETRIEVER DATA [--tasks fairytaleqa,squad] [--arms LIST] [--seeds 1,2,3]
 *
 * DATA holds the folders fairytaleqa and squad (BEIR layout with answers.jsonl). `teacher` lets the reader score the candidates of all
 * training questions and the passages of the arms without training, into `--work`; it may be stopped and started again, and the number
 * of its prompts comes first. `arms` trains and measures each arm and seed, with these scores and such as it still lacks, and writes
 * OUT/replug-lsr-TASK-ARM-SEED.json; a file with the same settings is not made again. `table` prints what there is.
 *
 * Cost with SmolLM2 of 135 M parameters and MiniLM, estimated for two cores that do nothing else, per task: some 5,300 prompts of 130
 * tokens for the reader beforehand, 20 minutes at 600 tokens a second (a passage is read once for all its questions); then 4 to 5 minutes
 * for each trained arm and seed, of which the reader takes a third; 85 minutes for five trained arms and three seeds.
 *
 * The measure is REPLUG's: the probability of each token of the answer, mixed over the best passages with weights softmax(similarity /
 * temperature), in nats per answer on the test split; on dev, how often retriever and reader prefer the same of the candidates.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import type { MethodOptions } from '../../src/methods/options.ts';
import { loadRetriever } from '../../src/models/folder/open-retriever.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { LanguageTeacher } from '../../src/models/language/language-teacher.ts';
import { encodeCorpus } from '../../src/retrieval/encode-corpus.ts';
import { logEnsembleWeights } from '../../src/rlm/replug.ts';
import { readEventLog } from '../../src/train/event-log.ts';
import { trainRetriever } from '../../src/train/train-retriever.ts';
import {
  type LsrTask,
  lsrTask,
  promptOf,
  type Question,
  type RankedPassages,
  randomPassages,
  rankPassages,
} from './replug-lsr-task.ts';
import { mean, pairedDifference, storedResult } from './results.ts';

/** Prompt with one example, without which small models do not answer in a few words. */
const PROMPT =
  'Anna hid the red box under her bed, since she was afraid of thieves.\\nQuestion: Where was the box?\\nAnswer: under her bed\\n\\n' +
  '{passage}\\nQuestion: {query}\\nAnswer: {answer}';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tasks: { type: 'string', default: 'fairytaleqa,squad' },
    arms: { type: 'string', default: '' },
    seeds: { type: 'string', default: '1,2,3' },
    train: { type: 'string', default: '240' },
    dev: { type: 'string', default: '50' },
    test: { type: 'string', default: '150' },
    corpus: { type: 'string', default: '800' },
    words: { type: 'string', default: '64' },
    candidates: { type: 'string', default: '8' },
    ensemble: { type: 'string', default: '4' },
    batch: { type: 'string', default: '8' },
    epochs: { type: 'string', default: '1' },
    lr: { type: 'string', default: '5e-5' },
    temperature: { type: 'string', default: '0.1' },
    readerTemperature: { type: 'string', default: '0.1' },
    prompt: { type: 'string', default: PROMPT },
    threads: { type: 'string', default: '2' },
    work: { type: 'string', default: join(tmpdir(), 'undrift-replug-lsr') },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [stage, modelFolder, retrieverFolder, dataFolder] = positionals;
if (!['teacher', 'arms', 'table'].includes(stage ?? '') || (stage !== 'table' && !dataFolder)) {
  throw new Error('usage: npx tsx bench/rlm/replug-lsr.ts teacher|arms|table MODEL RETRIEVER DATA [options]');
}
const number = (name: Exclude<keyof typeof values, 'tasks' | 'arms' | 'seeds' | 'prompt' | 'work' | 'out'>) =>
  Number(values[name]);
const sizes = {
  ...{ train: number('train'), dev: number('dev'), test: number('test') },
  ...{ corpus: number('corpus'), words: number('words') },
};
const [K, ENSEMBLE, threads] = [number('candidates'), number('ensemble'), number('threads')];
const REFRESH = Math.max(1, Math.round((number('epochs') * sizes.train) / number('batch') / 4));

/** Trained arms: what differs from the table that is never refreshed. */
const TRAINED: Readonly<Record<string, Partial<MethodOptions>>> = {
  'lsr-never': { refresh: 'never' },
  'lsr-refreshed': { refresh: `every:${REFRESH}` },
  'lsr-corrector': { refresh: 'never', corrector: 'mlp', teachingSamples: 8 },
  'lsr-write-back': { refresh: 'write-back' },
  'lsr-shuffled': { refresh: `every:${REFRESH}`, teacherScores: 'shuffled' },
  'lsr-reverse': { refresh: `every:${REFRESH}`, kl: 'reverse' },
};
const UNTRAINED = ['none', 'random', 'replug', 'gold'];
/** The reverse direction is run on demand. */
const ARMS = [...UNTRAINED, ...Object.keys(TRAINED).filter((arm) => arm !== 'lsr-reverse')];

/** Result of one arm and seed. */
interface ArmResult {
  readonly settings: unknown;
  readonly means: Readonly<Record<string, number>>;
  readonly questions: readonly { readonly id: string; readonly nats: number; readonly tokens: number }[];
  readonly [more: string]: unknown;
}

const settingsOf = () => {
  const { tasks: _t, arms: _a, seeds: _s, threads: _th, work: _w, out: _o, ...own } = values;
  return own;
};
const fileOf = (task: string, arm: string, seed: number) =>
  join(values.out, `replug-lsr-${task}-${arm}-${seed}.json`);
const list = (text: string) => text.split(',').filter((item) => item !== '');
const SEEDS = list(values.seeds).map(Number);

const resultOf = (task: string, arm: string, seed: number): ArmResult | undefined =>
  storedResult(fileOf(task, arm, seed), settingsOf());

function report({ stage, done, total }: { stage: string; done: number; total: number | undefined }): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${stage}: ${done} of ${total ?? '?'}`);
  else if (done % 200 === 0) console.error(`${stage}: ${done} of ${total ?? '?'}`);
}

/** Computes nats and tokens of each answer under an ensemble of passages; the first passages of each ranking are read. */
async function ensembleNats(
  teacher: LanguageTeacher,
  task: LsrTask,
  ranked: readonly (RankedPassages | undefined)[],
): Promise<ArmResult['questions']> {
  const questions = task.questions.test;
  const reads = questions.map((_, q) => ranked[q]?.rows.slice(0, ENSEMBLE) ?? [undefined]);
  const prompts = questions.flatMap((question, q) => reads[q]!.map((row) => promptOf(task, question, row)));
  const { logProbabilities } = await teacher.scores(prompts, { threads, onProgress: report });
  let at = 0;
  return questions.map(({ id }, q) => {
    const own = reads[q]!.map(() => logProbabilities[at++]!);
    const scores = ranked[q]?.scores.slice(0, ENSEMBLE) ?? [0];
    const weights = logEnsembleWeights(scores, number('temperature'));
    const nats = Array.from(own[0]!, (_, t) => {
      const terms = own.map((each, d) => weights[d]! + each[t]!);
      const most = Math.max(...terms);
      return -(most + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - most), 0)));
    });
    return { id, nats: nats.reduce((a, b) => a + b, 0), tokens: nats.length };
  });
}

/** Share of dev questions of which retriever and reader prefer the same of the retriever's candidates. */
async function agreement(
  teacher: LanguageTeacher,
  task: LsrTask,
  ranked: readonly RankedPassages[],
): Promise<number> {
  const { dev } = task.questions;
  const prompts = dev.flatMap((question, q) => ranked[q]!.rows.map((row) => promptOf(task, question, row)));
  const { scores } = await teacher.scores(prompts, { threads, onProgress: report });
  let [same, at] = [0, 0];
  for (const { rows } of ranked) {
    const own = scores.subarray(at, at + rows.length);
    at += rows.length;
    if (own.every((score) => score <= own[0]!)) same++;
  }
  return same / dev.length;
}

/** Measures a retriever: nats of the ensemble on test, agreement with the reader on dev, recall of the right passage. */
async function measure(teacher: LanguageTeacher, task: LsrTask, folder: string) {
  const retriever = await loadRetriever(folder);
  try {
    const documents = await encodeCorpus(retriever, 'document', task.data.corpus, {
      threads,
      onProgress: report,
    });
    const rank = (questions: readonly Question[], k: number) =>
      rankPassages(retriever, task, questions, { k, documents, threads });
    const test = await rank(task.questions.test, ENSEMBLE);
    const found = task.questions.test.filter(({ gold }, q) => test[q]!.rows.includes(gold)).length;
    return {
      questions: await ensembleNats(teacher, task, test),
      devAgreement: await agreement(teacher, task, await rank(task.questions.dev, K)),
      [`recall@${ENSEMBLE}`]: found / test.length,
    };
  } finally {
    await retriever.dispose();
  }
}

/** Runs one arm and seed, and writes its result. */
async function runArm(teacher: LanguageTeacher, task: LsrTask, arm: string, seed: number): Promise<void> {
  const start = performance.now();
  const own = TRAINED[arm];
  const out = join(values.work, 'runs', `${task.name}-${arm}-${seed}`);
  let training: Record<string, unknown> = {};
  let figures: Awaited<ReturnType<typeof measure>> | { questions: ArmResult['questions'] };
  if (own) {
    rmSync(out, { recursive: true, force: true });
    const result = await trainRetriever({
      ...{ data: task.memory(), model: retrieverFolder!, out, method: 'replug-lsr', reader: modelFolder! },
      ...{ readerPrompt: values.prompt, readerCache: join(values.work, 'scores'), candidates: K },
      ...{ temperature: number('temperature'), readerTemperature: number('readerTemperature') },
      ...{ batchSize: number('batch'), epochs: number('epochs'), lr: number('lr'), evalSplit: 'none' },
      ...{ seed, threads },
      ...own,
    });
    const events = await readEventLog(join(out, 'metrics.jsonl'));
    training = { ledger: result.ledger, log: events.map((event) => ({ ...event })) };
    figures = await measure(teacher, task, result.model);
  } else if (arm === 'replug') figures = await measure(teacher, task, retrieverFolder!);
  else {
    const { test } = task.questions;
    const ranked =
      arm === 'random'
        ? randomPassages(task, test, ENSEMBLE)
        : test.map(({ gold }) => (arm === 'gold' ? { rows: [gold], scores: [0] } : undefined));
    figures = { questions: await ensembleNats(teacher, task, ranked) };
  }
  const { questions, ...means } = figures;
  const seconds = (performance.now() - start) / 1000;
  const content: ArmResult = {
    ...{ task: task.name, arm, seed, settings: settingsOf(), machine: thisMachine(), seconds },
    ...training,
    means: { natsPerAnswer: mean(questions.map(({ nats }) => nats)), ...means },
    questions,
  };
  writeFileSync(fileOf(task.name, arm, seed), `${JSON.stringify(content)}\n`);
  console.log(`${task.name} ${arm} ${seed}: ${JSON.stringify(content.means)} after ${seconds.toFixed(0)} s`);
}

/** Lets the reader score what the arms need before any training, the passages of one prompt together. */
async function runTeacher(teacher: LanguageTeacher, task: LsrTask): Promise<void> {
  const retriever = await loadRetriever(retrieverFolder!);
  const documents = await encodeCorpus(retriever, 'document', task.data.corpus, {
    threads,
    onProgress: report,
  });
  const { train, dev, test } = task.questions;
  const rank = (questions: readonly Question[], k: number) =>
    rankPassages(retriever, task, questions, { k, documents, threads });
  // Candidates change as the retriever learns: half as many again as a step needs are scored beforehand.
  const parts: [readonly Question[], readonly (RankedPassages | undefined)[]][] = [
    [train, await rank(train, Math.ceil(1.5 * K))],
    [dev, await rank(dev, Math.ceil(1.5 * K))],
    [test, await rank(test, Math.ceil(1.5 * ENSEMBLE))],
    [test, randomPassages(task, test, ENSEMBLE)],
    [test, test.map(({ gold }) => ({ rows: [gold], scores: [0] }))],
    [test, test.map(() => undefined)],
  ];
  await retriever.dispose();
  const prompts = parts.flatMap(([questions, ranked]) =>
    questions.flatMap((question, q) =>
      (ranked[q]?.rows ?? [undefined]).map((row) => promptOf(task, question, row)),
    ),
  );
  const words = prompts.reduce(
    (sum, { passage = '', query }) => sum + `${passage} ${query}`.split(' ').length,
    0,
  );
  console.log(
    `${task.name}: ${prompts.length} prompts of some ${Math.round((1.35 * words) / prompts.length)} tokens`,
  );
  const start = performance.now();
  const { read, promptTokens } = await teacher.scores(prompts, { threads, onProgress: report });
  const seconds = (performance.now() - start) / 1000;
  const tokens = promptTokens.reduce((a, b) => a + b, 0);
  console.log(
    `${task.name}: ${read} of ${prompts.length} prompts read in ${seconds.toFixed(0)} s; ${tokens} tokens in all prompts`,
  );
}

/** Prints means over seeds, with the difference from REPLUG by a paired bootstrap over questions. */
function printTable(name: string): void {
  const names = new Set(readdirSync(values.out).filter((file) => file.startsWith(`replug-lsr-${name}-`)));
  if (names.size === 0) return;
  const of = (arm: string) =>
    (UNTRAINED.includes(arm) ? [SEEDS[0]!] : SEEDS).flatMap((seed) => resultOf(name, arm, seed) ?? []);
  const perQuestion = (results: readonly ArmResult[]) =>
    results[0]!.questions.map((_, q) => mean(results.map(({ questions }) => questions[q]!.nats)));
  const base = of('replug');
  console.log(
    `\n${name}: nats per answer, difference from replug (95 %), seeds, recall, dev agreement, encodes, prompts`,
  );
  for (const arm of [...ARMS, 'lsr-reverse']) {
    const results = of(arm);
    if (results.length === 0) continue;
    const nats = perQuestion(results);
    const versus = base.length > 0 ? perQuestion(base) : nats;
    const { difference, low, high } = pairedDifference(nats, versus);
    const figure = (key: string) => mean(results.map(({ means }) => means[key] ?? Number.NaN)).toFixed(3);
    const spent = (key: string) =>
      mean(results.map(({ ledger }) => (ledger as Record<string, number> | undefined)?.[key] ?? 0)).toFixed(
        0,
      );
    const cells = [mean(nats), difference, low, high].map((value) => value.toFixed(3).padStart(8));
    console.log(
      `  ${arm.padEnd(15)}${cells.join(' ')}  ${results.length}  ${figure(`recall@${ENSEMBLE}`)}  ${figure('devAgreement')}  ` +
        `${spent('documentEncodes')}  ${spent('readerPassages')}`,
    );
  }
}

mkdirSync(values.out, { recursive: true });
for (const name of list(values.tasks)) {
  if (stage === 'table') {
    printTable(name);
    continue;
  }
  const task = await lsrTask(dataFolder!, name, sizes);
  const model = await LanguageModel.load(modelFolder!);
  const teacher = await LanguageTeacher.create(model, {
    prompt: values.prompt,
    cache: join(values.work, 'scores'),
  });
  if (stage === 'teacher') await runTeacher(teacher, task);
  else {
    const wanted = values.arms === '' ? ARMS : list(values.arms);
    for (const seed of SEEDS) {
      for (const arm of wanted) {
        // Arms without training have no seed.
        const isDone = (!TRAINED[arm] && seed !== SEEDS[0]) || resultOf(name, arm, seed);
        if (!isDone) await runArm(teacher, task, arm, seed);
      }
    }
    printTable(name);
  }
  await teacher.dispose();
}
