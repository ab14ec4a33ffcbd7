import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { generateMany, generateText } from '../models/language/generate.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { float32 } from '../runtime/host-tensor.ts';
import { exportLanguageModel } from './export-language-model.ts';

const FIXTURES = fileURLToPath(new URL('../models/language/fixtures/causal', import.meta.url));
const PROMPTS = ['helLo', 'abcdefg', 'xWz'];

test.each(readdirSync(FIXTURES))(
  '%s: transformers.js generates the tokens that we generate',
  async (name) => {
    const folder = join(tempFiles(), 'exported');
    const model = await LanguageModel.load(join(FIXTURES, name));
    const { texts, files } = await exportLanguageModel(folder, model, { threads: 1 });
    expect(texts).toBeGreaterThan(10);
    expect(files.map(({ path, vectors, dtype }) => [path, vectors, dtype])).toEqual([
      ['onnx/model.onnx', 'logits', 'f32'],
      ['model.safetensors', 'loaded', 'f32'],
    ]);
    for (const { largestDifference } of files) expect(largestDifference).toBeLessThan(1e-5);

    const { env, pipeline } = await import('@huggingface/transformers');
    env.allowRemoteModels = false;
    const theirs = await pipeline('text-generation', folder, { dtype: 'fp32' });
    const ours = await generateMany(model, PROMPTS, { tokens: 10, threads: 1 });
    for (const [i, prompt] of PROMPTS.entries()) {
      const [written] = (await theirs(prompt, { max_new_tokens: 10, do_sample: false })) as {
        generated_text: string;
      }[];
      expect(written!.generated_text).toBe(prompt + ours[i]!.text);
    }
    await theirs.dispose();
    await model.dispose();
  },
);

test('coarser weights, and the folder for one format alone', async () => {
  const folder = join(tempFiles(), 'exported');
  const model = await LanguageModel.load(join(FIXTURES, 'llama-untied'));
  const { files } = await exportLanguageModel(folder, model, {
    formats: ['onnx'],
    dtypes: ['f16', 'int8'],
    threads: 1,
  });
  expect(files.map(({ path }) => path)).toEqual(['onnx/model_fp16.onnx', 'onnx/model_quantized.onnx']);
  expect(readdirSync(folder)).not.toContain('model.safetensors');
  await expect(exportLanguageModel(folder, model, { dtypes: ['int8'] })).rejects.toThrow(
    'int8 is a way to store ONNX',
  );
  const half = join(tempFiles(), 'half');
  await exportLanguageModel(half, model, { formats: ['huggingface'], dtypes: ['f16'], threads: 1 });
  expect(JSON.parse(readFileSync(join(half, 'config.json'), 'utf8')).torch_dtype).toBe('float16');
  const loaded = await LanguageModel.load(half);
  const greedy = (each: LanguageModel) => generateText(each, 'helLo', { tokens: 6, threads: 1 });
  expect((await greedy(loaded)).ids).toHaveLength(6);
  for (const each of [loaded, model]) await each.dispose();
});

test('a file whose logits differ is not left behind', async () => {
  const model = await LanguageModel.load(join(FIXTURES, 'gpt2'));
  float32(model.weights['wte.weight'])[0] = Number.NaN;
  const other = join(tempFiles(), 'other');
  await expect(exportLanguageModel(other, model, { threads: 1, texts: ['abc', 'aaa'] })).rejects.toThrow(
    'could not be verified',
  );
  expect(() => readdirSync(other)).toThrow();
  await model.dispose();
});
