import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { lmDatastoreCommand } from './lm-datastore.ts';
import { lmEvalCommand } from './lm-eval.ts';
import { lmTrainCommand } from './lm-train.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));

it('undrift lm train --method trime trains and resumes a model that lm eval reads with memories, and refuses what has no meaning', async () => {
  const texts = ['abcdefghabcdefgh'.repeat(3), 'xyzwxyzwabcdxyzw'.repeat(2), 'efghQRSTmnopUVWX'.repeat(3)];
  const folder = tempFiles({
    'texts.jsonl': texts.map((text, i) => JSON.stringify({ id: `d${i}`, text })).join('\n'),
    'test.jsonl': JSON.stringify({ id: 'test', text: 'abcdefghxyzwabcd'.repeat(3) }),
  });
  const [data, test] = [join(folder, 'texts.jsonl'), join(folder, 'test.jsonl')];
  const out = join(folder, 'run');
  const flags = { method: 'trime', data, evalData: data, model: MODEL, out, steps: '3', batchSize: '2' };
  const shape = { window: '16', threads: '1' };
  const { json } = await runCommand(lmTrainCommand, { ...flags, ...shape, memory: 'external' });
  expect(json).toMatchObject({
    steps: 3,
    settings: { method: 'trime', memory: 'external', batching: 'bm25', localOff: 0.9, memoryWarmup: 0.05 },
  });
  const again = await runCommand(lmTrainCommand, { out, resume: 'true', threads: '1' });
  expect(again.json).toMatchObject({ steps: 3, best: json.best, settings: { memory: 'external' } });

  const store = join(folder, 'store');
  await runCommand(lmDatastoreCommand, { model: out, data, out: store, ...shape });
  const perplexity = async (more: Readonly<Record<string, string>>) =>
    (await runCommand(lmEvalCommand, { model: out, data: test, ...shape, ...more })).json
      .perplexity as number;
  const plain = await perplexity({});
  const local = await perplexity({ method: 'trime' });
  const long = await perplexity({ method: 'trime', longTokens: '100' });
  const external = await perplexity({ method: 'trime', datastore: store, tuneData: test, knnK: '8' });
  expect(new Set([plain, local, long, external]).size).toBe(4);
  // Tuned on the test text itself, memories cannot be worse than none.
  expect(external).toBeLessThan(plain);
  await expect(perplexity({ method: 'trime', localMemory: 'false' })).rejects.toThrow('there is no memory');
  await expect(
    runCommand(lmTrainCommand, { ...flags, ...shape, localOff: '0.5', overwrite: 'true' }),
  ).rejects.toThrow("localOff has no meaning with memory: 'local'");
}, 120_000);
