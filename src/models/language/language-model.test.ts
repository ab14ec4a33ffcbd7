import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { llama2cFolder } from '../../../test/llama2c-folder.ts';
import { sharedData } from '../../../test/shared-data.ts';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { backward } from '../../grad/backward.ts';
import { Graph } from '../../graph/graph.ts';
import { readSafetensors } from '../../io/safetensors.ts';
import { nextTokenLoss } from '../../losses/next-token.ts';
import { adamw } from '../../optim/adamw.ts';
import { gradientOutput } from '../../runtime/gradients.ts';
import { float32, hostTensor, scalarValue } from '../../runtime/host-tensor.ts';
import { Learner } from '../../runtime/learner.ts';
import { Program } from '../../runtime/program.ts';
import { DataError, UsageError } from '../../util/errors.ts';
import { generateText } from './generate.ts';
import { LanguageModel } from './language-model.ts';

// Made by tools/reference/causal_golden.py, which says what they hold.
const FIXTURES = fileURLToPath(new URL('fixtures/causal', import.meta.url));
const fixture = (name: string) => join(FIXTURES, name);

/** A text with its greedy continuation. */
const continued = async (model: LanguageModel, text: string, tokens: number): Promise<string> =>
  text + (await generateText(model, text, { tokens, threads: 1 })).text;

interface Golden {
  texts: string[];
  ids: number[][];
  logLikelihoods: number[];
  loss: number;
  start: string;
  written: string;
}

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  const golden: Golden = JSON.parse(readFileSync(join(fixture(name), 'golden.json'), 'utf8'));
  const notes: string[] = [];
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(fixture(name), { onNote: (note) => notes.push(note) });
  });
  afterAll(() => model.dispose());

  test('reads every tensor of the file, tied or not', () => {
    // The fixture has no tokenizer_config.json, of which a note speaks.
    expect(notes.filter((note) => !note.includes('tokenizer.json'))).toEqual([]);
    const names = model.decoder.specs.map((spec) => spec.name);
    expect(names.includes('lm_head.weight')).toBe(name.endsWith('untied'));
  });

  test('logits and loss to 1e-5, gradients of the whole table and all else to 1e-4', async () => {
    const { tensors } = await readSafetensors(join(fixture(name), 'golden.safetensors'));
    const graph = new Graph('causal');
    const { get, targets } = model.declare(graph);
    const shape = ['texts', 'tokens'];
    const ids = graph.input('ids', 'i64', shape);
    const mask = graph.input('mask', 'f32', shape);
    const logits = model.decoder.logits(get, { ids, mask });
    const loss = nextTokenLoss(logits, ids, mask);
    graph.output('logits', logits);
    graph.output('loss', loss);
    const gradients = backward(loss, [...targets.values()]);
    for (const [i, target] of [...targets.keys()].entries()) graph.output(`d/${target}`, gradients[i]!);
    const program = await Program.compile(graph, { threads: 1 });
    const longest = Math.max(...golden.ids.map(({ length }) => length));
    const dims = [golden.ids.length, longest];
    const flat = golden.ids.flatMap((row) => Array.from({ length: longest }, (_, t) => row[t]));
    const results = await program.run({
      ...model.weights,
      // Not the padding of the golden file: what stands there must not matter.
      ids: hostTensor(
        'i64',
        dims,
        BigInt64Array.from(flat, (id) => BigInt(id ?? 7)),
      ),
      mask: hostTensor(
        'f32',
        dims,
        Float32Array.from(flat, (id) => (id === undefined ? 0 : 1)),
      ),
    });
    await program.dispose();

    const real = (_: number, i: number) => flat[Math.floor(i / model.decoder.vocabSize)] !== undefined;
    const theirs = float32(tensors.logits as never).filter(real);
    expect(Math.max(...theirs)).toBeGreaterThan(1);
    expect(largestDifference(float32(results.logits).filter(real), theirs)).toBeLessThan(1e-5);
    expect(Math.abs(scalarValue(results.loss) - golden.loss)).toBeLessThan(1e-5);
    const { headPrefix } = model.decoder;
    for (const { name: parameter } of model.decoder.specs) {
      const stored = tensors[`gradient/${headPrefix}${parameter}`] ?? tensors[`gradient/${parameter}`];
      const expected = float32(stored as never);
      expect(Math.hypot(...expected), parameter).toBeGreaterThan(1e-3);
      const difference = largestDifference(float32(results[`d/${parameter}`]), expected);
      expect(difference / Math.hypot(...expected), parameter).toBeLessThan(1e-4);
    }
  });

  test('continues texts as transformers does, greedily', async () => {
    expect(await continued(model, golden.start, 12)).toBe(golden.written);
    expect(await continued(model, golden.start, 0)).toBe(golden.start);
  });

  test('log-likelihoods, together and one by one', async () => {
    const sequences = golden.ids.map((ids) => ({ ids }));
    const together = await model.logLikelihoods(sequences, { threads: 1 });
    for (const [i, expected] of golden.logLikelihoods.entries()) {
      expect(together[i]).toBeCloseTo(expected, 4);
      const { logLikelihood, tokens, perplexity } = await model.likelihood(golden.texts[i]!, { threads: 1 });
      expect(logLikelihood).toBeCloseTo(expected, 4);
      expect(tokens).toBe(golden.ids[i]!.length - 1);
      expect(perplexity).toBeCloseTo(Math.exp(-expected / tokens), 3);
    }
  });
});

describe('long texts', () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(fixture('gpt2'));
  });
  afterAll(() => model.dispose());
  const text = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX';

  test('windows: each token is scored once, with what stands before it', async () => {
    const [windowTokens, strideTokens] = [10, 4];
    const ids = [...model.tokenizer.encode(text)];
    expect(ids).toHaveLength(51);
    let expected = 0;
    // The first window, then four more tokens each time, after six that were read before.
    for (let from = 0; from < ids.length; from += from === 0 ? windowTokens : strideTokens) {
      const start = from === 0 ? 0 : from - (windowTokens - strideTokens);
      const window = {
        ids: ids.slice(start, Math.min(start + windowTokens, ids.length)),
        from: from - start,
      };
      expected += (await model.logLikelihoods([window], { threads: 1 }))[0]!;
    }
    const found = await model.likelihood(text, { windowTokens, strideTokens, threads: 1 });
    expect(found.tokens).toBe(50);
    expect(found.logLikelihood).toBeCloseTo(expected, 3);
    // Fewer tokens before each one: another likelihood.
    const shorter = await model.likelihood(text, { windowTokens: 4, strideTokens: 3, threads: 1 });
    expect(Math.abs(shorter.logLikelihood - expected)).toBeGreaterThan(1);
  });

  test('refuses texts that do not fit the model, and windows that leave gaps', async () => {
    await expect(generateText(model, text, { tokens: 1 })).rejects.toThrow(
      'a text of 51 tokens, where the model reads 32',
    );
    await expect(model.logLikelihoods([{ ids: new Array(40).fill(3) }])).rejects.toThrow(UsageError);
    await expect(model.likelihood(text, { windowTokens: 4, strideTokens: 4 })).rejects.toThrow(
      'each must begin before the last one ends',
    );
    expect(await model.logLikelihoods([])).toEqual(new Float64Array(0));
    expect((await model.likelihood('')).tokens).toBe(0);
  });
});

test('ends where the config says, also with several end tokens', async () => {
  const ends = [...'pm'].map((letter) => 2 + letter.charCodeAt(0) - 'a'.charCodeAt(0));
  const folder = tempFiles();
  cpSync(fixture('gpt2'), folder, { recursive: true });
  const file = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...config, eos_token_id: ends }));
  const model = await LanguageModel.load(folder);
  // Without, it goes on: KKKKKKKKpmT.
  expect(await continued(model, 'helLo', 12)).toMatch(/^helLooK+$/);
  await model.dispose();
});

test('a learner can train it: the loss of a text falls, and the whole tied word table moves', async () => {
  const model = await LanguageModel.load(fixture('gpt2'));
  const graph = new Graph('train');
  const { get, targets } = model.declare(graph);
  const ids = graph.input('ids', 'i64', ['texts', 'tokens']);
  const mask = graph.input('mask', 'f32', ['texts', 'tokens']);
  const loss = nextTokenLoss(model.decoder.logits(get, { ids, mask }), ids, mask);
  graph.output('loss', loss);
  const names = [...targets.keys()];
  for (const [i, gradient] of backward(loss, [...targets.values()]).entries()) {
    graph.output(gradientOutput(names[i]!), gradient);
  }
  const program = await Program.compile(graph, { threads: 1 });
  const learner = await Learner.create(model.decoder.specs, model.weights, adamw(), { threads: 1 });
  const text = model.tokenizer.encode('abcdefg');
  const feeds = {
    ids: hostTensor('i64', [1, text.length], BigInt64Array.from(text, BigInt)),
    mask: hostTensor('f32', [1, text.length], new Float32Array(text.length).fill(1)),
  };
  const before = float32(model.weights['wte.weight']).slice();
  const losses: number[] = [];
  for (let step = 0; step < 15; step++) {
    const results = await program.run({ ...model.weights, ...feeds }, { into: learner.gradientBuffers });
    losses.push(scalarValue(results.loss));
    const byName = Object.fromEntries(names.map((name) => [name, results[gradientOutput(name)]!]));
    await learner.apply({ byName, rows: {} }, { learningRate: 0.02, weightDecay: 0, maxGradientNorm: 1 });
  }
  expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  const moved = float32(model.weights['wte.weight']).map((x, i) => Math.abs(x - before[i]!));
  // Every token is a candidate for the next one, not only those of the text.
  expect(
    Math.min(...Array.from({ length: 52 }, (_, row) => Math.max(...moved.subarray(row * 8, row * 8 + 8)))),
  ).toBeGreaterThan(0);
  for (const each of [program, learner, model]) await each.dispose();
});

describe('bad folders', () => {
  function folder(change: (config: Record<string, unknown>) => void): string {
    const copy = tempFiles();
    cpSync(fixture('llama-untied'), copy, { recursive: true });
    const file = join(copy, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    change(config);
    writeFileSync(file, JSON.stringify(config));
    return copy;
  }
  test.each([
    ['an encoder', { model_type: 'bert' }, /"bert" in .*config\.json predicts no next token\n.*gpt2, llama/],
    ['another size', { hidden_size: 16 }, /tensor 'model\.embed_tokens\.weight' has the shape \[52, 8\]/],
    [
      'key heads that serve unequal shares',
      { num_key_value_heads: 3 },
      /is no multiple of num_key_value_heads 3/,
    ],
    ['a sliding window', { use_sliding_window: true }, /"use_sliding_window" must be one of false/],
    [
      'a scaling that we do not have',
      { rope_parameters: { rope_type: 'yarn' } },
      /rope scaling "yarn" is not/,
    ],
    [
      'the same in old spelling',
      { rope_parameters: null, rope_scaling: { type: 'dynamic' } },
      /"dynamic" is not/,
    ],
    ['a part of each head', { partial_rotary_factor: 0.5 }, /"partial_rotary_factor" 0.5 is not supported/],
    ['odd heads', { head_dim: 3 }, /head_dim 3 is odd/],
  ])('%s', async (_, change, message) => {
    const error = await LanguageModel.load(folder((config) => Object.assign(config, change))).then(
      () => expect.unreachable(),
      (cause) => cause,
    );
    expect(error.message).toMatch(message);
    expect(error.message).toContain('config.json');
    expect(error instanceof DataError || error instanceof UsageError).toBe(true);
  });

  test('weights of the bare model have no head of their own', async () => {
    const copy = folder(() => {});
    cpSync(fixture('qwen3-tied/model.safetensors'), join(copy, 'model.safetensors'));
    await expect(LanguageModel.load(copy)).rejects.toThrow(/1 of 2\d tensors is missing: .*lm_head\.weight/);
  });
});

const stories = sharedData('weights/stories260K');
test.skipIf(!stories)('stories260K tells a story (skipped without ../shared/data/weights)', async () => {
  const folder = tempFiles();
  await llama2cFolder(stories!, folder);
  const model = await LanguageModel.load(folder);
  const story = await continued(model, '', 40);
  expect(story).toMatch(
    /^Once upon a time, there was a little girl named Lily\. She loved to play outside in the park\./,
  );
  const told = await model.likelihood(story);
  const shuffled = await model.likelihood(story.split(' ').reverse().join(' '));
  expect(told.perplexity).toBeLessThan(2);
  expect(shuffled.perplexity).toBeGreaterThan(20);
  await model.dispose();
});
