import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { embeddings, largestDifference, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { readSafetensors } from '../io/safetensors.ts';
import { loadRetriever, saveRetriever } from '../models/folder/model-folder.ts';
import { UndriftError, UsageError } from '../util/errors.ts';
import { type ExportOptions, exportModel } from './export-model.ts';
import { exportedCards } from './exported-card.ts';
import { parityTexts } from './parity-texts.ts';

const texts = parityTexts(60);
const options = (formats: ExportOptions['formats'], dtypes?: ExportOptions['dtypes']): ExportOptions => ({
  formats,
  ...(dtypes && { dtypes }),
  card: () => '# a card\n',
  texts,
});
const folderName = () => join(tempFiles(), 'exported');
const filesOf = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.\w+$/.test(name))
    .sort();

const TOKENIZER = ['special_tokens_map.json', 'tokenizer.json', 'tokenizer_config.json'];

test('every format and type of a transformer, each within its bound', async () => {
  const retriever = smallRetriever({ kind: 'transformer', projectionSize: 8, prompts: { query: 'q: ' } });
  const folder = folderName();
  const all = options(
    ['sentence-transformers', 'huggingface', 'onnx', 'onnx-embedding'],
    ['f32', 'f16', 'int8'],
  );
  const report = await exportModel(folder, retriever, all);
  expect(filesOf(folder)).toEqual([
    '1_Pooling/config.json',
    '2_Dense/config.json',
    '2_Dense/model.safetensors',
    'README.md',
    'config.json',
    'config_sentence_transformers.json',
    'model.safetensors',
    'modules.json',
    'onnx/embedding.onnx',
    'onnx/embedding_fp16.onnx',
    'onnx/embedding_quantized.onnx',
    'onnx/model.onnx',
    'onnx/model_fp16.onnx',
    'onnx/model_quantized.onnx',
    'sentence_bert_config.json',
    ...TOKENIZER,
    'undrift.json',
  ]);
  expect(report.texts).toBe(60);
  expect(report.files.map(({ path, vectors }) => [path, vectors])).toEqual([
    ['onnx/model.onnx', 'sentence_embedding'],
    ['onnx/model.onnx', 'last_hidden_state'],
    ['onnx/model_fp16.onnx', 'sentence_embedding'],
    ['onnx/model_fp16.onnx', 'last_hidden_state'],
    ['onnx/model_quantized.onnx', 'sentence_embedding'],
    ['onnx/model_quantized.onnx', 'last_hidden_state'],
    ['onnx/embedding.onnx', 'sentence_embedding'],
    ['onnx/embedding_fp16.onnx', 'sentence_embedding'],
    ['onnx/embedding_quantized.onnx', 'sentence_embedding'],
    ['model.safetensors', 'loaded'],
    ['model.safetensors', 'loaded'],
  ]);
  for (const file of report.files) {
    if (file.dtype === 'f32') expect(file.largestDifference).toBeLessThan(1e-6);
    // Coarser weights: near, and not the same.
    else expect(file.largestDifference).toBeGreaterThan(0);
    expect(file.minCosine).toBeGreaterThan(file.dtype === 'int8' ? 0.99 : 0.99999);
  }
  await retriever.dispose();
});

test('without options: for sentence-transformers and as ONNX, with a card of its own', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const folder = folderName();
  const { files, embeddingSpace } = await exportModel(folder, retriever);
  expect(new Set(files.map(({ path }) => path))).toEqual(new Set(['onnx/model.onnx', 'model.safetensors']));
  expect(readFileSync(join(folder, 'README.md'), 'utf8')).toContain(embeddingSpace);
  await retriever.dispose();
});

test('a folder in f16 states its dtype and gives nearby vectors', async () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  const folder = folderName();
  await exportModel(folder, retriever, options(['huggingface'], ['f16']));
  expect(filesOf(folder)).toEqual([
    'README.md',
    'config.json',
    'model.safetensors',
    ...TOKENIZER,
    'undrift.json',
  ]);
  const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
  expect(new Set(Object.values(tensors).map(({ dtype }) => dtype))).toEqual(new Set(['f16']));
  expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).torch_dtype).toBe('float16');
  const [ours, theirs] = [await embeddings(retriever), await embeddings(await loadRetriever(folder))];
  expect(largestDifference(ours.query, theirs.query)).toBeGreaterThan(0);
  expect(largestDifference(ours.query, theirs.query)).toBeLessThan(1e-3);
});

test('separate towers: a folder each, each verified', async () => {
  const retriever = smallRetriever({ kind: 'transformer', towers: 'separate' });
  const folder = folderName();
  const { files } = await exportModel(
    folder,
    retriever,
    options(['sentence-transformers', 'onnx-embedding']),
  );
  expect(files.map(({ path, side }) => `${side}: ${path}`)).toEqual([
    'query: query/onnx/embedding.onnx',
    'document: document/onnx/embedding.onnx',
    'query: query/model.safetensors',
    'document: document/model.safetensors',
  ]);
  expect(existsSync(join(folder, 'router_config.json'))).toBe(true);
});

test('a static encoder: exported for sentence-transformers and onnxruntime, refused for huggingface', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const { files } = await exportModel(
    folderName(),
    retriever,
    options(['sentence-transformers', 'onnx'], ['f32', 'int8']),
  );
  expect(files.map(({ path }) => path)).toContain('onnx/model_quantized.onnx');
  await expect(exportModel(folderName(), retriever, options(['huggingface']))).rejects.toThrow(
    /no huggingface folder/,
  );
  const weighted = smallRetriever({ kind: 'static', normalize: false });
  await expect(exportModel(folderName(), weighted, options(['sentence-transformers']))).rejects.toThrow(
    UsageError,
  );
});

test('model.safetensors has no 8-bit form', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const folder = folderName();
  await expect(
    exportModel(folder, retriever, options(['sentence-transformers', 'onnx'], ['int8'])),
  ).rejects.toThrow(/int8 is a way to store ONNX files/);
  expect(existsSync(folder)).toBe(false);
});

test('an export that fails verification leaves the old folder as it was', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const folder = folderName();
  await exportModel(folder, retriever, options(['onnx']));
  const before = readFileSync(join(folder, 'onnx', 'model.onnx'));
  const encode = retriever.encodeTokens.bind(retriever);
  // As if the runtime computed something else than the file.
  retriever.encodeTokens = async (...args) => {
    const vectors = await encode(...args);
    vectors[7]! += 2e-5;
    return vectors;
  };
  retriever.trainedSteps += 1;
  await expect(exportModel(folder, retriever, options(['onnx', 'sentence-transformers']))).rejects.toThrow(
    /could not be verified: onnx\/model\.onnx: vectors differ by up to 2\.0e-5.*text 0/,
  );
  expect(readFileSync(join(folder, 'onnx', 'model.onnx')).equals(before)).toBe(true);
  expect(existsSync(join(folder, 'modules.json'))).toBe(false);
  expect(readdirSync(join(folder, '..'))).toEqual(['exported']);
});

test('a folder with anything else is not replaced', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const folder = tempFiles({ 'notes.txt': 'mine' });
  await expect(exportModel(folder, retriever, options(['onnx']))).rejects.toThrow(UndriftError);
  expect(readdirSync(folder)).toEqual(['notes.txt']);
});

test('the card keeps its section on training and shows how to load the export', async () => {
  const retriever = smallRetriever({ kind: 'transformer' });
  const folder = join(tempFiles(), 'model');
  await saveRetriever(folder, retriever, { card: { name: 'Named', datasets: [{ name: 'a-set' }] } });
  const cards = await exportedCards(folder, retriever, { formats: ['onnx-embedding'], dtypes: ['int8'] });
  const card = cards();
  expect(card).toContain('# Named');
  expect(card).toContain('| a-set |');
  expect(card).toContain('InferenceSession("path/to/model/onnx/embedding_quantized.onnx")');
  for (const other of ['pipeline(', 'loadRetriever', 'SentenceTransformer('])
    expect(card).not.toContain(other);

  // Of a model that was changed since, the card would tell of another one.
  writeFileSync(join(folder, 'README.md'), card.replace(/`[0-9a-f]{16}`/, '`0000000000000000`'));
  const fresh = await exportedCards(folder, retriever, { formats: ['onnx-embedding'], dtypes: ['f32'] });
  expect(fresh()).not.toContain('a-set');
});
