import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { largestDifference, smallRetriever } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.ts';
import type { LoadedTensor } from '../../io/tensor-data.ts';
import { DataError } from '../../util/errors.ts';
import { f32ToBf16, f32ToF16 } from '../../util/half.ts';
import { architectures } from '../architectures/all.ts';
import type { Retriever } from '../retriever/retriever.ts';
import { loadRetriever, saveRetriever } from './model-folder.ts';

// Tiny random models that transformers made, and what they compute (tools/reference/architecture_golden.py). What holds for every
// architecture is in architectures/architectures.test.ts.
const FIXTURES = fileURLToPath(new URL('../architectures/fixtures', import.meta.url));
const BERT = join(FIXTURES, 'bert');
const texts = (name: string): string[] =>
  JSON.parse(readFileSync(join(FIXTURES, name, 'golden.json'), 'utf8')).texts;

/** A plain Hugging Face folder, with other tensors where they are given. */
async function folderOf(
  name: string,
  change: (tensors: Record<string, LoadedTensor>) => Record<string, LoadedTensor> = (t) => t,
) {
  const folder = tempFiles();
  for (const file of ['config.json', 'tokenizer.json', 'model.safetensors'])
    cpSync(join(FIXTURES, name, file), join(folder, file));
  const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
  await writeSafetensors(join(folder, 'model.safetensors'), change(tensors));
  return folder;
}

/** Whether texts have the vectors that transformers computed: means of rows of length one. */
async function check(retriever: Retriever, name: string, tolerance: number): Promise<void> {
  const { tensors } = await readSafetensors(join(FIXTURES, name, 'golden.safetensors'));
  const vectors = await retriever.encode('document', texts(name));
  expect(largestDifference(vectors, tensors.texts!.data as Float32Array)).toBeLessThan(tolerance);
  await retriever.dispose();
}

const ones = (dims: number[]): LoadedTensor => ({
  dtype: 'f32',
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b)).fill(1),
});

test('missing settings of a plain folder are assumed and unused tensors skipped, with a note for each', async () => {
  const folder = await folderOf('bert', (tensors) => ({
    ...tensors,
    'pooler.dense.weight': ones([8, 8]),
    'pooler.dense.bias': ones([8]),
  }));
  const notes: string[] = [];
  const retriever = await loadRetriever(folder, { onNote: (note) => notes.push(note) });
  expect(notes).toEqual([
    'the folder names no pooling: mean is assumed',
    'the folder names no similarity: cosine is assumed, so vectors are normalised',
    'model.safetensors: 2 tensors are no part of the encoder and were left: pooler.dense.bias, pooler.dense.weight',
    'the folder names no maximum length: texts are cut at 16 tokens',
  ]);
  expect(retriever.config.encoder).toMatchObject({ pooling: 'mean', normalize: true });
  await check(retriever, 'bert', 1e-5);
});

test("TensorFlow's names of layer norms", async () => {
  const name = (ours: string) =>
    ours.replace(/(LayerNorm)\.weight$/, '$1.gamma').replace(/(LayerNorm)\.bias$/, '$1.beta');
  const folder = await folderOf('bert', (tensors) =>
    Object.fromEntries(Object.entries(tensors).map(([ours, tensor]) => [name(ours), tensor])),
  );
  await check(await loadRetriever(folder), 'bert', 1e-5);
});

test.each([
  ['f16', f32ToF16, 5e-3],
  ['bf16', f32ToBf16, 5e-2],
] as const)('%s weights', async (dtype, convert, tolerance) => {
  for (const name of ['bert', 'mpnet']) {
    const folder = await folderOf(name, (tensors) => inHalf(tensors, dtype, convert));
    const retriever = await loadRetriever(folder);
    expect(Object.values(retriever.weights).every(({ dtype }) => dtype === 'f32')).toBe(true);
    await check(retriever, name, tolerance);
  }
});

const inHalf = (
  tensors: Record<string, LoadedTensor>,
  dtype: 'f16' | 'bf16',
  convert: (values: Float32Array) => Uint16Array,
): Record<string, LoadedTensor> =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, { dims, data }]) => [
      name,
      { dtype, dims, data: convert(data as Float32Array) as Uint16Array<ArrayBuffer> },
    ]),
  );

test.each(['bert', 'mpnet'])('%s in shards, of bf16', async (name) => {
  const folder = await folderOf(name, (tensors) => inHalf(tensors, 'bf16', f32ToBf16));
  const path = join(folder, 'model.safetensors');
  const { tensors } = await readSafetensors(path);
  const weightMap: Record<string, string> = {};
  for (const [i, part] of ['embeddings', 'encoder'].entries()) {
    const names = Object.keys(tensors).filter((stored) => stored.startsWith(part));
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    for (const stored of names) weightMap[stored] = file;
    await writeSafetensors(
      join(folder, file),
      Object.fromEntries(names.map((stored) => [stored, tensors[stored]!])),
    );
  }
  const whole = await loadRetriever(folder);
  rmSync(path);
  writeFileSync(`${path}.index.json`, JSON.stringify({ metadata: {}, weight_map: weightMap }));
  const retriever = await loadRetriever(folder);
  expect(retriever.weights).toEqual(whole.weights);
  await check(retriever, name, 5e-2);
  rmSync(join(folder, 'model-00002-of-00002.safetensors'));
  await expect(loadRetriever(folder)).rejects.toThrow(/model-00002-of-00002\.safetensors: no such file/);
});

test('tensors that are missing, of another shape, or of a model with other layers', async () => {
  const name = 'encoder.layer.1.attention.self.key.bias';
  const { [name]: _, ...rest } = (await readSafetensors(join(FIXTURES, 'roberta', 'model.safetensors')))
    .tensors;
  const error = async (tensors: Record<string, LoadedTensor>) =>
    expect(loadRetriever(await folderOf('roberta', () => tensors))).rejects;
  await (await error(rest)).toThrow(`1 of 37 tensors is missing: ${name}`);
  await (await error({ ...rest, [name]: ones([9]) })).toThrow(
    `tensor '${name}' has the shape [9], config.json asks for [8]`,
  );
  const folder = await folderOf('roberta');
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const load = (fields: object) => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...fields }));
    return expect(loadRetriever(folder)).rejects;
  };
  await load({ num_hidden_layers: 3 }).toThrow(/16 of 53 tensors are missing: encoder\.layer\.2\./);
  await load({ position_embedding_type: 'relative_key' }).toThrow('must be one of absolute');
  await load({ pad_token_id: 33 }).toThrow('max_position_embeddings 34 leaves no position for a text');
  await load({ model_type: 'mpnet', relative_attention_num_buckets: 16 }).toThrow('it must be 32');
  await load({ model_type: { toString: 1 } }).toThrow(/unknown model_type \{"toString":1\}/);
  await load({ model_type: 'bart' }).toThrow(
    new RegExp(`unknown model_type "bart".*known ones: ${[...architectures.keys()].join(', ')}$`, 's'),
  );
});

test('weights in another format', async () => {
  const folder = await folderOf('bert');
  rmSync(join(folder, 'model.safetensors'));
  writeFileSync(join(folder, 'pytorch_model.bin'), '');
  await expect(loadRetriever(folder)).rejects.toThrow(
    /the weights lie in pytorch_model\.bin.*save_pretrained/,
  );
});

test('a folder of sentence-transformers 6, with its new names', async () => {
  const folder = await folderOf('bert');
  const write = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  const type = (path: string) => `sentence_transformers.${path}`;
  const modules = [
    { idx: 0, name: '0', path: '', type: type('base.modules.transformer.Transformer') },
    { idx: 1, name: '1', path: 'pool', type: type('sentence_transformer.modules.pooling.Pooling') },
  ];
  write('modules.json', modules);
  cpSync(BERT, join(folder, 'pool'), { recursive: true });
  write('pool/config.json', { embedding_dimension: 16, pooling_mode: 'cls', include_prompt: true });
  write('sentence_bert_config.json', { max_seq_length: 9 });
  const prompts = { query: 'see ', passage: 'the ', other: '!' };
  write('config_sentence_transformers.json', { prompts, similarity_fn_name: 'dot' });
  const retriever = await loadRetriever(folder);
  expect(retriever.config).toMatchObject({
    encoder: { pooling: 'cls', normalize: false },
    prompts: { query: 'see ', document: 'the ' },
    maxTokens: { query: 9, document: 9 },
  });
  const { prompts: none } = (await loadRetriever(folder, { prompts: { document: '' } })).config;
  expect(none).toEqual({ query: 'see ', document: '' });

  write('modules.json', [
    ...modules,
    { idx: 2, name: '2', path: '2', type: type('base.modules.normalize.Normalize') },
  ]);
  expect((await loadRetriever(folder)).config.encoder.normalize).toBe(true);

  const dense = (config: object) => {
    const module = { idx: 2, name: '2', path: 'pool', type: type('models.Dense') };
    write('modules.json', [...modules.slice(0, 1), module]);
    write('pool/config.json', config);
    return expect(loadRetriever(folder)).rejects;
  };
  await dense({ bias: true }).toThrow('"out_features" must be a positive integer');
  await dense({ out_features: 4, activation_function: 'torch.nn.modules.activation.PReLU' }).toThrow(
    '"activation_function" is "torch.nn.modules.activation.PReLU", which we do not have',
  );
  await dense({ out_features: 4, module_input_name: 'token_embeddings' }).toThrow(
    'the layer does not act on the pooled vector',
  );
  for (const path of ['../elsewhere', '/etc']) {
    write('modules.json', [{ ...modules[0], path }]);
    await expect(loadRetriever(folder)).rejects.toThrow('a "path" inside the folder');
  }
  write('modules.json', [modules[0], { ...modules[1], type: type('models.LSTM') }]);
  await expect(loadRetriever(folder)).rejects.toThrow('module 1 is a LSTM');
  write('modules.json', [{ ...modules[0], type: type('models.CLIPModel') }]);
  await expect(loadRetriever(folder)).rejects.toThrow('the first module is a CLIPModel');
});

test('a StaticEmbedding of sentence-transformers is a plain mean, and is saved as one', async () => {
  const made = smallRetriever({ kind: 'static' });
  const ours = join(tempFiles(), 'ours');
  await saveRetriever(ours, made, { onnx: false });
  const folder = tempFiles({
    'modules.json': JSON.stringify([
      { idx: 0, name: '0', path: '0_StaticEmbedding', type: 'sentence_transformers.models.StaticEmbedding' },
    ]),
  });
  for (const name of ['tokenizer.json', 'model.safetensors'])
    cpSync(join(ours, name), join(folder, '0_StaticEmbedding', name));
  const notes: string[] = [];
  const read = await loadRetriever(folder, { normalize: false, onNote: (note) => notes.push(note) });
  expect(notes).toEqual([]);
  expect(read.config.maxTokens).toEqual({ query: 20, document: 20 });
  expect(
    [...read.weights['encoder/token_logits.weight']!.data].every(
      (x) => Number(x) === Math.fround(Math.log(Math.E - 1)),
    ),
  ).toBe(true);
  const texts = ['reads a whole file', 'number'];
  const [table, ids] = [
    read.weights['encoder/embedding.weight']!.data,
    texts.map((text) => [...read.tokenizer.encodeRaw(text)]),
  ];
  const means = ids.flatMap((row) =>
    Array.from(
      { length: 32 },
      (_, i) => row.reduce((sum, id) => sum + Number(table[id * 32 + i]), 0) / row.length,
    ),
  );
  expect(largestDifference(await read.encode('document', texts), means)).toBeLessThan(1e-6);

  const again = join(tempFiles(), 'again');
  await saveRetriever(again, read, { onnx: false });
  expect(JSON.parse(readFileSync(join(again, 'modules.json'), 'utf8'))).toHaveLength(1);
  expect(readFileSync(join(again, 'model.safetensors'))).toEqual(
    readFileSync(join(ours, 'model.safetensors')),
  );
  await read.dispose();

  await writeSafetensors(join(folder, '0_StaticEmbedding', 'model.safetensors'), {
    embeddings: { dtype: 'f32', dims: [2, 32], data: new Float32Array(64) },
    mapping: { dtype: 'i64', dims: [1], data: BigInt64Array.of(2n) },
  });
  await expect(loadRetriever(folder)).rejects.toThrow(DataError);
  await expect(loadRetriever(folder)).rejects.toThrow("tensor 'mapping' gives token 0 the row 2 of 2 rows");
});
