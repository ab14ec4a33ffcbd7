import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { saveRetriever } from '../models/folder/model-folder.ts';
import type { NewRetrieverOptions } from '../models/retriever/create-retriever.ts';
import { decodeModel } from '../onnx/decode.ts';
import { encodeModel } from '../onnx/encode.ts';
import type { OnnxModel } from '../onnx/model.ts';
import { measureParity } from './measure-parity.ts';
import { parityTexts } from './parity-texts.ts';
import { compareTokens } from './token-parity.ts';

const texts = parityTexts(50);

async function saved(
  options: Partial<NewRetrieverOptions> & Pick<NewRetrieverOptions, 'kind'>,
): Promise<string> {
  const folder = join(tempFiles(), 'model');
  await saveRetriever(folder, smallRetriever(options));
  return folder;
}

/** Changes the ONNX file of a folder. */
function changed(folder: string, change: (model: OnnxModel) => void): void {
  const path = join(folder, 'onnx', 'model.onnx');
  const model = decodeModel(Uint8Array.from(readFileSync(path)));
  change(model);
  writeFileSync(path, encodeModel(model));
}

const scaled = (name: string, factor: number) => (model: OnnxModel) => {
  const { data } = model.graph.initializers.find((tensor) => tensor.name === name)!;
  for (let i = 0; i < (data as Float32Array).length; i++) (data as Float32Array)[i]! *= factor;
};

test.each([
  ['transformer', { kind: 'transformer', maxDocTokens: 64 }],
  ['pair', { kind: 'transformer', towers: 'separate' }],
  ['static', { kind: 'static' }],
] as const)('a folder as it was saved agrees with itself: %s', async (name, options) => {
  const report = await measureParity(await saved(options), { texts });
  expect(report.ok).toBe(true);
  expect(report.sides.map(({ side }) => side)).toEqual(
    name === 'pair' ? ['query', 'document'] : ['document'],
  );
  for (const { clients, freshExport } of report.sides) {
    expect(freshExport).toBe(false);
    expect(clients.map(({ client, vectors }) => `${client} ${vectors}`)).toEqual([
      'onnxruntime sentence_embedding',
      ...(name === 'static' ? [] : ['onnxruntime last_hidden_state']),
      'transformers.js embedding',
    ]);
    for (const { largestDifference, layers } of clients) {
      expect(largestDifference).toBeLessThan(1e-6);
      expect(layers).toBeUndefined();
    }
  }
});

test.each([
  ['embeddings.LayerNorm.weight', 0],
  ['encoder.layer.0.output.LayerNorm.bias', 1],
  ['encoder.layer.1.intermediate.dense.weight', 2],
])('names the layer where a file parts: %s', async (weight, layer) => {
  const folder = await saved({ kind: 'transformer' });
  changed(folder, scaled(weight, 1.01));
  const { ok, sides } = await measureParity(folder, { texts });
  expect(ok).toBe(false);
  const [embedding] = sides[0]!.clients;
  expect(embedding!.fault).toMatch(/^vectors differ by up to \d\.\de-\d, more than 1e-5$/);
  expect(embedding!.layers!.map(({ differs }) => differs)).toEqual([...Array(layer).fill(false), true]);
  expect(embedding!.layers!.at(-1)!.largestDifference).toBeGreaterThan(1e-5);
  // transformers.js runs the same file, and differs with it.
  expect(sides[0]!.clients.at(-1)).toMatchObject({ client: 'transformers.js', fault: expect.any(String) });
});

test('distinguishes a fault behind the layers from one inside', async () => {
  const folder = await saved({ kind: 'transformer', projectionSize: 8, normalize: false });
  changed(folder, scaled('projection.weight', 1.01));
  const { sides } = await measureParity(folder, { texts });
  const [embedding, tokens] = sides[0]!.clients;
  expect(embedding!.layers!.map(({ differs }) => differs)).toEqual([false, false, false]);
  // What the layers give is right: pooled and projected by us it is the embedding.
  expect(tokens!.fault).toBeUndefined();
});

test('a folder without an ONNX file is compared with a fresh export', async () => {
  const folder = await saved({ kind: 'transformer' });
  rmSync(join(folder, 'onnx'), { recursive: true });
  const { ok, sides } = await measureParity(folder, { texts: texts.slice(0, 8) });
  expect(ok).toBe(true);
  expect(sides[0]!.freshExport).toBe(true);
  expect(sides[0]!.clients.length).toBe(3);
});

test('the file of a model of another size is reported briefly', async () => {
  const folder = await saved({ kind: 'transformer' });
  const other = await saved({ kind: 'transformer', hidden: 16 });
  const path = join('onnx', 'model.onnx');
  writeFileSync(join(folder, path), readFileSync(join(other, path)));
  const { ok, sides } = await measureParity(folder, { texts });
  expect(ok).toBe(false);
  expect(sides[0]!.clients[0]!.fault).toMatch(
    /^onnx.model\.onnx: its output sentence_embedding has the shape \[\d+, 16\], the model's is \[\d+, 32\]$/,
  );
});

test('a fault of a file is one line, however much the file holds', async () => {
  const folder = await saved({ kind: 'transformer' });
  changed(folder, ({ graph }) => {
    const [output] = graph.outputs;
    graph.outputs = Array.from({ length: 400 }, (_, i) => ({ ...output!, name: `present.${i}.key` }));
    const identity = graph.nodes.at(-1)!.outputs[0]!;
    for (const { name } of graph.outputs) {
      graph.nodes.push({
        ...graph.nodes.at(-1)!,
        name: '',
        opType: 'Identity',
        inputs: [identity],
        outputs: [name],
        attributes: {},
      });
    }
  });
  const { sides } = await measureParity(folder, { texts });
  const { fault } = sides[0]!.clients[0]!;
  expect(fault).toMatch(
    /^onnx.model\.onnx: it gives present\.0\.key, .* and 395 others, and no vectors of texts or tokens$/,
  );
  for (const client of sides[0]!.clients) expect(client.fault).not.toMatch(/\n|.{300}/);
});

test('a damaged or foreign file is reported as a fault and does not stop the comparison', async () => {
  const folder = await saved({ kind: 'transformer' });
  writeFileSync(join(folder, 'onnx', 'broken.onnx'), 'no model');
  changed(folder, ({ graph }) => {
    for (const output of graph.outputs) {
      graph.nodes.push({ opType: 'Identity', inputs: [output.name], outputs: [`my_${output.name}`] });
      output.name = `my_${output.name}`;
    }
  });
  const { ok, sides } = await measureParity(folder, { texts: texts.slice(0, 4) });
  expect(ok).toBe(false);
  expect(sides[0]!.clients.map(({ fault }) => fault)).toEqual([
    expect.stringContaining('onnxruntime does not load it'),
    expect.stringContaining('it gives my_last_hidden_state, my_sentence_embedding, and no vectors'),
    expect.stringContaining('transformers.js 4'),
  ]);
});

test('tokens: separates truncation and the final sigma from unknown differences', () => {
  const of = (...ids: number[]) => Int32Array.of(...ids);
  const ours = [of(2, 5, 3), of(2, 5, 6, 3), of(2, 5, 3), of(2, 8, 3)];
  const theirs = [of(2, 5, 3), of(2, 5, 6, 7), of(2, 9, 3), of(2, 9, 3)];
  const parity = compareTokens(['same', 'a longer text', 'ΟΔΟΣ', 'other'], theirs, (row) => ours[row]!, {
    maxTokens: 4,
    closing: 1,
  });
  expect(parity).toEqual({ equal: 1, cut: [1], sigma: [2], other: [3] });
});
