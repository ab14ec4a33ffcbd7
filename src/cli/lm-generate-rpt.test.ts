import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { trainedParts } from '../../test/trained-parts.ts';
import { LanguageModel } from '../models/language/language-model.ts';
import { RptModel, saveRpt } from '../rlm/rpt.ts';
import { generateCommand } from './lm-generate.ts';

const BASE = fileURLToPath(new URL('../models/language/fixtures/causal/llama-untied', import.meta.url));
/** Text of 39 letters, which is more than the base reads. */
const TEXT = 'abcdefghijklmnopqrstuvwxyzabcdefghijklm';
const folder = tempFiles({ 'passages.jsonl': JSON.stringify({ id: 'p', text: TEXT }) });
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  const base = await LanguageModel.load(BASE);
  const shape = { chunkTokens: 4, window: 16, stride: 8 };
  for (const retrieval of ['learned', 'oracle'] as const)
    await saveRpt(at(retrieval), trainedParts(RptModel.create(base, { ...shape, retrieval })));
  await base.dispose();
});

const generated = (flags: Record<string, string> = {}, text = TEXT) =>
  runCommand(
    generateCommand,
    { model: at('learned'), tokens: '20', temperature: '1', seed: '9', threads: '1', ...flags },
    [text],
  );

it('retrieves from the text and from what it writes', async () => {
  const read = await generated();
  expect(read.json.text).toBe(`${TEXT}${read.json.continuation}`);
  expect(read.streamed).toBe(read.json.text);
  const { promptTokens, tokens } = read.json as { promptTokens: number; tokens: number };
  expect(promptTokens).toBeGreaterThan(32);
  // The last of all tokens that may be written is not read, nor is an end token.
  const unread = read.json.finish === 'tokens' ? 1 : 0;
  expect(read.json.chunks).toBe(Math.floor((promptTokens + tokens - unread) / 4));
  expect((await generated()).json.continuation).toBe(read.json.continuation);
  const others: Record<string, string>[] = [
    { retrieval: 'bm25' },
    { chunkNeighbours: '1' },
    { retrieval: 'random' },
    { retrieval: 'random', passageSeed: '5' },
  ];
  const seen = [read.json.continuation];
  for (const flags of others) {
    const { json } = await generated(flags);
    seen.push(json.continuation);
  }
  const alone = await generated({ retrieval: 'none' });
  expect(alone.json).toMatchObject({ chunks: 0, neighbours: 0 });
  seen.push(alone.json.continuation);
  // Of random neighbours, two draws may lead to the same text.
  expect(new Set(seen).size).toBeGreaterThanOrEqual(seen.length - 1);
  // Passages in front are a part of the text, of any length.
  const passed = await generated({ data: at('passages.jsonl'), temperature: '0', tokens: '4' });
  expect(passed.json).toMatchObject({ passages: [{ id: 'p', read: true }] });
  expect(passed.json.promptTokens).toBeGreaterThanOrEqual(promptTokens + 39);
});

it.each([
  [{ retrieval: 'oracle' }, /--retrieval should be one of learned, bm25, random, none/],
  [{ model: () => at('oracle') }, /retrieval: 'oracle' knows the chunk that comes next/],
  [{ model: () => at('oracle'), retrieval: 'learned' }, /the model has no learned retriever/],
  [{ passageSeed: '2' }, /passageSeed has no meaning with retrieval: 'learned'/],
  [{ retrieval: 'none', chunkNeighbours: '3' }, /chunkNeighbours has no meaning with retrieval: 'none'/],
  [{ passageData: 'x' }, /--passage-data has no meaning for a model that retrieves from its own text/],
  [{ packWeights: 'true' }, /packWeights is for decoders that read nothing but their text/],
  [
    { model: BASE, retrieval: 'bm25' },
    /--retrieval has no meaning for a model without a retriever inside it/,
  ],
])('refuses %j', async (flags, message) => {
  const given = Object.entries(flags).map(([name, value]) => [
    name,
    typeof value === 'string' ? value : value(),
  ]);
  await expect(generated(Object.fromEntries(given), 'abc')).rejects.toThrow(message);
});
