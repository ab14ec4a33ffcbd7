import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadRetro } from '../rlm/retro.ts';
import { lmTrainCommand } from './lm-train.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));

it('undrift lm train --method retro trains, resumes, and refuses options of language models', async () => {
  const folder = tempFiles();
  mkdirSync(folder, { recursive: true });
  const data = join(folder, 'texts.jsonl');
  const texts = ['abcdefghijklmnop', 'abcdxyzwefghqrst', 'efghQRSTmnopUVWX'];
  writeFileSync(data, texts.map((text, i) => JSON.stringify({ id: `d${i}`, text })).join('\n'));
  const out = join(folder, 'run');
  const flags = {
    ...{ method: 'retro', data, evalData: data, model: MODEL, out, steps: '2', batchSize: '2' },
    ...{ chunkTokens: '4', crossLayers: '1,2', window: '8', threads: '1' },
  };
  const { json, text } = await runCommand(lmTrainCommand, flags);
  expect(json).toMatchObject({ steps: 2, out, settings: { method: 'retro', chunkTokens: 4, window: 8 } });
  expect(text).toContain('best perplexity on');
  const retro = await loadRetro(String(json.model));
  expect(retro.wing.config).toMatchObject({ chunkTokens: 4, crossLayers: [1, 2], neighbours: 2 });
  await retro.base.dispose();

  const again = await runCommand(lmTrainCommand, { out, resume: 'true', threads: '1' });
  expect(again.json).toMatchObject({ steps: 2, settings: { method: 'retro' } });
  await expect(runCommand(lmTrainCommand, { ...flags, lora: '4', overwrite: 'true' })).rejects.toThrow(
    "method: 'retro' takes no lora",
  );
  await expect(runCommand(lmTrainCommand, { data, out, chunkTokens: '4' })).rejects.toThrow(
    "method: 'language-model' takes no chunkTokens",
  );
});
