/**
 * Measures a language model with passages in front: in-context RALM, its rerankers and controls, and REPLUG.
 *
 *     npx tsx bench/rlm/in-context.ts MODEL RETRIEVER DATA [--tasks fairytaleqa,squad,wikipedia] [--arms none,bm25] [--questions 300]
 *         [--articles 40] [--prompt TEXT] [--format TEXT] [--out bench/results/rlm]
 *
 * DATA holds the folders fairytaleqa and squad (BEIR layout with answers.jsonl), and wikipedia with train.jsonl and test.jsonl. Questions
 * are those of the test split, evenly spaced, over the passages of the set. Running text is 96 tokens of each article of wikipedia/test,
 * in windows of 512 tokens with stride 32, over passages of 100 words of wikipedia/train.
 *
 * Each arm writes OUT/in-context-TASK-ARM.json when it is done, and is not run again while that file has its settings. Costs of an arm with
 * SmolLM2 of 135 M parameters: about 300 tokens a question for each passage that is read.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thisMachine } from '../../src/compare/machine.ts';
import { loadData } from '../../src/data/load.ts';
import type { RetrievalData } from '../../src/data/retrieval-data.ts';
import { streamTextCorpus } from '../../src/data/text-corpus.ts';
import { loadRetriever } from '../../src/models/folder/open-retriever.ts';
import { LanguageModel } from '../../src/models/language/language-model.ts';
import { encodeCorpus } from '../../src/retrieval/encode-corpus.ts';
import { answerMeans, answerQuestions } from '../../src/rlm/answer-questions.ts';
import { type InContextOptions, inContextSystem } from '../../src/rlm/in-context.ts';
import type { LanguageSystem, Segment } from '../../src/rlm/language-system.ts';
import { leakFilter } from '../../src/rlm/leak-filter.ts';
import { loadPassages } from '../../src/rlm/load-passages.ts';
import {
  bm25Source,
  denseSource,
  goldSource,
  type PassageSource,
  randomSource,
} from '../../src/rlm/passage-source.ts';
import { type Passages, passagesOf } from '../../src/rlm/passages.ts';
import { plainSystem } from '../../src/rlm/plain-system.ts';
import { questionsOf } from '../../src/rlm/questions.ts';
import { replugSystem } from '../../src/rlm/replug.ts';
import { mean, pairedDifference, storedResult } from './results.ts';

/** Prompt with one example, without which small models do not answer in a few words. */
const PROMPT =
  'Passage: Anna hid the red box under her bed, since she was afraid of thieves.\nQuestion: Where was the box?\nAnswer: under her bed\n\n' +
  '{passages}Question: {question}\nAnswer:';
const FORMAT = 'Passage: {passage}\n';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tasks: { type: 'string', default: 'fairytaleqa,squad,wikipedia' },
    arms: { type: 'string', default: '' },
    questions: { type: 'string', default: '300' },
    articles: { type: 'string', default: '40' },
    prompt: { type: 'string', default: PROMPT },
    format: { type: 'string', default: FORMAT },
    out: { type: 'string', default: 'bench/results/rlm' },
  },
});
const [modelFolder, retrieverFolder, dataFolder] = positionals;
if (!modelFolder || !retrieverFolder || !dataFolder) {
  throw new Error('usage: npx tsx bench/rlm/in-context.ts MODEL RETRIEVER DATA [options]');
}

const K = 4;
const WINDOW = 512;
const STRIDE = 32;
/** Tokens that are scored of each article. */
const SCORED = 96;
const DEPTH: InContextOptions = { candidates: K };

/** Sources of the passages of one task, each made when it is first asked for. */
class Sources {
  readonly #passages: Passages;
  readonly #data: RetrievalData | undefined;
  #bm25: PassageSource | undefined;
  #dense: Promise<PassageSource> | undefined;

  constructor(passages: Passages, data?: RetrievalData) {
    this.#passages = passages;
    this.#data = data;
  }

  get bm25(): PassageSource {
    this.#bm25 ??= bm25Source(this.#passages, leakFilter(this.#passages));
    return this.#bm25;
  }

  get random(): PassageSource {
    return randomSource(this.#passages, leakFilter(this.#passages), { seed: 1 });
  }

  get gold(): PassageSource {
    return goldSource(this.#passages);
  }

  dense(): Promise<PassageSource> {
    this.#dense ??= this.#makeDense();
    return this.#dense;
  }

  async #makeDense(): Promise<PassageSource> {
    const retriever = await loadRetriever(retrieverFolder!);
    const embeddings = await encodeCorpus(retriever, 'document', this.#data!.corpus);
    return await denseSource(retriever, this.#passages, leakFilter(this.#passages), { embeddings });
  }
}

type Make = (model: LanguageModel, sources: Sources, options: InContextOptions) => Promise<LanguageSystem>;

/** Arms, the cheap ones first. */
const ARMS: Readonly<Record<string, Make>> = {
  none: async (model) => plainSystem(model),
  bm25: async (model, { bm25 }, options) => inContextSystem(model, bm25, options),
  gold: async (model, { gold }, options) => inContextSystem(model, gold, options),
  random: async (model, { random }, options) => inContextSystem(model, random, options),
  dense: async (model, sources, options) => inContextSystem(model, await sources.dense(), options),
  replug: async (model, sources, options) =>
    replugSystem(model, await sources.dense(), { ...options, ensemble: K }),
  rerank: async (model, { bm25 }, options) =>
    inContextSystem(model, bm25, { ...options, ...DEPTH, reranker: 'log-probability' }),
  oracle: async (model, { bm25 }, options) =>
    inContextSystem(model, bm25, { ...options, ...DEPTH, reranker: 'oracle' }),
};
/** Arms for running text, which has no judged passages, and too many passages to encode here. */
const TEXT_ARMS = ['none', 'bm25', 'random', 'rerank', 'oracle'];

/** One value for each question or article, and what else an arm measures. */
interface Measured {
  readonly units: readonly { readonly id: string; readonly nats: number; readonly tokens: number }[];
  readonly means: Readonly<Record<string, number>>;
}

interface Task {
  readonly arms: readonly string[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly sources: Sources;
  measure(system: LanguageSystem): Promise<Measured>;
  readonly options: InContextOptions;
}

async function questionTask(model: LanguageModel, name: string): Promise<Task> {
  const data = await loadData(join(dataFolder!, name), { answers: true });
  const settings = {
    questions: Number(values.questions),
    prompt: values.prompt,
    format: values.format,
    split: 'test',
    k: K,
  };
  const questions = questionsOf(model, data, { prompt: values.prompt, limitQueries: settings.questions });
  return {
    arms: Object.keys(ARMS),
    settings,
    sources: new Sources(passagesOf(data.corpus), data),
    options: { passageFormat: values.format },
    async measure(system) {
      const results = await answerQuestions(system, questions, { onProgress: report });
      const units = results.questions.map(({ id, nats, tokens, exactMatch, f1 }) => ({
        ...{ id, nats, tokens, exactMatch, f1 },
      }));
      return { units, means: { ...answerMeans(results.questions) } };
    },
  };
}

async function textTask(model: LanguageModel, name: string): Promise<Task> {
  const segments: Segment[] = [];
  for await (const { id, text } of streamTextCorpus(join(dataFolder!, name, 'test.jsonl.gz'))) {
    const ids = model.tokenizer.encodeRaw(text, WINDOW + SCORED);
    if (ids.length < WINDOW + SCORED) continue;
    for (let end = WINDOW + STRIDE; end <= WINDOW + SCORED; end += STRIDE) {
      segments.push({ ids: ids.subarray(end - WINDOW, end), from: WINDOW - STRIDE, document: id });
    }
    if (segments.length === (Number(values.articles) * SCORED) / STRIDE) break;
  }
  const passages = await loadPassages(join(dataFolder!, name, 'train.jsonl.gz'), { words: 100 });
  return {
    arms: TEXT_ARMS,
    settings: { articles: Number(values.articles), window: WINDOW, stride: STRIDE, scored: SCORED, k: K },
    sources: new Sources(passages),
    options: { retrievalStride: STRIDE },
    async measure(system) {
      const scores = await system.score(segments, { onProgress: report });
      const units = new Map<string, { id: string; nats: number; tokens: number }>();
      for (const [i, { document }] of segments.entries()) {
        const unit = units.get(document!) ?? { id: document!, nats: 0, tokens: 0 };
        units.set(document!, unit);
        unit.nats -= scores[i]!.reduce((sum, value) => sum + value, 0);
        unit.tokens += scores[i]!.length;
      }
      const all = [...units.values()];
      const natsPerToken = sumOf(all, 'nats') / sumOf(all, 'tokens');
      return { units: all, means: { natsPerToken, perplexity: Math.exp(natsPerToken) } };
    },
  };
}

const natsOf = ({ units }: Pick<Measured, 'units'>): number[] => units.map(({ nats }) => nats);

const sumOf = (units: Measured['units'], field: 'nats' | 'tokens') =>
  units.reduce((sum, unit) => sum + unit[field], 0);

function report({ stage, done, total }: { stage: string; done: number; total: number | undefined }): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${stage}: ${done} of ${total ?? '?'}`);
}

/** Runs the arms of a task that are not done, and prints its table. */
async function runTask(model: LanguageModel, name: string): Promise<void> {
  const task = await (name === 'wikipedia' ? textTask : questionTask)(model, name);
  const chosen =
    values.arms === '' ? task.arms : values.arms.split(',').filter((arm) => task.arms.includes(arm));
  const results = new Map<string, Measured>();
  for (const arm of chosen) {
    const file = join(values.out, `in-context-${name}-${arm}.json`);
    const stored = storedResult<Measured & { readonly settings: unknown }>(file, task.settings);
    if (stored) {
      results.set(arm, stored);
      continue;
    }
    const start = performance.now();
    const system = await ARMS[arm]!(model, task.sources, task.options);
    const measured = await task.measure(system);
    const seconds = (performance.now() - start) / 1000;
    const content = {
      ...{ task: name, arm, settings: task.settings, machine: thisMachine(), seconds },
      ...{ ledger: system.ledger.totals, ...measured },
    };
    writeFileSync(file, `${JSON.stringify(content)}\n`);
    results.set(arm, measured);
    report({ stage: '', done: 0, total: 0 });
    console.log(`${name} ${arm}: ${JSON.stringify(measured.means)} after ${seconds.toFixed(0)} s`);
  }
  const none = results.get('none');
  console.log(
    `\n${name}: nats per ${name === 'wikipedia' ? 'article' : 'answer'}, and difference from none (95 %)`,
  );
  for (const [arm, { units }] of results) {
    const nats = natsOf({ units });
    const { difference, low, high } = pairedDifference(nats, none ? natsOf(none) : nats);
    const cells = [mean(nats), difference, low, high].map((value) => value.toFixed(3).padStart(9));
    console.log(`  ${arm.padEnd(8)}${cells.join(' ')}`);
  }
}

mkdirSync(values.out, { recursive: true });
const model = await LanguageModel.load(modelFolder);
for (const task of values.tasks.split(',')) await runTask(model, task);
