import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { copyingReader } from '../../../test/copying-reader.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { rightAnswers, type ToyOptions, ToyRun, toyTokenizer } from '../../../test/toy-training.ts';
import { Graph } from '../../graph/graph.ts';
import { div, mul, neg, sum } from '../../graph/ops.ts';
import { nextTokenLoss } from '../../losses/next-token.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { ReaderPrompt } from '../../models/language/reader-prompt.ts';
import { wholeTableFeeds } from '../../models/retriever/token-feeds.ts';
import { tokenInputs } from '../../models/retriever/token-inputs.ts';
import { outputGradients } from '../../runtime/gradients.ts';
import { float32, type HostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Program } from '../../runtime/program.ts';
import { languageTrainings } from '../../train/language-methods/language-trainings.ts';
import { trainRetriever } from '../../train/train-retriever.ts';
import { atlas } from '../atlas.ts';
import type { Method } from '../contract/method.ts';
import type { MethodOptions } from '../options.ts';
import { realm } from '../realm.ts';
import { answerFeeds, answerTokens, endingAnswer } from './answer-tokens.ts';
import type { DecoderReader } from './decoder-reader.ts';
import { openReader } from './open-reader.ts';

const reader = await copyingReader(toyTokenizer());
const PROMPT = '{passage} {query} {answer}';
const OPTIONS: Partial<MethodOptions> = { reader, readerPrompt: PROMPT, candidates: 3, readerLr: 0.01 };

/** Trains, and returns the reports and the bytes of the run. */
async function trained(
  method: Method,
  options: Partial<MethodOptions>,
  { steps = 2, ...settings }: ToyOptions & { steps?: number } = {},
) {
  const run = await ToyRun.begin(method, { ...settings, options: { ...OPTIONS, ...options } });
  try {
    const before = run.bytes();
    const reports = await run.train(steps);
    const after = run.bytes();
    const changed = Object.keys(before).filter((name) => after[name] !== before[name]);
    return { reports, after, changed, spent: run.spent() };
  } finally {
    await run.dispose();
  }
}
const isBase = (name: string) => /^reader\/(?!.*lora_)/.test(name);
const isAdapter = (name: string) => name.startsWith('reader/') && name.includes('lora_');

describe('answerTokens', () => {
  it('is the next-token loss of the reader, and its gradient, where whole texts are answers', async () => {
    const open = { options: { reader, readerPrompt: PROMPT }, seed: 1 };
    const part = (await openReader(open)) as DecoderReader;
    const { model } = part.tuned;
    const texts = ['part1 doc3x doc5x', 'ask2y', 'doc1x doc1x part4 ask7y doc2x'];
    const prompts = texts.map((text) => {
      const ids = Int32Array.from(model.tokenizer.encodeRaw(text));
      return endingAnswer({ ids, from: 1 });
    });
    const results: Record<string, Record<string, HostTensor>> = {};
    for (const way of ['answers', 'whole'] as const) {
      const graph = new Graph(way);
      const declared = part.declare(graph);
      let feeds: Record<string, HostTensor>;
      if (way === 'answers') {
        const input = (name: string, dtype: 'i64' | 'f32', shape: readonly (string | number)[]) =>
          graph.input(name, dtype, shape);
        const { logProbabilities, scored } = answerTokens(model.decoder, declared, input as never, {
          name: 'alone',
          prompts: 'k',
        });
        const loss = neg(div(sum(mul(logProbabilities, scored)), sum(scored)));
        graph.output('loss', loss);
        outputGradients(loss, {}, declared.targets);
        // Three candidates of one query, with a place that has none.
        feeds = answerFeeds([prompts[0], undefined, prompts[1], prompts[2]], {
          prefix: 'reader',
          name: 'alone',
          prompts: 4,
        });
      } else {
        const { ids, mask } = tokenInputs(declared, 'texts');
        const loss = nextTokenLoss(model.decoder.logits(declared.get, { ids, mask }), ids, mask);
        graph.output('loss', loss);
        outputGradients(loss, {}, declared.targets);
        const tokens = Math.max(...prompts.map(({ ids }) => ids.length));
        const padded = {
          batch: 3,
          tokens,
          ids: new Int32Array(3 * tokens),
          mask: new Float32Array(3 * tokens),
        };
        for (const [row, { ids }] of prompts.entries()) {
          padded.ids.set(ids, row * tokens);
          padded.mask.fill(1, row * tokens, row * tokens + ids.length);
        }
        feeds = wholeTableFeeds({ texts: padded }, { prefix: 'reader' });
      }
      const program = await Program.compile(graph, { threads: 1 });
      const weights = Object.fromEntries(
        Object.entries(part.weights).map(([name, value]) => [`reader/${name}`, value]),
      );
      results[way] = await program.run({ ...weights, ...feeds });
      await program.dispose();
    }
    const { answers, whole } = results;
    expect(scalarValue(answers!.loss)).toBeCloseTo(scalarValue(whole!.loss), 5);
    for (const [name, gradient] of Object.entries(whole!)) {
      const found = float32(answers![name]);
      for (const [i, value] of float32(gradient).entries())
        expect(Math.abs(found[i]! - value), name).toBeLessThan(1e-5);
    }
    await part.dispose();
  });
});

describe.each([realm, atlas])('$id', (method) => {
  it('trains the whole reader, its adapters only, or nothing of it', async () => {
    const full = await trained(method, {});
    expect(full.changed.filter(isBase).length).toBeGreaterThan(0);
    const lora = await trained(method, { readerTuning: 'lora', readerLora: 2 });
    expect(lora.changed.filter(isBase)).toEqual([]);
    expect(lora.changed.filter(isAdapter).length).toBeGreaterThan(0);
    const frozen = await trained(method, { readerTuning: 'frozen' });
    expect(frozen.changed.filter((name) => name.startsWith('reader/'))).toEqual([]);
    for (const { changed } of [full, lora, frozen]) expect(changed).toContain('encoder/embedding.weight');
  });

  it('reads the right documents of a query, unless they are left out', async () => {
    const tokens = vi.spyOn(ReaderPrompt.prototype, 'tokens');
    const copied = async (leaveOutPositives: boolean) => {
      tokens.mockClear();
      await trained(method, { leaveOutPositives, candidates: 40 }, { steps: 1 });
      // The answer to a query is the text of its document.
      return tokens.mock.calls.filter(([, { passage, answer }]) => passage?.includes(answer)).length;
    };
    try {
      expect(await copied(false)).toBeGreaterThan(0);
      expect(await copied(true)).toBe(0);
      expect(rightAnswers(0)).toEqual([0, 58]);
    } finally {
      tokens.mockRestore();
    }
  });

  it('finds fresh embeddings in a table that is refreshed at every step, and in one whose documents do not move', async () => {
    const staleness = async (options: Partial<MethodOptions>, settings: ToyOptions = {}) => {
      const { reports } = await trained(method, options, { steps: 3, learningRate: 0.03, ...settings });
      return Math.max(...reports.map(({ metrics }) => metrics.staleness!));
    };
    expect(await staleness({ refresh: 'never' })).toBeGreaterThan(1e-3);
    expect(await staleness({ refresh: 'every:1' })).toBeLessThan(1e-5);
    const querySide = { model: { towers: 'separate' }, tuning: { trainOnly: ['query'] } } as const;
    expect(await staleness({ refresh: 'never' }, querySide)).toBeLessThan(1e-5);
  });

  it('reads what a fresh table would give where it ranks all of a stale one afresh', async () => {
    const settings = { steps: 4, learningRate: 0.03 };
    const loss = async (options: Partial<MethodOptions>) =>
      (await trained(method, options, settings)).reports.map(({ trainingLoss }) => trainingLoss);
    const [fresh, reranked, stale] = [
      await loss({ refresh: 'every:1' }),
      await loss({ refresh: 'never', overRetrieve: 60 }),
      await loss({ refresh: 'never' }),
    ];
    for (const [i, value] of fresh.entries()) expect(reranked[i]).toBeCloseTo(value, 3);
    expect(stale.some((value, i) => Math.abs(value - fresh[i]!) > 1e-2)).toBe(true);
  });

  it.each([
    [{ reader: undefined }, /reader is missing/],
    [{ refresh: 'stream' }, /puts right documents into the cache/],
    [{ overRetrieve: 3 }, /leaves nothing to choose candidates: 3 from/],
    [{ readerLora: 4 }, /readerLora: without|readerLora without readerTuning: 'lora'/],
    [{ readerTuning: 'lora', readerLora: 999 }, /^readerLora: 999 is more than /],
    [
      { readerTuning: 'lora', readerLoraTargets: ['q_proj', 'nope'] },
      /^readerLoraTargets: no linear layer is called "nope"/,
    ],
    [{ readerTokens: 8 }, /a prompt of \d+ tokens without its passage, where 8 are read/],
  ] as [Partial<MethodOptions>, RegExp][])('refuses %j', async (options, message) => {
    await expect(ToyRun.begin(method, { options: { ...OPTIONS, ...options } })).rejects.toThrow(message);
  });
});

describe('realm', () => {
  it('logs what reading is worth, and the share of the null passage', async () => {
    const { reports } = await trained(realm, { marginal: 'token' }, { steps: 1 });
    const { retrievalUtility, nullMass, posteriorDivergence, answerNats } = reports[0]!.metrics;
    expect(nullMass! > 0 && nullMass! < 1).toBe(true);
    expect(posteriorDivergence).toBeGreaterThanOrEqual(0);
    expect(answerNats).toBeGreaterThan(0);
    expect(Number.isFinite(retrievalUtility)).toBe(true);
    const without = await trained(realm, { nullPassage: false }, { steps: 1 });
    expect(without.reports[0]!.metrics).not.toHaveProperty('nullMass');
    expect(without.spent.readerPassages).toBe(8 * 3);
  });
});

describe('atlas', () => {
  it.each(['pdist', 'emdr2', 'loop'] as const)('%s: both losses fall', async (retrieverLoss) => {
    const { reports } = await trained(
      atlas,
      { retrieverLoss, refresh: 'every:2', readerTemperature: 1 },
      { steps: 12, learningRate: 0.03 },
    );
    const mean = (name: string, from: number, to: number) =>
      reports.slice(from, to).reduce((all, { metrics }) => all + metrics[name]!, 0) / (to - from);
    expect(mean('readerLoss', 8, 12)).toBeLessThan(mean('readerLoss', 0, 4));
    expect(mean('retrieverLoss', 8, 12)).toBeLessThan(mean('retrieverLoss', 0, 4));
    for (const { trainingLoss, metrics } of reports)
      expect(trainingLoss).toBeCloseTo(metrics.readerLoss! + metrics.retrieverLoss!, 4);
  });
});

describe('trainRetriever with a reader', () => {
  const record = (i: number) => ({
    query: `ask${i}y part${i % 5}`,
    positive: `doc${i}x part${i % 5}`,
    answers: [`doc${i}x`],
  });
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => record(from + i));
  const data = { pairs: range(0, 12), dev: range(12, 17) };
  const FILES = ['model/model.safetensors', 'reader/model.safetensors', 'checkpoint/optimizer.safetensors'];
  const bytes = (out: string) => FILES.map((file) => readFileSync(join(out, file)).toString('hex'));
  const settings = {
    ...{ data, reader, readerPrompt: PROMPT, candidates: 3, readerLr: 0.01, steps: 4, batchSize: 4 },
    ...{ evalEvery: 2, threads: 1, refresh: 'async:2:wait', readerAnswerTokens: 4, hidden: 16 },
  } as const;

  it.each(['realm', 'atlas'] as const)(
    '%s: saves both, resumes to the same bytes, and measures answers',
    async (method) => {
      const whole = join(tempFiles({}), 'run');
      const evaluations: Readonly<Record<string, number>>[] = [];
      const result = await trainRetriever(
        { ...settings, method, out: whole, evalMetric: 'answerLogLikelihood', refresh: 'every:2' },
        { onEvaluation: ({ metrics }) => evaluations.push(metrics) },
      );
      expect(result.best.value).toBe(Math.max(...evaluations.map((each) => each.answerLogLikelihood!)));
      expect(evaluations[0]).toHaveProperty('exactMatch');
      expect(evaluations[0]).toHaveProperty(['recall@10']);
      const log = readFileSync(join(whole, 'metrics.jsonl'), 'utf8');
      expect(log).toMatch(/"overhead".*refreshFormula.*refreshMeasured/);

      const out = join(tempFiles({}), 'run');
      const abort = new AbortController();
      const same = {
        ...settings,
        method,
        out,
        evalMetric: 'answerLogLikelihood',
        refresh: 'every:2',
      } as const;
      const stopped = trainRetriever(same, {
        signal: abort.signal,
        onStep: ({ step }) => step === 3 && abort.abort(),
      });
      await expect(stopped).rejects.toThrow(/stopped after step 3/);
      await trainRetriever({ ...same, resume: true });
      expect(bytes(out)).toEqual(bytes(whole));

      const saved = await LanguageModel.load(join(out, 'reader'));
      expect(Number.isFinite((await saved.likelihood('doc1x part2')).logLikelihood)).toBe(true);
      await saved.dispose();
    },
  );

  it('is a way of training of undrift lm train, with the same result', async () => {
    const [direct, listed] = [join(tempFiles({}), 'run'), join(tempFiles({}), 'run')];
    const same = { ...settings, refresh: 'never', steps: 2, evalSplit: 'none' } as const;
    await trainRetriever({ ...same, method: 'realm', out: direct });
    const training = languageTrainings.find(({ id }) => id === 'realm')!;
    for (const name of Object.keys(same).filter((key) => key !== 'threads'))
      expect(training.options).toHaveProperty(name);
    const { settings: stored } = await training.train({ ...same, out: listed }, {});
    expect(stored.method).toBe('realm');
    expect(bytes(listed)).toEqual(bytes(direct));
  });
});
