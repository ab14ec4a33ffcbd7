import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { largestDifference, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import type { LoadedTensor } from '../io/tensor-data.ts';
import { DataError } from '../util/errors.ts';
import { f32ToBf16, f32ToF16 } from '../util/half.ts';
import { loadRetriever, saveRetriever } from './model-folder.ts';
import type { Retriever } from './retriever.ts';

// A tiny random BERT that transformers made, and what it computes (tools/reference/bert_golden.py).
const BERT = join(dirname(fileURLToPath(import.meta.url)), 'fixtures', 'bert');
const golden: { texts: string[]; ids: number[][] } = JSON.parse(
  readFileSync(join(BERT, 'golden.json'), 'utf8'),
);

/** A plain Hugging Face folder, with other tensors or files where they are given. */
async function bertFolder(
  change: (tensors: Record<string, LoadedTensor>) => Record<string, LoadedTensor> = (t) => t,
) {
  const folder = join(tempFiles(), 'bert');
  cpSync(BERT, folder, { recursive: true });
  const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
  await writeSafetensors(join(folder, 'model.safetensors'), change(tensors));
  return folder;
}

const renamed = (tensors: Record<string, LoadedTensor>, name: (old: string) => string) =>
  Object.fromEntries(Object.entries(tensors).map(([old, tensor]) => [name(old), tensor]));

/** Mean or first of the hidden states that transformers computed. */
async function expectedVectors(pooling: 'mean' | 'cls'): Promise<Float64Array> {
  const { tensors } = await readSafetensors(join(BERT, 'golden.safetensors'));
  const { dims, data } = tensors.last_hidden_state!;
  const [B, T, D] = dims as [number, number, number];
  const vectors = new Float64Array(B * D);
  for (let b = 0; b < B; b++) {
    const length = pooling === 'cls' ? 1 : golden.ids[b]!.length;
    for (let i = 0; i < length * D; i++) vectors[b * D + (i % D)]! += Number(data[b * T * D + i]) / length;
  }
  return vectors;
}

async function check(retriever: Retriever, pooling: 'mean' | 'cls', tolerance: number): Promise<void> {
  const vectors = await retriever.encode('document', golden.texts);
  const expected = await expectedVectors(pooling);
  expect(Math.max(...expected)).toBeGreaterThan(1);
  expect(largestDifference(vectors, expected)).toBeLessThan(tolerance);
  await retriever.dispose();
}

test.each(['mean', 'cls'] as const)(
  'a plain BERT gives what transformers gives: %s pooling',
  async (pooling) => {
    const notes: string[] = [];
    const options = { normalize: false, onNote: (note: string) => notes.push(note) };
    const retriever = await loadRetriever(BERT, pooling === 'cls' ? { ...options, pooling } : options);
    expect(notes).toEqual([
      ...(pooling === 'mean' ? ['the folder names no pooling: mean is assumed'] : []),
      'model.safetensors: 2 tensors are no part of the encoder and were left: pooler.dense.bias, pooler.dense.weight',
      'the folder names no maximum length: texts are cut at 24 tokens',
    ]);
    const store = retriever.tokenize('document', golden.texts.length, (row) => golden.texts[row]!);
    expect(golden.texts.map((_, row) => [...store.tokens(row)])).toEqual(golden.ids);
    await check(retriever, pooling, 1e-5);
  },
);

test('without a similarity cosine is assumed', async () => {
  const notes: string[] = [];
  const retriever = await loadRetriever(BERT, { onNote: (note) => notes.push(note) });
  expect(notes).toContain('the folder names no similarity: cosine is assumed, so vectors are normalised');
  expect(retriever.config.encoder.normalize).toBe(true);
});

test.each([
  ['with a head: names after bert.', (name: string) => `bert.${name}`],
  [
    "with TensorFlow's names of layer norms",
    (name: string) =>
      name.replace(/(LayerNorm)\.weight$/, '$1.gamma').replace(/(LayerNorm)\.bias$/, '$1.beta'),
  ],
])('%s', async (_title, name) => {
  const folder = await bertFolder((tensors) => renamed(tensors, name));
  await check(await loadRetriever(folder, { normalize: false }), 'mean', 1e-5);
});

test.each([
  ['f16', f32ToF16, 2e-2],
  ['bf16', f32ToBf16, 2e-1],
] as const)('%s weights', async (dtype, convert, tolerance) => {
  const folder = await bertFolder((tensors) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { dims, data }]) => [
        name,
        { dtype, dims, data: convert(data as Float32Array) as Uint16Array<ArrayBuffer> },
      ]),
    ),
  );
  const retriever = await loadRetriever(folder, { normalize: false });
  expect(Object.values(retriever.weights).every(({ dtype }) => dtype === 'f32')).toBe(true);
  await check(retriever, 'mean', tolerance);
});

test('weights in shards', async () => {
  const folder = await bertFolder();
  const path = join(folder, 'model.safetensors');
  const { tensors } = await readSafetensors(path);
  const weightMap: Record<string, string> = {};
  for (const [i, part] of ['embeddings', 'encoder'].entries()) {
    const names = Object.keys(tensors).filter((name) => name.startsWith(part));
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    for (const name of names) weightMap[name] = file;
    await writeSafetensors(
      join(folder, file),
      Object.fromEntries(names.map((name) => [name, tensors[name]!])),
    );
  }
  rmSync(path);
  writeFileSync(`${path}.index.json`, JSON.stringify({ metadata: {}, weight_map: weightMap }));
  await check(await loadRetriever(folder, { normalize: false }), 'mean', 1e-5);
  rmSync(join(folder, 'model-00002-of-00002.safetensors'));
  await expect(loadRetriever(folder)).rejects.toThrow(/model-00002-of-00002\.safetensors: no such file/);
});

test('weights in another format', async () => {
  const folder = await bertFolder();
  rmSync(join(folder, 'model.safetensors'));
  writeFileSync(join(folder, 'pytorch_model.bin'), '');
  await expect(loadRetriever(folder)).rejects.toThrow(
    /the weights lie in pytorch_model\.bin.*save_pretrained/,
  );
});

test('a folder of sentence-transformers 6, with its new names', async () => {
  const folder = await bertFolder();
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
  await dense({ bias: true }).toThrow('the bias of the Dense module is not supported');
  await dense({ bias: false, activation_function: 'torch.nn.modules.activation.Tanh' }).toThrow('Tanh');
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
  expect(notes).toEqual(['the folder names no maximum length: texts are cut at 512 tokens']);
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
    mapping: { dtype: 'i64', dims: [1], data: BigInt64Array.of(0n) },
  });
  await expect(loadRetriever(folder)).rejects.toThrow(DataError);
  await expect(loadRetriever(folder)).rejects.toThrow(/tensor 'mapping' of a compressed model2vec table/);
});
