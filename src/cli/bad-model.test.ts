import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readSafetensors, writeSafetensors } from '../io/safetensors.ts';
import type { LoadedTensor } from '../io/tensor-data.ts';

const BERT = fileURLToPath(new URL('../models/architectures/fixtures/bert', import.meta.url));

/** Encodes two texts by a model folder into which `spoil` has looked. */
async function encodeBy(spoil: (folder: string) => Promise<void> | void) {
  const folder = tempFiles({ 'texts.txt': 'a text\nanother\n' });
  const model = join(folder, 'bad-model');
  for (const file of ['config.json', 'tokenizer.json', 'model.safetensors'])
    cpSync(join(BERT, file), join(model, file));
  await spoil(model);
  const argv = ['encode', '--model', 'bad-model', '--input', 'texts.txt', '--out', 'vectors.npy'];
  const found = await runUndrift(argv, { cwd: folder, env: { HF_HUB_OFFLINE: '1' } });
  return { ...found, files: readdirSync(folder).sort() };
}

const json = (folder: string, name: string, change: (value: Record<string, unknown>) => void) => {
  const value = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  change(value);
  writeFileSync(join(folder, name), JSON.stringify(value));
};
const tensors = async (folder: string, change: (all: Record<string, LoadedTensor>) => void) => {
  const file = join(folder, 'model.safetensors');
  const { tensors: all } = await readSafetensors(file);
  change(all);
  await writeSafetensors(file, all);
};
/** A safetensors file of a header, of the length that it has or claims, and eight bytes of data. */
const header =
  (text: string, claimed = BigInt(Buffer.byteLength(text))) =>
  (folder: string) => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(claimed);
    writeFileSync(
      join(folder, 'model.safetensors'),
      Buffer.concat([length, Buffer.from(text), Buffer.alloc(8)]),
    );
  };

// Each error names the file and what is wrong with it, and says what to do; nothing is written.
test.each<[string, (folder: string) => Promise<void> | void, RegExp[]]>([
  [
    'an architecture that we do not have',
    (folder) => json(folder, 'config.json', (config) => (config.model_type = 'mamba')),
    [/unknown model_type "mamba" in bad-model\/config\.json/, /help: known ones: .*bert.*xlm-roberta/],
  ],
  [
    'a tensor that is missing',
    (folder) =>
      tensors(folder, (all) => {
        delete all['encoder.layer.0.attention.self.query.weight'];
      }),
    [
      /bad-model\/model\.safetensors: 1 of \d+ tensors is missing: .*query\.weight/,
      /help: config\.json describes another model/,
    ],
  ],
  [
    'a tensor of another shape',
    (folder) =>
      tensors(folder, (all) => {
        const name = 'embeddings.LayerNorm.weight';
        all[name] = { dtype: 'f32', dims: [3], data: new Float32Array(3) };
      }),
    [
      /model\.safetensors: tensor 'embeddings\.LayerNorm\.weight' has the shape \[3\], config\.json asks for/,
      /help: /,
    ],
  ],
  [
    'a tokenizer of another model',
    (folder) =>
      json(folder, 'tokenizer.json', (value) => {
        (value.model as { vocab: Record<string, number> }).vocab.foreign = 500;
      }),
    [
      /tokenizer\.json: the tokenizer has 501 tokens, the embedding table in model\.safetensors only \d+ rows/,
      /help: /,
    ],
  ],
  [
    'no tokenizer.json',
    (folder) => {
      rmSync(join(folder, 'tokenizer.json'));
      writeFileSync(join(folder, 'vocab.txt'), '[PAD]');
    },
    [/tokenizer\.json: no such file/, /write it from vocab\.txt, with Python.*vocab\.txt alone is not read/],
  ],
  [
    'a pickle',
    (folder) => {
      rmSync(join(folder, 'model.safetensors'));
      writeFileSync(join(folder, 'pytorch_model.bin'), 'x');
    },
    [/the weights lie in pytorch_model\.bin/, /python -c "from transformers import .*n = 'bad-model'/],
  ],
  [
    'a pickle of sentence-transformers in shards',
    (folder) => {
      rmSync(join(folder, 'model.safetensors'));
      writeFileSync(join(folder, 'pytorch_model-00001-of-00002.bin'), 'x');
      writeFileSync(
        join(folder, 'modules.json'),
        JSON.stringify([{ idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' }]),
      );
    },
    [/lie in pytorch_model-00001/, /SentenceTransformer as S; S\('bad-model'\)\.save_pretrained/],
  ],
  [
    'an adapter',
    (folder) => {
      rmSync(join(folder, 'config.json'));
      writeFileSync(join(folder, 'adapter_config.json'), '{}');
    },
    [/--model bad-model: an adapter \(LoRA\)/, /help: merge it/],
  ],
  [
    'a shard outside the folder',
    (folder) => {
      rmSync(join(folder, 'model.safetensors'));
      const index = { weight_map: { a: '../other.safetensors' } };
      writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
    },
    [/index\.json: the weight_map gives no \.safetensors file of this folder for tensor 'a'/],
  ],
  [
    'a header of an impossible length',
    header('{}', 2n ** 63n),
    [/model\.safetensors: the header claims 9223372036854775808 bytes, at most/, /help: .*download it again/],
  ],
  [
    'a header longer than the file',
    header('{}', 5000n),
    [/model\.safetensors: the header claims 5000 bytes, the file has 18/, /help: /],
  ],
  [
    'tensors that overlap',
    header(
      '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    ),
    [/model\.safetensors: tensor 'b' overlaps/, /help: /],
  ],
  ['nesting without end', header('['.repeat(100_000)), [/model\.safetensors:1: not valid JSON/]],
  [
    'a file that was cut short',
    (folder) => {
      const file = join(folder, 'model.safetensors');
      writeFileSync(file, readFileSync(file).subarray(0, 5000));
    },
    [/model\.safetensors: tensor '.*' lies at bytes .* of the data, the file has/, /help: /],
  ],
  [
    'a configuration that is no JSON',
    (folder) => writeFileSync(join(folder, 'config.json'), '{"model_type": "bert",'),
    [/config\.json:1: not valid JSON/],
  ],
])('%s', async (_title, spoil, messages) => {
  const { code, stderr, files } = await encodeBy(spoil);
  for (const message of messages) expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/This should not happen|\n {4}at /);
  expect([1, 2]).toContain(code);
  expect(files).toEqual(['bad-model', 'texts.txt']);
});

test('what is missing but has a usual value is assumed, and what is too much is left: with a note of each', async () => {
  const { code, stderr, files } = await encodeBy((folder) =>
    tensors(folder, (all) => {
      all['cls.predictions.bias'] = { dtype: 'f32', dims: [3], data: new Float32Array(3) };
    }),
  );
  expect(code).toBe(0);
  expect(stderr).toContain('note: the folder names no pooling: mean is assumed');
  expect(stderr).toContain('1 tensor is no part of the encoder and was left: cls.predictions.bias');
  expect(files).toContain('vectors.npy');
});
