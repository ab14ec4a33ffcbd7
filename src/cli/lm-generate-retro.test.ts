import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { RetroModel, saveRetro } from '../rlm/retro.ts';
import { generateCommand } from './lm-generate.ts';

const BASE = fileURLToPath(new URL('../models/language/fixtures/causal/llama-untied', import.meta.url));
const folder = tempFiles();
const [retro, texts] = [join(folder, 'retro'), join(folder, 'texts.jsonl')];
const TEXTS = ['abcdefghijklmnop', 'abcdxyzwefghqrst', 'efghQRSTmnopUVWX'];

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(texts, TEXTS.map((text, i) => JSON.stringify({ id: `d${i}`, text })).join('\n'));
  const base = await LanguageModel.load(BASE);
  const shape = { chunkTokens: 4, crossLayers: [1, 2], encoderLayers: 1 };
  await saveRetro(retro, trainedParts(RetroModel.create(base, shape)), { base: BASE });
  await base.dispose();
});

// Draws follow small changes of the probabilities.
const SAMPLED = { tokens: '20', temperature: '8', seed: '3' };
const generated = (flags: Record<string, string>) =>
  runCommand(generateCommand, { model: retro, ...SAMPLED, threads: '1', ...flags }, ['abcdefgh']);
const reading = () => ({ passageData: texts, retriever: 'states' });

it('reads the neighbours of the chunks that it writes', async () => {
  const alone = await generated({ model: BASE });
  const base = await generated({});
  expect(base.json.text).toBe(alone.json.text);
  expect(base.logged.join('\n')).toContain('the model is read as its base: --passage-data FILE');
  const read = await generated(reading());
  expect(read.json.text).not.toBe(base.json.text);
  expect(read.json.text).toBe(`abcdefgh${read.json.continuation}`);
  expect(read.streamed).toBe(read.json.text);
  const { chunks, neighbours } = read.json as { chunks: number; neighbours: number };
  expect(chunks).toBeGreaterThanOrEqual(2);
  expect(neighbours).toBe(2 * chunks);
  const off = await generated({ ...reading(), neighbours: 'off' });
  expect(off.json).toMatchObject({ text: base.json.text, chunks: 0 });
  const none = await generated({ ...reading(), excludeDocuments: texts });
  expect(none.json).toMatchObject({ text: base.json.text, neighbours: 0 });
});

it.each([
  [{ model: BASE, passageData: 'x' }, /has no parts that read neighbours/],
  [{ neighbours: 'shuffled' }, /--neighbours has no meaning for a text without --passage-data/],
  [{ passageData: 'x', data: 'y' }, /--data has no meaning for neighbours of --passage-data/],
  [{ passageData: '/nowhere' }, /nowhere/],
])('refuses %j', async (flags, message) => {
  await expect(generated(flags)).rejects.toThrow(message);
});
