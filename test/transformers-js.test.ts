import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, test } from 'vitest';
import { compareVectors } from '../src/export/compare-vectors.ts';
import { parityTexts } from '../src/export/parity-texts.ts';
import { FINAL_SIGMA } from '../src/export/token-parity.ts';
import { encodeByTransformersJs, loadTransformersJs } from '../src/export/transformers-js.ts';
import { pipelinePools } from '../src/models/folder/model-card-usage.ts';
import { loadRetriever, saveRetriever } from '../src/models/folder/model-folder.ts';
import type { NewRetrieverOptions } from '../src/models/retriever/create-retriever.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import type { TrainOptions } from '../src/train/settings.ts';
import { trainRetriever } from '../src/train/train-retriever.ts';
import { smallRetriever } from './small-models.ts';
import { tempFiles } from './temp-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);
const library = (await loadTransformersJs())!;

/** Divides texts into those that neither program truncates and those that both truncate. */
function byLength(retriever: Retriever, texts: readonly string[]) {
  const limit = retriever.config.maxTokens.document;
  const store = retriever.tokenize('document', texts.length, (row) => texts[row]!);
  const whole = texts.filter((text, row) => store.length(row) < limit && !FINAL_SIGMA.test(text));
  return { whole, cut: texts.filter((_, row) => store.length(row) === limit) };
}

const ids = (retriever: Retriever, texts: readonly string[]) => {
  const store = retriever.tokenize('document', texts.length, (row) => texts[row]!);
  return texts.map((_, row) => [...store.tokens(row)]);
};

/** Runs the transformers.js snippet of the model card unchanged, in a separate Node process. */
async function runCard(folder: string, prompt: string): Promise<Float32Array> {
  const card = readFileSync(join(folder, 'README.md'), 'utf8');
  const snippet = /^```js\n(.*?)^```$/ms.exec(card)![1]!;
  expect(snippet).toContain(`['${prompt}a text']`);
  const code = `${snippet.replaceAll('path/to/model', folder)}
    const { data } = ${snippet.includes('const vectors') ? 'vectors' : 'sentence_embedding'};
    console.log(JSON.stringify([...data]));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], { cwd: root });
  return Float32Array.from(JSON.parse(stdout.trim().split('\n').at(-1)!));
}

const escaped = (text: string): string => text.replaceAll("'", "\\'");

describe.each<[string, Partial<TrainOptions>]>([
  ['transformer', { model: 'transformer', hidden: 32, layers: 2, maxDocTokens: 128 }],
  ['static', { model: 'static', hidden: 32, maxDocTokens: 64 }],
])('a trained %s model', (name, options) => {
  it('gives in transformers.js what it gives here, of 200 texts, and as its card says', async () => {
    const words = parityTexts(260).filter((text) => text.length > 20);
    const lines = words.map((text) => JSON.stringify({ query: text.slice(0, 40), positive: text }));
    const folder = tempFiles({ 'pairs.jsonl': lines.join('\n') });
    const { model } = await trainRetriever({
      ...options,
      data: join(folder, 'pairs.jsonl'),
      out: join(folder, 'run'),
      steps: 6,
      batchSize: 16,
      vocabSize: 2000,
    });
    const retriever = await loadRetriever(model);
    const { whole, cut } = byLength(retriever, parityTexts(260));
    expect(cut.length).toBeGreaterThan(5);
    // Both programs truncate texts without special tokens alike. With special tokens, transformers.js drops
    // the closing one.
    const isStatic = name === 'static';
    const equal = 200;
    const texts = [...whole.slice(0, isStatic ? equal - 5 : equal), ...cut.slice(0, 5)];
    const found = await encodeByTransformersJs(library, model, { retriever, side: 'document', texts });
    const expected = await retriever.encode('document', texts);
    const ours = ids(retriever, texts);
    const D = retriever.dimension;
    expect(found.tokens.slice(0, equal).map((tokens) => [...tokens])).toEqual(ours.slice(0, equal));
    const { largestDifference } = compareVectors(
      found.vectors.subarray(0, equal * D),
      expected.subarray(0, equal * D),
      D,
    );
    expect(largestDifference).toBeLessThan(1e-5);
    for (let row = equal; row < texts.length; row++) {
      expect(found.tokens[row]!.length).toBe(ours[row]!.length);
      expect([...found.tokens[row]!].slice(0, -1)).toEqual(ours[row]!.slice(0, -1));
      expect(found.tokens[row]!.at(-1)).not.toBe(ours[row]!.at(-1));
    }
    const sigma = parityTexts(60).filter((text) => FINAL_SIGMA.test(text));
    const other = await encodeByTransformersJs(library, model, { retriever, side: 'document', texts: sigma });
    expect(other.tokens.map((tokens) => [...tokens])).not.toEqual(ids(retriever, sigma));
    const shown = await runCard(model, '');
    const wanted = await retriever.encode('document', ['a text']);
    expect(compareVectors(shown, wanted, D).largestDifference).toBeLessThan(1e-5);
    await retriever.dispose();
  });
});

test.each<[string, Partial<NewRetrieverOptions> & Pick<NewRetrieverOptions, 'kind'>]>([
  [
    'cls, not normalised',
    { kind: 'transformer', pooling: 'cls', normalize: false, prompts: { document: "it's: " } },
  ],
  ['largest elements', { kind: 'transformer', pooling: 'max' }],
  ['last token', { kind: 'transformer', pooling: 'lasttoken' }],
  ['projection', { kind: 'transformer', projectionSize: 8 }],
])('by the pipeline or by the model itself: %s', async (_name, options) => {
  const retriever = smallRetriever({ ...options, maxDocTokens: 128 });
  const folder = join(tempFiles(), 'model');
  await saveRetriever(folder, retriever);
  const { whole } = byLength(retriever, parityTexts(60));
  const found = await encodeByTransformersJs(library, folder, { retriever, side: 'document', texts: whole });
  const expected = await retriever.encode('document', whole);
  expect(whole.length).toBeGreaterThan(30);
  expect(compareVectors(found.vectors, expected, retriever.dimension).largestDifference).toBeLessThan(1e-5);
  expect(readFileSync(join(folder, 'README.md'), 'utf8').includes('pipeline(')).toBe(
    pipelinePools(retriever.encoder),
  );
  const shown = await runCard(folder, escaped(retriever.config.prompts.document));
  const wanted = await retriever.encode('document', ['a text']);
  expect(compareVectors(shown, wanted, retriever.dimension).largestDifference).toBeLessThan(1e-5);
  await retriever.dispose();
});
