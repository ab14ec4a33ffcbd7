import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { readSafetensors } from '../../io/safetensors.ts';
import { LanguageModel } from '../../models/language/language-model.ts';
import { float32 } from '../../runtime/host-tensor.ts';
import { UsageError } from '../../util/errors.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { InterruptedError, type ReportedStep } from '../callbacks.ts';
import { readEventLog } from '../event-log.ts';
import type { LanguageModelTrainOptions } from './options.ts';
import { type LanguageModelTrainResult, trainLanguageModel } from './train-language-model.ts';

const PARTS = [
  ['The', 'A', 'Every', 'No'],
  ['cat', 'dog', 'horse', 'bird', 'old man', 'child'],
  ['sees', 'hears', 'follows', 'forgets'],
  ['the house', 'a river', 'the mountain', 'its friend', 'two stones'],
];

/** Sentences with a rule, joined to documents of 1 to 9 sentences. */
const DOCUMENTS = Array.from({ length: 120 }, (_, d) => {
  const sentences = Array.from({ length: 1 + (d % 9) }, (_, s) => {
    const turns = permutation(rngKey(7, d, `sentence ${s}`), 60);
    return `${PARTS.map((words, i) => words[turns[i]! % words.length]).join(' ')}.`;
  });
  return { id: `doc ${d}`, text: sentences.join(' ') };
});

const root = tempFiles({
  'texts.jsonl': DOCUMENTS.map((document) => JSON.stringify(document)).join('\n'),
  'book.txt': DOCUMENTS.map(({ text }) => text).join('\n'),
});
const at = (...names: string[]) => join(root, ...names);

const OPTIONS = {
  data: at('texts.jsonl'),
  ...{ hidden: 16, layers: 2, heads: 2, vocabSize: 320, window: 24, batchSize: 4 },
  ...{ epochs: 2, lr: 0.01, evalEvery: 9, threads: 1 },
} as const;

const train = (name: string, options: Partial<LanguageModelTrainOptions> = {}, callbacks = {}) =>
  trainLanguageModel({ ...OPTIONS, out: at(name), ...options }, callbacks);

const FILES = [
  'model/model.safetensors',
  ...['parameters', 'optimizer'].map((part) => `checkpoint/${part}.safetensors`),
];
const bytes = (name: string, file: string) => readFileSync(at(name, file));

/** Trains, stops after some updates, and resumes. */
async function trainInTwo(name: string, after: number, options: Partial<LanguageModelTrainOptions>) {
  const controller = new AbortController();
  const onStep = ({ step }: ReportedStep) => step === after && controller.abort();
  await expect(train(name, options, { onStep, signal: controller.signal })).rejects.toThrow(InterruptedError);
  return await train(name, { ...options, resume: true });
}

it('gradient checkpointing changes no byte, and a run that began with it goes on without', async () => {
  const options = { epochs: 1 };
  await train('kept', options);
  const { settings } = await train('recomputed', { ...options, gradientCheckpointing: true });
  expect(settings).not.toHaveProperty('gradientCheckpointing');
  const controller = new AbortController();
  const onStep = ({ step }: ReportedStep) => step === 5 && controller.abort();
  const begun = train(
    'changed',
    { ...options, gradientCheckpointing: true },
    { onStep, signal: controller.signal },
  );
  await expect(begun).rejects.toThrow(InterruptedError);
  await train('changed', { ...options, resume: true });
  for (const name of ['recomputed', 'changed'])
    for (const file of FILES)
      expect(bytes(name, file).equals(bytes('kept', file)), `${name}/${file}`).toBe(true);
});

it('accumulated batches make the update of one large batch, whatever tokens each has', async () => {
  const once = async (name: string, sizes: Partial<LanguageModelTrainOptions>) => {
    const reports: ReportedStep[] = [];
    const notes: string[] = [];
    await train(
      name,
      {
        data: { texts: DOCUMENTS.slice(0, 25).map(({ text }) => text) },
        evalData: 'none',
        steps: 1,
        epochs: undefined,
        ...sizes,
      },
      { onStep: (report: ReportedStep) => reports.push(report), onNote: (note: string) => notes.push(note) },
    );
    return { report: reports[0]!, notes };
  };
  // All windows are one batch, or several of windows of similar length and a smaller one.
  const { report, notes } = await once('one-batch', { batchSize: 100 });
  const windows = Number(/in (\d+) windows/.exec(notes.join())![1]);
  expect(windows % 4).not.toBe(0);
  const { report: parts } = await once('parts', { batchSize: 4, accumulate: Math.ceil(windows / 4) });
  expect([report.epoch, parts.epoch]).toEqual([1, 1]);
  expect(parts.trainingLoss / report.trainingLoss).toBeCloseTo(1, 6);
  expect(parts.gradientNorm / report.gradientNorm).toBeCloseTo(1, 5);
});

describe('a new llama', () => {
  let result: LanguageModelTrainResult;
  const reports: ReportedStep[] = [];
  const notes: string[] = [];
  beforeAll(async () => {
    const onStep = (report: ReportedStep) => reports.push(report);
    result = await train('whole', {}, { onStep, onNote: (note: string) => notes.push(note) });
  });

  it('learns, and keeps the weights of least perplexity on held-out documents', async () => {
    expect(reports[0]!.trainingLoss).toBeGreaterThan(5);
    expect(reports.at(-1)!.trainingLoss).toBeLessThan(0.5 * reports[0]!.trainingLoss);
    const evaluations = (await readEventLog(at('whole', 'metrics.jsonl'))).filter(
      ({ kind }) => kind === 'eval',
    );
    const values = evaluations.map(({ values }) => values.perplexity as number);
    expect(result.best.value).toBe(Math.min(...values));
    expect(Math.log(values[0]!)).toBeCloseTo(evaluations[0]!.values.loss as number, 10);
    expect(notes.join('\n')).toMatch(
      /120 documents, [\d,]+ tokens to predict in \d+ windows; [\d,]+ parameters/,
    );
    expect(notes.join('\n')).toMatch(/\d documents held out for evaluation/);
  });

  it('visits every token to predict once an epoch, and counts tokens, not texts', async () => {
    const { perEpoch, tokens } = epochOf(notes, result);
    expect(reports).toHaveLength(2 * perEpoch);
    expect(result.ledger.tokens).toBe(result.ledger.trainingTokens);
    // Besides the predicted tokens, the first token of each piece is read.
    expect(result.ledger.tokens).toBeGreaterThan(2 * tokens);
    expect(result.ledger.tokens).toBeLessThan(2.3 * tokens);
    expect(result.ledger.documentEncodes).toBeUndefined();
    expect(reports[0]!.throughput.unit).toBe('tokens');
  });

  it('is saved as a folder from which the same perplexity is measured', async () => {
    const model = await LanguageModel.load(result.model);
    const config = JSON.parse(readFileSync(join(result.model, 'config.json'), 'utf8'));
    expect(config).toMatchObject({
      architectures: ['LlamaForCausalLM'],
      eos_token_id: 0,
      max_position_embeddings: 24,
    });
    const seen = 'The cat sees the house.';
    const likelihood = async (text: string) => (await model.likelihood(text, { threads: 1 })).logLikelihood;
    expect(await likelihood(seen)).toBeGreaterThan(10 + (await likelihood('house the sees cat The.')));
    await model.dispose();
  });

  it('is the same to the byte when it was stopped and resumed', async () => {
    const resumed = await trainInTwo('resumed', 11, {});
    for (const file of FILES) expect(bytes('resumed', file).equals(bytes('whole', file)), file).toBe(true);
    expect(resumed.best).toEqual(result.best);
    expect(resumed.ledger.tokens).toBe(result.ledger.tokens);
  });

  it('is another one with another seed', async () => {
    await train('seed', { seed: 2, steps: 3, epochs: undefined });
    await train('again', { steps: 3, epochs: undefined });
    const [file] = FILES;
    expect(bytes('seed', file!).equals(bytes('again', file!))).toBe(false);
  });
});

/** Updates and predicted tokens of an epoch, from the note about the run. */
function epochOf(notes: readonly string[], { settings }: LanguageModelTrainResult) {
  const [, tokens, windows] = /([\d,]+) tokens to predict in ([\d,]+) windows/.exec(notes.join('\n'))!;
  const number = (text: string) => Number(text.replaceAll(',', ''));
  return { perEpoch: Math.ceil(number(windows!) / settings.batchSize), tokens: number(tokens!) };
}

describe('a gpt2 on one text file', () => {
  it('is trained with dropout and accumulation on the beginning, and measured on the end, the same in two parts', async () => {
    const options = {
      ...{ data: at('book.txt'), model: 'gpt2', dropout: 0.2, accumulate: 2 },
      ...{ steps: 8, epochs: undefined, evalEvery: 4 },
    } as const;
    const result = await train('gpt2', options);
    await trainInTwo('gpt2-resumed', 5, options);
    for (const file of FILES)
      expect(bytes('gpt2-resumed', file).equals(bytes('gpt2', file)), file).toBe(true);
    expect(result.best.value).toBeGreaterThan(1);
    const config = JSON.parse(readFileSync(join(result.model, 'config.json'), 'utf8'));
    expect(config.architectures).toEqual(['GPT2LMHeadModel']);
  });
});

describe('a given model', () => {
  beforeAll(async () => {
    await train('base', { steps: 12, epochs: undefined });
  }, 60_000);
  const FURTHER = {
    ...{ hidden: undefined, layers: undefined, heads: undefined, vocabSize: undefined },
    ...{ steps: 6, epochs: undefined, evalEvery: 3, lr: undefined },
  };

  it('is trained on from its run, with its own tokenizer', async () => {
    const before = await train('further', { ...FURTHER, model: at('base'), evalData: 'none' });
    expect(before.settings).toMatchObject({ lr: 5e-5, hidden: null, batchSize: 4 });
    expect(before.best.value).toBeNull();
    expect(bytes('further', 'model/tokenizer.json').equals(bytes('base', 'model/tokenizer.json'))).toBe(true);
  });

  it('gets LoRA adapters, whose sum with the weights is saved, the same in two parts', async () => {
    const options = { ...FURTHER, model: at('base'), lora: 2 };
    await train('lora', options);
    await trainInTwo('lora-resumed', 4, options);
    for (const file of FILES)
      expect(bytes('lora-resumed', file).equals(bytes('lora', file)), file).toBe(true);
    const { tensors: base } = await readSafetensors(at('base', FILES[0]!));
    const { tensors: tuned } = await readSafetensors(at('lora', FILES[0]!));
    const changed = Object.keys(base).filter(
      (name) =>
        !Buffer.from(float32(base[name] as never).buffer).equals(
          Buffer.from(float32(tuned[name] as never).buffer),
        ),
    );
    expect(changed.sort()).toEqual(
      [0, 1].flatMap((i) => ['q', 'v'].map((part) => `model.layers.${i}.self_attn.${part}_proj.weight`)),
    );
    const adapter = JSON.parse(readFileSync(at('lora', 'adapter', 'adapter_config.json'), 'utf8'));
    expect(adapter).toMatchObject({ task_type: 'CAUSAL_LM', r: 2, lora_alpha: 4 });
    const { tensors } = await readSafetensors(at('lora', 'adapter', 'adapter_model.safetensors'));
    expect(Object.keys(tensors)).toContain('base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight');
    expect(existsSync(at('base', 'adapter'))).toBe(false);
  });

  it('keeps its frozen parts', async () => {
    await train('frozen', { ...FURTHER, model: at('base'), freeze: ['embeddings', 'layers:0'] });
    const { tensors: base } = await readSafetensors(at('base', FILES[0]!));
    const { tensors: tuned } = await readSafetensors(at('frozen', FILES[0]!));
    const isKept = (name: string) =>
      Buffer.from(float32(base[name] as never).buffer).equals(
        Buffer.from(float32(tuned[name] as never).buffer),
      );
    expect(isKept('model.embed_tokens.weight')).toBe(true);
    expect(isKept('model.layers.0.mlp.up_proj.weight')).toBe(true);
    expect(isKept('model.layers.1.mlp.up_proj.weight')).toBe(false);
  });

  it.each<[string, Partial<LanguageModelTrainOptions>, RegExp]>([
    [
      'a window longer than the model reads',
      { window: 64 },
      /window: 64: .*base reads 24 tokens[\s\S]*window: 24 or less/,
    ],
    ['another shape', { layers: 3 }, /layers is for new models/],
    ['adapters of a new model', { model: 'llama', lora: 4 }, /lora keeps weights of a model as they are/],
    ['part that it does not have', { freeze: ['towers'] }, /nothing in the model is "towers"/],
    ['both lengths', { epochs: 2 }, /steps and epochs both say/],
    ['an unknown option', { windows: 3 } as never, /unknown option "windows", did you mean 'window'/],
    ['a model that does not exist', { model: 'lama' }, /model lama: no such folder. Did you mean .llama/],
    ['texts of pairs', { data: { pairs: [] } as never }, /should have texts/],
    ['no text at all', { data: { texts: [' '] } }, /holds no text|no document|nothing is left/],
  ])('refuses %s', async (name, options, message) => {
    const all = { ...FURTHER, model: at('base'), ...options };
    await expect(train(`refused: ${name}`, all)).rejects.toThrow(message);
  });
});

it('refuses heads that do not share the width', async () => {
  await expect(train('heads', { heads: 3 })).rejects.toThrow(UsageError);
  await expect(train('heads', { heads: 2, keyHeads: 2, model: 'gpt2', hidden: 18 })).resolves.toBeDefined();
});
