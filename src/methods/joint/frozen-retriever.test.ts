import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { copyingReader } from '../../../test/copying-reader.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { toyReader } from '../../../test/toy-reader.ts';
import { type ToyOptions, ToyRun, toyTokenizer } from '../../../test/toy-training.ts';
import { loadRetriever } from '../../models/folder/load-retriever.ts';
import { Retriever } from '../../models/retriever/retriever.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import type { TrainOptions } from '../../train/options.ts';
import { trainRetriever } from '../../train/train-retriever.ts';
import { atlas } from '../atlas.ts';
import type { Method } from '../contract/method.ts';
import type { MethodOptions } from '../options.ts';
import { realm } from '../realm.ts';

const reader = await copyingReader(toyTokenizer(), { end: toyTokenizer().specialIds.sep! });
const fusion = await toyReader();
const PROMPT = '{passage} {query} {answer}';
const STEPS = 3;
const FROZEN = { tuning: { freeze: ['all'], besideAnother: true } };

async function trained(method: Method, settings: ToyOptions, options: Partial<MethodOptions> = {}) {
  const run = await ToyRun.begin(method, {
    ...settings,
    options: { reader, readerPrompt: PROMPT, candidates: 3, readerLr: 0.01, ...options },
  });
  try {
    const before = run.bytes();
    const reports = await run.train(STEPS);
    const after = run.bytes();
    const weights = Object.entries(run.context.weights).map(([name, value]) => [
      name,
      float32(value).slice(),
    ]);
    return {
      ...{ reports, spent: run.spent(), names: Object.keys(after) },
      moved: Object.keys(after).filter((name) => after[name] !== before[name]),
      weights: Object.fromEntries(weights) as Record<string, Float32Array>,
    };
  } finally {
    await run.dispose();
  }
}

describe.each<[string, Method, Partial<MethodOptions>]>([
  ['realm', realm, {}],
  ['realm, token by token, without null passage', realm, { marginal: 'token', nullPassage: false }],
  ['atlas', atlas, {}],
  ['atlas, fusion', atlas, { reader: fusion }],
])('%s with a frozen retriever', (_, method, options) => {
  it('trains the reader as a learning rate of nearly 0 of the retriever does', async () => {
    const frozen = await trained(method, FROZEN, options);
    const slow = await trained(method, { learningRate: 1e-30 }, options);
    expect(frozen.moved.filter((name) => name.startsWith('reader/')).length).toBeGreaterThan(0);
    for (const [name, values] of Object.entries(slow.weights)) {
      const own = frozen.weights[name]!;
      const difference = values.reduce((most, value, i) => Math.max(most, Math.abs(value - own[i]!)), 0);
      expect(difference, name).toBeLessThan(1e-4);
    }
    const figure = method === realm ? 'answerNats' : 'readerLoss';
    for (const [i, { metrics }] of frozen.reports.entries())
      expect(metrics[figure]).toBeCloseTo(slow.reports[i]!.metrics[figure]!, 4);
    if (method === realm)
      expect(frozen.reports[0]!.metrics.posteriorDivergence).toBeCloseTo(
        slow.reports[0]!.metrics.posteriorDivergence!,
        4,
      );
  });

  it('costs no gradient, no update and no document', async () => {
    const { names, moved, spent, weights } = await trained(method, FROZEN, options);
    const ofRetriever = (name: string) => name.includes('encoder/');
    // There are weights, and no slots of an optimizer beside them.
    expect(names.filter(ofRetriever)).toEqual(Object.keys(weights).filter(ofRetriever));
    expect(moved.filter(ofRetriever)).toEqual([]);
    expect(spent.documentEncodes).toBe(60);
    expect(spent.candidateEncodes).toBeUndefined();
    const prompts = method === atlas ? 1 : options.nullPassage === false ? 3 : 4;
    expect(spent.readerPassages).toBe(STEPS * 8 * prompts);
  });
});

describe('a run with a frozen retriever', () => {
  const record = (i: number) => ({
    query: `ask${i}y part${i % 5}`,
    positive: `doc${i}x part${i % 5}`,
    answers: [`doc${i}x`],
  });
  const data = { pairs: Array.from({ length: 12 }, (_, i) => record(i)) };
  const common = {
    ...{ data, steps: 4, batchSize: 4, threads: 1, evalSplit: 'none', seed: 3 },
  } as const;
  const start = join(tempFiles({}), 'start');
  const given = trainRetriever({ ...common, method: 'in-batch', hidden: 16, out: start });
  const options = async (more: Partial<TrainOptions>): Promise<TrainOptions> => ({
    ...{ ...common, model: (await given).model, freeze: ['all'] },
    ...{ reader, readerPrompt: PROMPT, candidates: 3, readerLr: 0.01, ...more },
    out: join(tempFiles({}), 'run'),
  });

  it.each(['realm', 'atlas'] as const)('%s: keeps its bytes and its space, and resumes', async (method) => {
    const asked = await options({ method });
    const notes: string[] = [];
    const result = await trainRetriever(asked, { onNote: (note) => notes.push(note) });
    const bytes = (folder: string, file: string) => readFileSync(join(folder, file)).toString('hex');
    const weights = 'model/model.safetensors';
    expect(bytes(asked.out, weights)).toBe(bytes(start, weights));
    expect(result.embeddingSpace).toBe((await given).embeddingSpace);
    expect(notes.join('\n')).toMatch(/trains 0 of .* parameters/);
    expect(notes.join('\n')).toMatch(/filled before the first step; the retriever is frozen/);
    expect(notes.join('\n')).toMatch(/documents embedded: 12 before the first step, up to 0 a step/);
    expect((await loadRetriever(result.model)).trainedSteps).toBe(4);

    const again = await options({ method });
    const abort = new AbortController();
    const stopped = trainRetriever(again, {
      signal: abort.signal,
      onStep: ({ step }) => step === 2 && abort.abort(),
    });
    await expect(stopped).rejects.toThrow(/stopped after step 2/);
    await trainRetriever({ ...again, resume: true });
    expect(bytes(again.out, 'reader/model.safetensors')).toBe(bytes(asked.out, 'reader/model.safetensors'));
  });

  it('embeds the documents of its evaluations once', async () => {
    const embedded = vi.spyOn(Retriever.prototype, 'encodeTokens');
    const found: Readonly<Record<string, number>>[] = [];
    const asked = await options({ method: 'realm', evalSplit: 'train', evalEvery: 1, readerEvalQueries: 4 });
    await trainRetriever(asked, { onEvaluation: ({ metrics }) => found.push(metrics) });
    const ofDocuments = embedded.mock.calls.filter(([side, { rows }]) => side === 'document' && rows === 12);
    embedded.mockRestore();
    expect(found).toHaveLength(4);
    // Once for the table of the method, and once for the first evaluation.
    expect(ofDocuments).toHaveLength(2);
    expect(found[3]!['ndcg@10']).toBe(found[0]!['ndcg@10']);
    expect(found[3]!.answerLogLikelihood).not.toBe(found[0]!.answerLogLikelihood);
  });

  it.each<[Partial<TrainOptions>, RegExp]>([
    [
      { refresh: 'every:1' },
      /refresh: 'every:1' keeps embeddings fresh, and those of a frozen retriever do not age/,
    ],
    [{ corrector: 'mlp' }, /corrector: 'mlp' keeps embeddings fresh/],
    [{ overRetrieve: 8 }, /overRetrieve: 8 keeps embeddings fresh/],
    [{ dropout: 0.1 }, /dropout: 0.1 is for a retriever that is trained/],
    [{ learnTemperature: true }, /learnTemperature is for a retriever that is trained/],
    [{ readerTuning: 'frozen' }, /nothing is left to train: retriever and reader are frozen/],
    [{ method: 'atlas', retrieverLoss: 'emdr2' }, /retrieverLoss: 'emdr2' teaches the retriever/],
    [{ method: 'replug-lsr', readerLr: undefined }, /nothing is left to train/],
    [{ model: 'transformer' }, /freeze/],
  ])('refuses %j', async (more, message) => {
    await expect(trainRetriever(await options({ method: 'realm', ...more }))).rejects.toThrow(message);
  });
});
