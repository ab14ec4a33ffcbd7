import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { damage } from '../../../test/damage.ts';
import { embeddings, largestDifference, smallRetriever, TEXTS } from '../../../test/small-models.ts';
import { tempFiles } from '../../../test/temp-files.ts';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.ts';
import { POOLINGS } from '../../nn/layers.ts';
import { DataError, UndriftError, UsageError } from '../../util/errors.ts';
import { embeddingSpaceId } from '../retriever/embedding-space.ts';
import type { Retriever } from '../retriever/retriever.ts';
import { loadRetriever, saveRetriever } from './model-folder.ts';

const readJson = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

async function saved(retriever: Retriever, options = {}): Promise<string> {
  const folder = join(tempFiles(), 'model');
  await saveRetriever(folder, retriever, { onnx: false, ...options });
  return folder;
}

describe('save and load', () => {
  const prompts = { query: 'query: ', document: 'text: ' };
  test.each([
    ['mean', { kind: 'transformer' }],
    ['cls', { kind: 'transformer', pooling: 'cls', prompts }],
    ['last token', { kind: 'transformer', pooling: 'lasttoken' }],
    ['projection, not normalised', { kind: 'transformer', projectionSize: 8, normalize: false }],
    ['separate towers', { kind: 'transformer', towers: 'separate', projectionSize: 8, prompts }],
    ['static with token weights', { kind: 'static', normalize: false, projectionSize: 8 }],
    ['separate static towers', { kind: 'static', normalize: false, towers: 'separate', prompts }],
  ] as const)('%s: the same vectors, bit for bit', async (_name, options) => {
    const before = smallRetriever(options);
    before.trainedSteps = 70;
    const notes: string[] = [];
    const folder = await saved(before);
    const after = await loadRetriever(folder, { onNote: (note) => notes.push(note) });
    expect(notes).toEqual([]);
    expect(after.config).toEqual(before.config);
    expect(after.trainedSteps).toBe(70);
    expect(await embeddings(after)).toEqual(await embeddings(before));
    expect(embeddingSpaceId(after)).toBe(embeddingSpaceId(before));
    expect(readJson(folder, 'undrift.json').embeddingSpace).toBe(embeddingSpaceId(before));
    await Promise.all([before.dispose(), after.dispose()]);
  });

  test.each(POOLINGS)(
    '%s pooling as sentence-transformers writes it, in old and new spelling',
    async (pooling) => {
      const folder = await saved(smallRetriever({ kind: 'transformer', pooling }));
      const file = join(folder, '1_Pooling', 'config.json');
      const { word_embedding_dimension, include_prompt, ...modes } = readJson(file);
      expect(Object.keys(modes)).toHaveLength(POOLINGS.length);
      expect(Object.values(modes).filter((on) => on)).toHaveLength(1);
      rmSync(join(folder, 'undrift.json'));
      expect((await loadRetriever(folder)).config.encoder.pooling).toBe(pooling);
      writeFileSync(file, JSON.stringify({ word_embedding_dimension, pooling_mode: pooling }));
      expect((await loadRetriever(folder)).config.encoder.pooling).toBe(pooling);
    },
  );

  test('a static encoder that normalises is folded once: rounded, and the same from then on', async () => {
    const before = smallRetriever({ kind: 'static', towers: 'separate' });
    const folder = await saved(before);
    const after = await loadRetriever(folder);
    const { tensors } = await readSafetensors(join(folder, 'query', 'model.safetensors'));
    expect(Object.keys(tensors)).toEqual(['embedding.weight']);
    const [a, b] = [await embeddings(before), await embeddings(after)];
    expect(largestDifference(a.query, b.query)).toBeLessThan(1e-6);
    expect(largestDifference(a.document, b.document)).toBeLessThan(1e-6);
    expect(embeddingSpaceId(after)).toBe(embeddingSpaceId(before));
    const again = await saved(after);
    for (const file of files(folder)) {
      expect(readFileSync(join(again, file)), file).toEqual(readFileSync(join(folder, file)));
    }
    await Promise.all([before.dispose(), after.dispose()]);
  });

  test('the same retriever gives the same bytes', async () => {
    const [a, b] = [
      await saved(smallRetriever({ kind: 'transformer' }), { onnx: true }),
      await saved(smallRetriever({ kind: 'transformer' }), { onnx: true }),
    ];
    expect(files(a)).toEqual([
      '1_Pooling/config.json',
      'README.md',
      'config.json',
      'config_sentence_transformers.json',
      'model.safetensors',
      'modules.json',
      'onnx/model.onnx',
      'sentence_bert_config.json',
      'special_tokens_map.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'undrift.json',
    ]);
    for (const file of files(a))
      expect(readFileSync(join(a, file)), file).toEqual(readFileSync(join(b, file)));
  });

  test('two towers made of one encoder are separate copies', async () => {
    const folder = await saved(smallRetriever({ kind: 'transformer' }));
    const pair = await loadRetriever(folder, { towers: 'separate', maxTokens: { query: 5 } });
    expect(pair.config).toMatchObject({ towers: 'separate', maxTokens: { query: 5, document: 20 } });
    const [query, document] = ['query', 'document'].map(
      (side) => pair.weights[`${side}/encoder.layer.1.output.dense.bias`]!.data,
    );
    expect(query).toEqual(document);
    expect(query!.buffer).not.toBe(document!.buffer);
  });

  test('a projection can be added, fresh from the seed', async () => {
    const folder = await saved(smallRetriever({ kind: 'transformer' }));
    const [a, b, c] = await Promise.all(
      [1, 1, 2].map((seed) => loadRetriever(folder, { projectionSize: 4, seed })),
    );
    expect(a!.dimension).toBe(4);
    expect(embeddingSpaceId(a!)).toBe(embeddingSpaceId(b!));
    expect(embeddingSpaceId(a!)).not.toBe(embeddingSpaceId(c!));
    const projected = await saved(a!);
    await expect(loadRetriever(projected, { projectionSize: 5 })).rejects.toThrow(UsageError);
  });

  test('one tower of a pair can be used alone', async () => {
    const pair = smallRetriever({ kind: 'transformer', towers: 'separate' });
    const folder = await saved(pair);
    const notes: string[] = [];
    const query = await loadRetriever(join(folder, 'query'), { onNote: (note) => notes.push(note) });
    expect(notes).toEqual([expect.stringContaining('the query tower of a pair')]);
    expect(await query.encode('query', TEXTS)).toEqual(await pair.encode('query', TEXTS));
    await Promise.all([pair.dispose(), query.dispose()]);
  });
});

describe('a folder is replaced as a whole, or not at all', () => {
  test('a model of ours is replaced', async () => {
    const folder = await saved(smallRetriever({ kind: 'transformer', towers: 'separate' }));
    await saveRetriever(folder, smallRetriever({ kind: 'static' }), { onnx: false });
    expect(existsSync(join(folder, 'query'))).toBe(false);
    expect((await loadRetriever(folder)).config.encoder.model.model_type).toBe('undrift-static');
  });

  test('anything else is not', async () => {
    const retriever = smallRetriever({ kind: 'static' });
    const folder = tempFiles({ 'thesis.tex': 'years of work' });
    await expect(saveRetriever(folder, retriever)).rejects.toThrow('holds "thesis.tex"');
    expect(readFileSync(join(folder, 'thesis.tex'), 'utf8')).toBe('years of work');
    const other = tempFiles({ 'config.json': '{}', 'model.safetensors': '' });
    await expect(saveRetriever(other, retriever)).rejects.toThrow('was not made by Undrift');
    const model = await saved(retriever);
    writeFileSync(join(model, 'notes.txt'), 'mine');
    await expect(saveRetriever(model, retriever)).rejects.toThrow('holds "notes.txt"');
    const file = join(tempFiles({ model: 'a file' }), 'model');
    await expect(saveRetriever(file, retriever)).rejects.toThrow(UndriftError);
  });

  test('a save that fails leaves the old model', async () => {
    const old = smallRetriever({ kind: 'static', seed: 1 });
    const folder = await saved(old);
    const broken = smallRetriever({ kind: 'transformer' });
    const name = 'encoder/embeddings.LayerNorm.bias';
    Object.assign(broken.weights, { [name]: { ...broken.weights[name]!, dims: [33] } });
    await expect(saveRetriever(folder, broken, { onnx: false })).rejects.toThrow('needs 132 bytes');
    expect(readJson(folder, 'undrift.json').embeddingSpace).toBe(embeddingSpaceId(old));
    expect(readdirSync(join(folder, '..'))).toEqual(['model']);
  });

  test('a save that was killed between its two renames is mended by loading', async () => {
    const folder = await saved(smallRetriever({ kind: 'static' }));
    cpSync(folder, `${folder}.old`, { recursive: true });
    rmSync(folder, { recursive: true });
    mkdirSync(`${folder}.tmp`);
    expect((await loadRetriever(folder)).dimension).toBe(32);
    expect(existsSync(folder)).toBe(true);
  });
});

describe('damaged folders', () => {
  test.each([
    ['config.json', 'config.json'],
    ['tokenizer.json', 'tokenizer.json'],
    ['model.safetensors', 'model.safetensors'],
    ['1_Pooling/config.json', 'config.json'],
    ['2_Dense/config.json', 'config.json'],
    ['2_Dense/model.safetensors', 'model.safetensors'],
  ])('without %s', async (missing, named) => {
    const folder = await saved(smallRetriever({ kind: 'transformer', projectionSize: 8 }));
    rmSync(join(folder, missing));
    const error = await failure(folder);
    expect(error.file.endsWith(named)).toBe(true);
    expect(error.help).toBeDefined();
  });

  test('without modules.json the missing projection is reported', async () => {
    const folder = await saved(smallRetriever({ kind: 'transformer', projectionSize: 8 }));
    rmSync(join(folder, 'modules.json'));
    expect((await failure(folder)).message).toContain('projection.weight');
  });

  test.each([
    'undrift.json',
    'config.json',
    'tokenizer.json',
    'modules.json',
    '1_Pooling/config.json',
    'model.safetensors',
  ])('with %s cut off', async (name) => {
    const folder = await saved(smallRetriever({ kind: 'transformer' }));
    truncateSync(join(folder, name), Math.floor(readFileSync(join(folder, name)).length / 2));
    expect((await failure(folder)).file).toBe(join(folder, name));
  });

  test.each([
    [
      'config.json',
      'num_hidden_layers',
      3,
      /model\.safetensors: 16 of 53 tensors are missing: encoder\.layer\.2/,
    ],
    [
      'config.json',
      'hidden_size',
      64,
      /'embeddings.word_embeddings.weight' has the shape \[\d+, 32\], config.json asks for \[\d+, 64\]/,
    ],
    ['config.json', 'vocab_size', 9999, /asks for \[9999, 32\]/],
    ['config.json', 'num_attention_heads', 5, /hidden_size 32 is no multiple of num_attention_heads 5/],
    ['config.json', 'hidden_act', 'maxout', /"hidden_act" must be one of gelu/],
    [
      'config.json',
      'position_embedding_type',
      'relative_key',
      /"position_embedding_type" must be one of absolute/,
    ],
    [
      'config.json',
      'model_type',
      'mamba',
      /unknown model_type "mamba".*config\.json\n {2}help: known ones: bert, distilbert, .*undrift-static/,
    ],
    ['undrift.json', 'format', 4, /has format 4.*reads 3\n {2}help: update Undrift/],
    [
      'undrift.json',
      'maxTokens',
      { query: 4 },
      /"maxTokens" must hold an integer from 1 to 1000000 for "query" and "document"/,
    ],
    ['undrift.json', 'trainedSteps', 'many', /"trainedSteps" must be a whole number/],
    ['1_Pooling/config.json', 'pooling_mode_max_tokens', true, /pooling by mean and max is not supported/],
  ])('%s with %s %j', async (name, field, value, message) => {
    const folder = await saved(smallRetriever({ kind: 'transformer' }));
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify({ ...readJson(path), [field]: value }));
    const error = await loadRetriever(folder).then(
      () => expect.unreachable(),
      (cause) => cause,
    );
    expect(error).toBeInstanceOf(UndriftError);
    expect(error.message).toMatch(message);
    expect(error.message).toContain(name);
  });

  test('damaged bytes in any JSON file give an UndriftError or a model', async () => {
    const folder = await saved(smallRetriever({ kind: 'transformer', projectionSize: 8 }));
    let refused = 0;
    for (const name of [
      'undrift.json',
      'modules.json',
      'config.json',
      '1_Pooling/config.json',
      '2_Dense/config.json',
      'config_sentence_transformers.json',
      'sentence_bert_config.json',
    ]) {
      const bytes = readFileSync(join(folder, name));
      for (let i = 0; i < 30; i++) {
        writeFileSync(join(folder, name), damage(bytes, i));
        await loadRetriever(folder).catch((error) => {
          refused++;
          if (!(error instanceof UndriftError)) throw error;
        });
      }
      writeFileSync(join(folder, name), bytes);
    }
    expect(refused).toBeGreaterThan(100);
  });

  test('a tokenizer of another model', async () => {
    const folder = await saved(smallRetriever({ kind: 'transformer' }));
    const path = join(folder, 'tokenizer.json');
    const json = readJson(path);
    json.model.vocab.foreign = 5000;
    writeFileSync(path, JSON.stringify(json));
    expect((await failure(folder)).message).toMatch(
      /tokenizer\.json: the tokenizer has 5001 tokens, the embedding table/,
    );
  });

  test('weights that are NaN, or quantised, are refused', async () => {
    const retriever = smallRetriever({ kind: 'static' });
    const folder = await saved(retriever);
    const path = join(folder, 'model.safetensors');
    const { tensors } = await readSafetensors(path);
    const table = tensors['embedding.weight']!;
    (table.data as Float32Array)[40] = Number.NaN;
    await writeSafetensors(path, tensors);
    expect((await failure(folder)).message).toContain("tensor 'embedding.weight' holds NaN at element 40");
    await writeSafetensors(path, {
      'embedding.weight': { ...table, dtype: 'i8', data: new Int8Array(table.data.length) },
    });
    expect((await failure(folder)).message).toContain('holds i8 numbers');
  });

  test.each([
    ['model.safetensors', {}],
    ['2_Dense/model.safetensors', { projectionSize: 6 }],
    ['query/model.safetensors', { towers: 'separate' }],
    ['document/model.safetensors', { towers: 'separate' }],
  ] as const)('%s with other weights than were saved is an error', async (file, options) => {
    const folder = await saved(smallRetriever({ kind: 'transformer', ...options }));
    const path = join(folder, file);
    const bytes = readFileSync(path);
    bytes[bytes.length - 2]! ^= 1;
    writeFileSync(path, bytes);
    const error = await failure(folder);
    expect(error.message).toMatch(/the weights are not those that were saved: their SHA-256 begins with/);
    expect(error.message).toContain(file);
    expect(error.message).toContain('delete undrift.json');
  });

  test('a folder of an early version, without digests: a note reports other weights', async () => {
    const folder = await saved(smallRetriever({ kind: 'static' }));
    const { weights, ...json } = JSON.parse(readFileSync(join(folder, 'undrift.json'), 'utf8'));
    expect(Object.keys(weights)).toEqual(['model.safetensors']);
    writeFileSync(join(folder, 'undrift.json'), JSON.stringify(json));
    const path = join(folder, 'model.safetensors');
    const { tensors } = await readSafetensors(path);
    (tensors['embedding.weight']!.data as Float32Array)[0]! += 1;
    await writeSafetensors(path, tensors);
    const notes: string[] = [];
    await loadRetriever(folder, { onNote: (note) => notes.push(note) });
    expect(notes).toEqual([expect.stringContaining('was changed after it was saved')]);
  });

  test('towers that do not belong together', async () => {
    const options = { kind: 'transformer', towers: 'separate' } as const;
    const folder = await saved(smallRetriever(options));
    const other = await saved(smallRetriever({ ...options, intermediate: 40 }));
    rmSync(join(folder, 'query'), { recursive: true });
    cpSync(join(other, 'query'), join(folder, 'query'), { recursive: true });
    expect((await failure(folder)).message).toContain(
      'the towers query and document have different configurations',
    );
    rmSync(join(folder, 'query'), { recursive: true });
    expect((await failure(folder)).file).toContain(join('query', 'config.json'));
  });

  test('no folder, and a file', async () => {
    const folder = tempFiles({ file: '' });
    expect((await failure(join(folder, 'none'))).message).toContain('no such folder');
    expect((await failure(join(folder, 'file'))).message).toContain('this is a file');
    expect((await failure(folder)).file).toBe(join(folder, 'config.json'));
  });
});

async function failure(folder: string): Promise<DataError> {
  const error = await loadRetriever(folder).then(
    () => expect.unreachable('the folder was loaded'),
    (cause) => cause,
  );
  expect(error).toBeInstanceOf(DataError);
  return error;
}
