import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { lmEvalCommand } from './lm-eval.ts';
import { lmTrainCommand } from './lm-train.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));

it('undrift lm train --method rpt trains and resumes a model that lm eval reads in its windows', async () => {
  const texts = ['abcdefghijklmnop'.repeat(3), 'xyzwxyzwabcdxyzw'.repeat(4), 'efghQRSTmnopUVWX'.repeat(3)];
  const folder = tempFiles({
    'texts.jsonl': texts.map((text, i) => JSON.stringify({ id: `d${i}`, text })).join('\n'),
    'test.jsonl': JSON.stringify({ id: 'test', text: 'abcdefghxyzwabcdmnopabcdefghxyzwabcd' }),
  });
  const [data, test] = [join(folder, 'texts.jsonl'), join(folder, 'test.jsonl')];
  const out = join(folder, 'run');
  const shape = { chunkTokens: '4', window: '16', stride: '8', chunkCandidates: '3', threads: '1' };
  const flags = { method: 'rpt', data, evalData: data, model: MODEL, out, steps: '3', lr: '0.05' };
  const { json } = await runCommand(lmTrainCommand, { ...flags, ...shape });
  expect(json).toMatchObject({
    steps: 3,
    settings: { method: 'rpt', retrieval: 'learned', reference: MODEL, gateFloor: 0.1 },
  });
  const again = await runCommand(lmTrainCommand, { out, resume: 'true', threads: '1' });
  expect(again.json).toMatchObject({ steps: 3, best: json.best });
  // An arm has no use for some settings, which are stored with their defaults.
  const { chunkCandidates: _, ...reading } = shape;
  const { lr: __, ...windows } = flags;
  for (const [name, arm] of Object.entries({
    bm25: { ...flags, ...reading, retrieval: 'bm25' },
    lexical: { ...flags, ...shape, labels: 'lexical', gates: 'false' },
    window: { ...windows, ...reading, retrieval: 'none' },
  })) {
    const { json: trained } = await runCommand(lmTrainCommand, { ...arm, out: join(folder, name) });
    const resumed = await runCommand(lmTrainCommand, {
      ...{ out: join(folder, name), resume: 'true', threads: '1' },
    });
    expect(resumed.json, name).toMatchObject({ steps: 3, best: trained.best });
  }

  const evaluate = async (more: Readonly<Record<string, string>>) =>
    (await runCommand(lmEvalCommand, { model: out, data: test, threads: '1', method: 'rpt', ...more })).json;
  const learned = await evaluate({});
  expect(learned).toMatchObject({
    ...{ window: 16, stride: 8, method: 'rpt' },
    settings: { retrieval: 'learned', neighbours: 2, chunkTokens: 4 },
    cost: { queriedChunks: 9 },
  });
  const plain = await evaluate({ retrieval: 'none' });
  const none = await evaluate({ method: 'none', window: '16', stride: '8' });
  expect(plain.perplexity).toBe(none.perplexity);
  const random = await evaluate({ retrieval: 'random', chunkNeighbours: '1' });
  expect(new Set([learned, plain, random].map(({ perplexity }) => perplexity)).size).toBe(3);
  await expect(evaluate({ retrieval: 'none', chunkNeighbours: '1' })).rejects.toThrow(
    /chunkNeighbours has no meaning with retrieval: 'none'/,
  );
  const oracle = await evaluate({ retrieval: 'oracle', reference: MODEL });
  expect(oracle.settings).toMatchObject({ retrieval: 'oracle' });
  await expect(evaluate({ retrieval: 'oracle' })).rejects.toThrow(
    /needs a language model that grades chunks/,
  );
  await expect(evaluate({ retrieval: 'oracle', reference: '/no/folder' })).rejects.toThrow(
    /reference \/no\/folder: no such folder/,
  );
  await expect(evaluate({ reference: MODEL })).rejects.toThrow(/reference has no meaning/);
  await expect(evaluate({ stride: '6', window: '16' })).rejects.toThrow(
    /stride: 6 is no multiple of 4, the tokens of a chunk/,
  );
  await expect(evaluate({ model: MODEL })).rejects.toThrow(/is no RPT model|rpt.json/);
}, 120_000);
