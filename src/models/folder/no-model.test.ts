import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { findModel } from './find-model.ts';
import { modelFiles } from './hub-model.ts';
import { loadRetriever } from './open-retriever.ts';

const ADAPTER = JSON.stringify({ peft_type: 'LORA', base_model_name_or_path: 'someone/base' });
const MODULES = JSON.stringify([
  { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
]);

// The help depends on what lies at the path.
test.each<[string, Record<string, string>, string, RegExp]>([
  [
    'an empty folder',
    { 'model/x/y': '' },
    'model/x/z',
    /the folder is empty\n {2}help: give the folder of a model/,
  ],
  [
    'a file',
    { 'model/x': '' },
    'model/x',
    /a file, not a model folder\n {2}help: give the folder that it lies in: .*model$/,
  ],
  [
    'a run without a model',
    { 'metrics.jsonl': '' },
    '.',
    /without a model as yet.*\n.*after its first evaluation/,
  ],
  ['a folder of models', { 'a/config.json': '{}', 'b/x': '' }, '.', /a folder inside is one: .*a$/],
  ['a folder of runs', { 'run-1/model/undrift.json': '{}' }, '.', /a folder inside is one: .*run-1.model$/],
  [
    'a repository in the cache of the hub',
    { 'snapshots/0f3a/config.json': '{}', 'refs/main': '' },
    '.',
    /is one: .*snapshots.0f3a$/,
  ],
  ['weights alone', { 'model.safetensors': '' }, '.', /weights \(model\.safetensors\), but no config\.json/],
  ['an ONNX model', { 'model.onnx': '' }, '.', /for other programs \(model\.onnx\)/],
  [
    'data',
    { 'corpus.jsonl': '', 'queries.jsonl': '' },
    '.',
    /data \(corpus\.jsonl\), not a model\n.*belong to data$/,
  ],
  [
    'something else',
    { 'notes.txt': '' },
    '.',
    /neither a model folder .*\n.*give the folder that has config\.json/,
  ],
  [
    'an adapter',
    { 'adapter_config.json': ADAPTER },
    '.',
    /an adapter \(LoRA\), not a whole model; its base model is someone\/base\n.*merge it/,
  ],
  [
    'an adapter of sentence-transformers',
    { 'adapter_config.json': ADAPTER, 'modules.json': MODULES },
    '.',
    /an adapter \(LoRA\), not a whole model/,
  ],
  [
    'an adapter inside',
    { '0_Transformer/adapter_config.json': '{', 'modules.json': MODULES },
    '.',
    /0_Transformer: an adapter \(LoRA\), not a whole model\n/,
  ],
  [
    'an adapter beside weights',
    { 'adapter_config.json': ADAPTER, 'config.json': '{}', 'model.safetensors': '' },
    '.',
    /beside the weights, which Python applies to someone\/base .*\n.*remove adapter_config\.json/,
  ],
])('%s', async (_, files, path, message) => {
  const folder = tempFiles(files);
  if (path === 'model/x/z') mkdirSync(join(folder, path));
  await expect(findModel(join(folder, path))).rejects.toThrow(message);
});

test.each<[string, string[], RegExp]>([
  [
    'a shard without its index',
    ['model-00001-of-00002.safetensors'],
    /one of several files, which model\.safetensors\.index\.json names/,
  ],
  ['weights under another name', ['model.fp16.safetensors'], /the folder has model\.fp16\.safetensors/],
  ['no weights', [], /not all of the model was copied or downloaded/],
])('a model folder with %s', async (_, files, message) => {
  const folder = tempFiles({ 'config.json': '{"model_type":"bert"}', 'tokenizer.json': tokenizer() });
  for (const name of files) writeFileSync(join(folder, name), '');
  await expect(loadRetriever(folder)).rejects.toThrow(message);
});

test('a model folder without tokenizer, or without the config.json of the encoder', async () => {
  const bert = tempFiles({ 'config.json': '{"model_type":"bert"}', 'model.safetensors': '' });
  await expect(loadRetriever(bert)).rejects.toThrow(
    /tokenizer\.json: no such file\n.*not all of the model was copied/,
  );
  const inside = MODULES.replace('"path":""', '"path":"0_Transformer"');
  const folder = tempFiles({ 'modules.json': inside, '0_Transformer/model.safetensors': '' });
  await expect(loadRetriever(folder)).rejects.toThrow(
    /0_Transformer.config\.json: no such file\n.*config\.json belongs beside its weights/,
  );
});

test('a repository with an adapter only', () => {
  const files = ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json', 'README.md'];
  expect(() => modelFiles(files, 'someone/adapter')).toThrow(/it holds an adapter \(LoRA\) only: merge it/);
  expect(modelFiles([...files, 'config.json', 'model.safetensors'], 'someone/both')).toContain(
    'adapter_config.json',
  );
});

function tokenizer(): string {
  const vocab = { '[PAD]': 0, '[UNK]': 1, a: 2 };
  return JSON.stringify({
    version: '1.0',
    added_tokens: [],
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  });
}
