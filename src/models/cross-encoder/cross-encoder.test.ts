import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { smallRetriever } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { loadRetriever } from '../folder/model-folder.ts';
import { saveRetriever } from '../folder/save-retriever.ts';
import type { CrossEncoder, TextPair } from './cross-encoder.ts';
import { loadCrossEncoder, readCrossEncoder } from './load-cross-encoder.ts';
import { saveCrossEncoder } from './save-cross-encoder.ts';

const FIXTURES = fileURLToPath(new URL('fixtures', import.meta.url));
const { pairs, cases } = JSON.parse(readFileSync(join(FIXTURES, 'cases.json'), 'utf8')) as {
  pairs: TextPair[];
  cases: Record<string, { base: string; files: Record<string, object | null>; scores: number[] }>;
};
const COMPUTE = { threads: 1 };

const open: CrossEncoder[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.dispose();
});

const loaded = async (...[folder, options]: Parameters<typeof loadCrossEncoder>): Promise<CrossEncoder> => {
  const crossEncoder = await loadCrossEncoder(folder, options);
  open.push(crossEncoder);
  return crossEncoder;
};

/** Copies a model of the fixtures, with other JSON files. */
function folderOf(base: string, files: Readonly<Record<string, object | null>> = {}): string {
  const folder = join(tempFiles(), 'model');
  cpSync(join(FIXTURES, base), folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    if (content === null) rmSync(join(folder, name));
    else writeFileSync(join(folder, name), JSON.stringify(content));
  }
  return folder;
}

const changed = (base: string, name: string, fields: object) => ({
  [name]: { ...JSON.parse(readFileSync(join(FIXTURES, base, name), 'utf8')), ...fields },
});

const difference = (found: Float32Array, wanted: readonly number[]): number =>
  Math.max(...wanted.map((score, i) => Math.abs(score - found[i]!)));

describe('scores are those of sentence-transformers', () => {
  test.each(Object.entries(cases))('%s', async (_, { base, files, scores }) => {
    const crossEncoder = await loaded(folderOf(base, files));
    expect(difference(await crossEncoder.score(pairs, COMPUTE), scores)).toBeLessThan(1e-5);

    const saved = join(tempFiles(), 'saved');
    await saveCrossEncoder(saved, crossEncoder);
    const again = await loaded(saved);
    expect(again.config).toEqual(crossEncoder.config);
    expect([...(await again.score(pairs, COMPUTE))]).toEqual([...(await crossEncoder.score(pairs, COMPUTE))]);
  });
});

test('ranks documents by score, best first, and equal ones in the order of the list', async () => {
  const crossEncoder = await loaded(join(FIXTURES, 'bert'));
  const documents = ['dog', 'the mat', 'a red house', 'the mat', 'running'];
  const scores = await crossEncoder.score(
    documents.map((document): TextPair => ['the cat', document]),
    COMPUTE,
  );
  const ranked = await crossEncoder.rank('the cat', documents, COMPUTE);
  expect(ranked.map(({ document }) => document).sort()).toEqual([0, 1, 2, 3, 4]);
  for (const [i, { document, score }] of ranked.entries()) {
    expect(score).toBeCloseTo(scores[document]!, 6);
    if (i > 0) expect(score).toBeLessThanOrEqual(ranked[i - 1]!.score);
  }
  const equal = ranked.filter(({ document }) => documents[document] === 'the mat');
  expect(equal.map(({ document }) => document)).toEqual([1, 3]);
  expect(await crossEncoder.rank('the cat', documents, { ...COMPUTE, topK: 2 })).toEqual(ranked.slice(0, 2));
  expect(await crossEncoder.rank('the cat', [], COMPUTE)).toEqual([]);
});

test('a length and an activation that are asked for replace those of the folder', async () => {
  const given = await loaded(join(FIXTURES, 'bert'), { maxTokens: 12, activation: 'identity' });
  expect(given.config).toMatchObject({ maxTokens: 12, activation: 'identity' });
  const { scores } = cases['12 tokens']!;
  const logits = scores.map((p) => Math.log(p / (1 - p)));
  expect(difference(await given.score(pairs, COMPUTE), logits)).toBeLessThan(1e-4);
  await expect(loadCrossEncoder(join(FIXTURES, 'bert'), { maxTokens: 65 })).rejects.toThrow(
    /pairs of 65 tokens are longer than the model's 64 positions/,
  );
  await expect(loadCrossEncoder(join(FIXTURES, 'bert'), { maxTokens: 4 })).rejects.toThrow(
    /pairs of 4 tokens leave no room for two texts beside 3 special tokens/,
  );
});

const SETTINGS = 'config_sentence_transformers.json';

describe('folders that would be scored otherwise are refused', () => {
  test.each<[string, string, object, RegExp]>([
    [
      'another activation',
      SETTINGS,
      { activation_fn: 'torch.nn.modules.activation.Tanh' },
      /activation_fn.*Tanh/,
    ],
    [
      'a prompt',
      SETTINGS,
      { prompts: { q: 'ask: ' }, default_prompt_name: 'q' },
      /default_prompt_name.*prompt/,
    ],
    ['another kind of model', SETTINGS, { model_type: 'SparseEncoder' }, /model_type.*SparseEncoder/],
    ['two labels', 'config.json', { id2label: { 0: 'no', 1: 'yes' } }, /2 labels/],
    ['own code', 'config.json', { auto_map: { AutoModelForSequenceClassification: 'x.Y' } }, /auto_map/],
    [
      'another task',
      'sentence_bert_config.json',
      { transformer_task: 'text-generation' },
      /transformer_task/,
    ],
    [
      'another output',
      'sentence_bert_config.json',
      { module_output_name: 'token_embeddings' },
      /module_output_name/,
    ],
    [
      'another way to cut',
      'sentence_bert_config.json',
      { processing_kwargs: { text: { truncation: 'only_second' } } },
      /truncation.*only_second/,
    ],
  ])('%s', async (_, name, fields, message) => {
    const folder = folderOf('bert', changed('bert', name, fields));
    await expect(loadCrossEncoder(folder)).rejects.toThrow(message);
  });

  test('modules after the transformer, architectures without a head, encoders, and retrievers', async () => {
    const module = (type: string, idx: number) => ({
      idx,
      name: `${idx}`,
      path: '',
      type: `sentence_transformers.models.${type}`,
    });
    const more = folderOf('bert', { 'modules.json': [module('Transformer', 0), module('Dense', 1)] });
    await expect(loadCrossEncoder(more)).rejects.toThrow(/its modules are Transformer, Dense/);
    const other = folderOf('bert', changed('bert', 'config.json', { model_type: 'llama' }));
    await expect(loadCrossEncoder(other)).rejects.toThrow(/"llama" cannot be a cross-encoder/);
    const retriever = smallRetriever({ kind: 'transformer' });
    const folder = join(tempFiles(), 'retriever');
    await saveRetriever(folder, retriever, { onnx: false });
    await retriever.dispose();
    await expect(loadCrossEncoder(folder)).rejects.toThrow(/does not score pairs|Transformer, Pooling/);
  });

  test('weights that were changed, and a cross-encoder as a retriever', async () => {
    const crossEncoder = await loaded(join(FIXTURES, 'bert'));
    const folder = join(tempFiles(), 'saved');
    await saveCrossEncoder(folder, crossEncoder);
    await expect(loadRetriever(folder)).rejects.toThrow(/this is a cross-encoder/);
    const file = join(folder, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(file, bytes);
    await expect(loadCrossEncoder(folder)).rejects.toThrow(/the weights are not those that were saved/);
  });
});

test('an encoder without a head gets a new one, by its seed', async () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  const folder = join(tempFiles(), 'retriever');
  await saveRetriever(folder, retriever, { onnx: false });
  await retriever.dispose();
  const notes: string[] = [];
  const made = async (seed: number) => {
    const each = await readCrossEncoder(folder, { newHead: { seed }, onNote: (note) => notes.push(note) });
    open.push(each);
    return each;
  };
  const first = await made(1);
  expect(notes.join()).toMatch(/no classification head: it gets a new one \(BertForSequenceClassification\)/);
  const score = async (model: CrossEncoder) => [...(await model.score([['one', 'two']], COMPUTE))];
  expect(await score(await made(1))).toEqual(await score(first));
  expect(await score(await made(2))).not.toEqual(await score(first));
});
