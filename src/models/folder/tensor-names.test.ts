import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tempFiles } from '../../../test/temp-files.ts';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.ts';
import type { LoadedTensor } from '../../io/tensor-data.ts';
import { loadRetriever } from './model-folder.ts';

const FIXTURES = fileURLToPath(new URL('../architectures/fixtures', import.meta.url));
type Tensors = Record<string, LoadedTensor>;

async function folderOf(name: string, change: (tensors: Tensors) => Tensors, metadata = {}): Promise<string> {
  const folder = tempFiles();
  const tokenizer = ['llama', 'gpt2'].includes(name) ? 'bert' : name;
  cpSync(join(FIXTURES, name, 'config.json'), join(folder, 'config.json'));
  cpSync(join(FIXTURES, tokenizer, 'tokenizer.json'), join(folder, 'tokenizer.json'));
  const { tensors } = await readSafetensors(join(FIXTURES, name, 'model.safetensors'));
  await writeSafetensors(join(folder, 'model.safetensors'), change(tensors), metadata);
  return folder;
}

const renamed = (tensors: Tensors, name: (ours: string) => string): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([ours, tensor]) => [name(ours), tensor]));

const zeros = (dims: number[]): LoadedTensor => ({
  dtype: 'f32',
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b)),
});

/** Loads a folder; its weights must be those of the fixture. */
async function expectSame(folder: string, name: string): Promise<string[]> {
  const notes: string[] = [];
  const right = await loadRetriever(await folderOf(name, (tensors) => tensors));
  const read = await loadRetriever(folder, { onNote: (note) => notes.push(note) });
  expect(read.weights).toEqual(right.weights);
  return notes.filter((note) => note.startsWith('model.safetensors'));
}

test.each([
  '0.auto_model.',
  '0.model.',
  '_orig_mod.',
  'module.',
  'auto_model.',
  'module._orig_mod.',
  '_orig_mod.module.0.auto_model.',
  '0.auto_model._orig_mod.',
  'model.bert.',
  'module.bert.',
  '_orig_mod.0.model.bert.',
])('names that begin with %s', async (prefix) => {
  const folder = await folderOf('bert', (tensors) => renamed(tensors, (name) => prefix + name));
  expect(await expectSame(folder, 'bert')).toEqual([]);
});

test('names with a part of torch.compile or FSDP in each layer', async () => {
  const folder = await folderOf('bert', (tensors) =>
    renamed(tensors, (name) =>
      name.replace('layer.0.', 'layer.0._orig_mod.').replace('layer.1.', 'layer.1._fsdp_wrapped_module.'),
    ),
  );
  expect(await expectSame(folder, 'bert')).toEqual([]);
});

test('another prefix is read with a note if it is the only one, and refused if there are two', async () => {
  const one = await folderOf('bert', (tensors) => renamed(tensors, (name) => `backbone.${name}`));
  expect(await expectSame(one, 'bert')).toEqual([
    "model.safetensors: the weights are read from the names that begin with 'backbone.'",
  ]);
  const two = await folderOf('bert', (tensors) => ({
    ...renamed(tensors, (name) => `query.${name}`),
    ...renamed(tensors, (name) => `passage.${name}`),
  }));
  await expect(loadRetriever(two)).rejects.toThrow(
    "the parameters are there twice, under the prefixes 'query.' and 'passage.'",
  );
  const known = await folderOf('bert', (tensors) => ({
    ...renamed(tensors, (name) => `ema.${name}`),
    ...renamed(tensors, (name) => `module.${name}`),
  }));
  expect(await expectSame(known, 'bert')).toEqual([expect.stringContaining('were left: ema.')]);
});

test.each([
  ['bert', 'bert.embeddings.word_embeddings.weight', 'cls.predictions.decoder.weight', 'bert.'],
  ['gpt2', 'transformer.wte.weight', 'lm_head.weight', 'transformer.'],
  ['llama', 'module.model.embed_tokens.weight', 'module.lm_head.weight', 'module.model.'],
  ['bert', 'embeddings.LayerNorm.weight', 'kept.elsewhere', ''],
])(
  '%s: a tensor that is stored under the name of the one it is tied to',
  async (name, alias, kept, prefix) => {
    const change = (tensors: Tensors) => {
      const all = renamed(tensors, (ours) => prefix + ours);
      const { [alias]: table, ...rest } = all;
      return { ...rest, [kept]: table! };
    };
    const folder = await folderOf(name, change, { format: 'pt', [alias]: kept });
    expect(await expectSame(folder, name)).toEqual([]);
    await expect(loadRetriever(await folderOf(name, change))).rejects.toThrow(/is missing: /);
  },
);

test('aliases in the index of shards', async () => {
  const folder = await folderOf('gpt2', (tensors) => {
    const { 'wte.weight': table, ...rest } = tensors;
    return { ...rest, 'lm_head.weight': table! };
  });
  const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
  const shard = 'model-00001-of-00001.safetensors';
  cpSync(join(folder, 'model.safetensors'), join(folder, shard));
  rmSync(join(folder, 'model.safetensors'));
  const index = {
    metadata: { total_size: 1, 'wte.weight': 'lm_head.weight' },
    weight_map: Object.fromEntries(Object.keys(tensors).map((name) => [name, shard])),
  };
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  expect(await expectSame(folder, 'gpt2')).toEqual([]);
});

test.each(['I16', 'U64', 'F8_E4M3', 'C64', 'X1'])('an unused tensor of type %s', async (type) => {
  const folder = await folderOf('bert', (tensors) => ({ ...tensors, extra: zeros([8]) }));
  const path = join(folder, 'model.safetensors');
  retype(path, 'extra', type);
  expect(await expectSame(folder, 'bert')).toEqual([
    'model.safetensors: 1 tensor is no part of the encoder and was left: extra',
  ]);
  retype(path, 'embeddings.LayerNorm.weight', type);
  await expect(loadRetriever(folder)).rejects.toThrow(
    `tensor 'embeddings.LayerNorm.weight' has the element type ${type}, which we do not read`,
  );
});

/** Changes the type of a tensor of eight f32 in the header, and its shape so that the size stays right. */
function retype(path: string, name: string, type: string): void {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  const size = { I16: 2, U64: 8, C64: 8, F8_E4M3: 1 }[type] ?? 4;
  Object.assign(header[name], { dtype: type, shape: [32 / size] });
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([prefix, json, bytes.subarray(8 + length)]));
}

test.each<[string, (tensors: Tensors) => Tensors, RegExp]>([
  [
    'other tensors',
    () => ({ 'conv1.weight': zeros([2, 2]) }),
    /37 of 37 tensors are missing: .*the file has other tensors, such as 'conv1\.weight'/s,
  ],
  ['no tensors', () => ({}), /the file is empty/],
  [
    'adapters that are not merged',
    (tensors) => renamed(tensors, (name) => name.replace('query.weight', 'query.base_layer.weight')),
    /2 of \d+ tensors are missing: .*LoRA adapters beside the weights: merge them/s,
  ],
  [
    'quantised weights',
    (tensors) => renamed(tensors, (name) => name.replace('dense.weight', 'dense.qweight')),
    /the weights are quantised/,
  ],
  [
    'a tied tensor without an alias',
    (tensors) => renamed(tensors, (name) => name.replace('embeddings.word_embeddings', 'lm_head.decoder')),
    /is missing: embeddings\.word_embeddings\.weight\n.*'lm_head\.decoder\.weight' of the same shape/,
  ],
])('missing because of %s: the help says so', async (_, change, message) => {
  await expect(loadRetriever(await folderOf('bert', change))).rejects.toThrow(message);
});
