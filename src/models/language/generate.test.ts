import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { llama2cFolder } from '../../../test/llama2c-folder.ts';
import { sharedData } from '../../../test/shared-data.ts';
import { largestDifference } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { float32, hostTensor } from '../../runtime/host-tensor.ts';
import { tokenInputs } from '../retriever/token-inputs.ts';
import { CachedReading } from './cached-reading.ts';
import {
  type GenerationOptions,
  generate,
  generateByPasses,
  generateMany,
  generateText,
} from './generate.ts';
import type { Generation } from './generation-rows.ts';
import { LanguageModel } from './language-model.ts';

const FIXTURES = fileURLToPath(new URL('fixtures/causal', import.meta.url));
const COMPUTE = { threads: 1 };

/** Logits after the last token, f32[V]: every token is read anew. */
async function logitsWithoutCache(model: LanguageModel, ids: readonly number[]): Promise<Float32Array> {
  const program = await model.program('without cache', COMPUTE, (graph, declared) => {
    graph.output('logits', model.decoder.lastLogits(declared.get, tokenInputs(declared, 'texts')));
  });
  const dims = [1, ids.length];
  const { logits } = await program.run({
    ...model.weights,
    'texts/ids': hostTensor('i64', dims, BigInt64Array.from(ids, BigInt)),
    'texts/mask': hostTensor('f32', dims, new Float32Array(ids.length).fill(1)),
  });
  return float32(logits);
}

/** Most likely tokens, one by one, without a cache. */
async function greedyWithoutCache(model: LanguageModel, prompt: readonly number[], tokens: number) {
  const ids = [...prompt];
  for (let i = 0; i < tokens; i++) {
    const logits = await logitsWithoutCache(model, ids);
    const id = logits.indexOf(Math.max(...logits));
    if (model.endIds.has(id)) break;
    ids.push(id);
  }
  return ids.slice(prompt.length);
}

async function pieces(model: LanguageModel, prompt: string, options: GenerationOptions) {
  const all: string[] = [];
  const iterator = generate(model, prompt, { ...COMPUTE, ...options });
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) return { all, result: value as Generation };
    all.push(value);
  }
}

describe.each(readdirSync(FIXTURES))('%s', (name) => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(join(FIXTURES, name));
  });
  afterAll(() => model.dispose());
  const idsOf = (text: string) => [...model.tokenizer.wrapper.before, ...model.tokenizer.encodeRaw(text)];

  test('logits of several texts, read in pieces with a cache, equal those without', async () => {
    const texts = ['abcdefghij', 'x', 'AbcD'].map(idsOf);
    // 6 tokens a pass: the first text takes several, and the others end before it.
    const reading = await CachedReading.begin(model, texts, { ...COMPUTE, tokensPerPass: 6 });
    const V = model.decoder.vocabSize;
    const compare = async (rows: readonly number[][]) => {
      for (const [i, ids] of rows.entries()) {
        const expected = await logitsWithoutCache(model, ids);
        expect(largestDifference(reading.logits.subarray(i * V, (i + 1) * V), expected)).toBeLessThan(1e-5);
      }
    };
    await compare(texts);
    for (const more of [
      [3, 4, 5],
      [7, 7, 7],
    ]) {
      await reading.read(more.map((id) => [id]));
      for (const [i, id] of more.entries()) texts[i]!.push(id);
      await compare(texts);
    }
    reading.keep([2, 0]);
    await reading.read([[9, 11], [10]]);
    await compare([
      [...texts[2]!, 9, 11],
      [...texts[0]!, 10],
    ]);
  });

  test('greedy tokens equal those without a cache, alone and among others', async () => {
    const prompts = ['hello', 'abcabc', 'Z', 'qrstuvw'];
    const expected = await Promise.all(prompts.map((text) => greedyWithoutCache(model, idsOf(text), 14)));
    const together = await generateMany(model, prompts, { ...COMPUTE, tokens: 14 });
    for (const [i, prompt] of prompts.entries()) {
      expect(together[i]!.ids).toEqual(expected[i]);
      const { all, result } = await pieces(model, prompt, { tokens: 14 });
      expect(result).toEqual(together[i]);
      expect(all.join('')).toBe(result.text);
      expect(result.finish).toBe(expected[i]!.length < 14 ? 'end' : 'tokens');
      expect(result.promptTokens).toBe(idsOf(prompt).length);
    }
  });

  test('packed weights give the same tokens, and those of the call', async () => {
    const prompts = ['hello', 'abcabc', 'Z', 'qrstuvw'];
    const plain = await generateMany(model, prompts, { ...COMPUTE, tokens: 14 });
    expect(await generateMany(model, prompts, { ...COMPUTE, tokens: 14, packWeights: true })).toEqual(plain);
    const { result } = await pieces(model, 'hello', { tokens: 14, packWeights: true });
    expect(result).toEqual(plain[0]);
    // A call packs the weights as they are then.
    const table = model.weights[model.decoder.output.name]!.data as Float32Array;
    const before = table.slice();
    try {
      for (let i = 0; i < table.length; i++) table[i] = -before[i]!;
      const [changed] = await generateMany(model, ['hello'], { ...COMPUTE, tokens: 14 });
      const packed = await generateText(model, 'hello', { ...COMPUTE, tokens: 14, packWeights: true });
      expect(packed).toEqual(changed);
      expect(packed.ids).not.toEqual(result.ids);
    } finally {
      table.set(before);
    }
  });
});

describe('options', () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(join(FIXTURES, 'gpt2'));
  });
  afterAll(() => model.dispose());

  test('packed weights are refused for another way of reading', async () => {
    const makePasses = () => {
      throw new Error('not asked for');
    };
    await expect(generateByPasses(model, 'a', { packWeights: true }, makePasses).next()).rejects.toThrow(
      'packWeights is for decoders that read nothing but their text',
    );
  });

  test('a seed gives the same text each time, in a group or alone; others give others', async () => {
    const settings = { ...COMPUTE, tokens: 12, temperature: 1.5, topK: 20 };
    const texts = await Promise.all(
      [1, 1, 2].map(async (seed) => (await pieces(model, 'abc', { ...settings, seed })).result.text),
    );
    expect(texts[0]).toBe(texts[1]);
    expect(texts[0]).not.toBe(texts[2]);
    const many = await generateMany(model, ['abc', 'abc'], { ...settings, seed: 1 });
    expect(many[0]!.text).toBe(texts[0]);
    // The same prompt twice: two samples.
    expect(many[1]!.text).not.toBe(texts[0]);
    const greedy = (await pieces(model, 'abc', { tokens: 12 })).result.text;
    expect((await pieces(model, 'abc', { ...settings, topK: 1 })).result.text).toBe(greedy);
    expect((await pieces(model, 'abc', { ...settings, topK: undefined, topP: 1e-9 })).result.text).toBe(
      greedy,
    );
  });

  test('ends before a stop string, also one of several tokens', async () => {
    const { text } = (await pieces(model, 'helLo', { tokens: 12 })).result;
    expect(text).toBe('oKKKKKKKKpmT');
    const { all, result } = await pieces(model, 'helLo', { tokens: 12, stop: ['zz', 'Kp', 'mT'] });
    expect(result).toMatchObject({ text: 'oKKKKKKK', finish: 'stop' });
    expect(all.join('')).toBe('oKKKKKKK');
    // Held back as the beginning of a stop string, and given out at the end.
    expect((await pieces(model, 'helLo', { tokens: 4, stop: ['KKKK'] })).result.text).toBe('oKKK');
  });

  test('ends at the longest text that the model reads', async () => {
    // One token for the beginning, and 25 for the letters.
    const { result } = await pieces(model, 'abcdefghijklmnopqrstuvwxy', { tokens: 30 });
    expect(result.promptTokens + result.ids.length).toBe(32);
    expect(result.finish).toBe('window');
  });

  test('refuses what makes no sense', async () => {
    const run = (options: GenerationOptions, prompt: string | number[] = 'abc') =>
      generateMany(model, [prompt], { ...COMPUTE, ...options });
    await expect(run({ topP: 0.9 })).rejects.toThrow(/^topP is about sampling.*\n.*temperature 1/);
    await expect(run({ topK: 5 })).rejects.toThrow(/^topK is about sampling/);
    await expect(run({ temperature: -1 })).rejects.toThrow(/^temperature should be a number of at least 0/);
    await expect(run({ stop: ['a', ''] })).rejects.toThrow('stop has an empty string');
    await expect(run({ tokens: 1.5 })).rejects.toThrow('tokens should be a whole number');
    await expect(run({}, new Array(33).fill(3))).rejects.toThrow(
      'a text of 33 tokens, where the model reads 32',
    );
    await expect(run({}, [])).rejects.toThrow('an empty text');
    await expect(run({}, [3, 99])).rejects.toThrow('token 1 has the id 99');
  });

  test('an aborted signal ends it', async () => {
    const controller = new AbortController();
    const iterator = generate(model, 'abc', { ...COMPUTE, tokens: 10, signal: controller.signal });
    await iterator.next();
    controller.abort();
    await expect(iterator.next()).rejects.toThrow('aborted');
  });
});

const stories = sharedData('weights/stories260K');
test.skipIf(!stories)(
  'stories260K: a story with a cache equals that without (skipped without ../shared/data)',
  async () => {
    const folder = tempFiles();
    await llama2cFolder(stories!, folder);
    const model = await LanguageModel.load(folder);
    const ids = [...model.tokenizer.wrapper.before, ...model.tokenizer.encodeRaw('Once upon a time')];
    const expected = await greedyWithoutCache(model, ids, 90);
    const { all, result } = await pieces(model, 'Once upon a time', { tokens: 90 });
    expect(result.ids).toEqual(expected);
    // Words come with the spaces before them.
    expect(all.join('')).toBe(model.tokenizer.decode([...ids, ...expected]).slice('Once upon a time'.length));
    expect(all.join('')).toMatch(/^, there was a little/);
    await model.dispose();
  },
);
