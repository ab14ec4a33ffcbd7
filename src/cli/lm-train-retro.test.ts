import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadRetro } from '../rlm/retro.ts';
import type { OptionTable } from '../util/option-table.ts';
import { lmEvalCommand } from './lm-eval.ts';
import { lmTrainCommand } from './lm-train.ts';

const MODEL = fileURLToPath(new URL('../models/language/fixtures/causal/gpt2', import.meta.url));

it('undrift lm train --method retro trains and resumes a model that lm eval reads, and refuses options of language models', async () => {
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

  const perplexity = async (more: Readonly<Record<string, string>>) => {
    const given = { model: out, data, window: '16', threads: '1', ...more };
    return (await runCommand(lmEvalCommand, given)).json;
  };
  const plain = await perplexity({});
  // A start token shifts the chunks by a letter: no word of theirs is one of the database.
  const reading = { method: 'retro', passageData: data, retriever: 'states' };
  const read = await perplexity(reading);
  expect(read).toMatchObject({ tokens: plain.tokens });
  expect(read.perplexity).not.toBe(plain.perplexity);
  expect((await perplexity({ ...reading, neighbours: 'off' })).perplexity).toBe(plain.perplexity);
  await expect(perplexity({ method: 'retro' })).rejects.toThrow('no documents whose chunks are neighbours');
  await expect(perplexity({ ...reading, retriever: 'gold' })).rejects.toThrow('chunks have none');
  await expect(perplexity({ ...reading, model: MODEL })).rejects.toThrow('retro.json');

  const again = await runCommand(lmTrainCommand, { out, resume: 'true', threads: '1' });
  expect(again.json).toMatchObject({ steps: 2, settings: { method: 'retro' } });
  await expect(runCommand(lmTrainCommand, { ...flags, lora: '4', overwrite: 'true' })).rejects.toThrow(
    "method: 'retro' takes no lora",
  );
  await expect(runCommand(lmTrainCommand, { data, out, chunkTokens: '4' })).rejects.toThrow(
    "method: 'language-model' takes no chunkTokens",
  );
});

it('undrift lm train shows the defaults of each way of training', () => {
  const table: OptionTable = lmTrainCommand.options;
  const shown = (name: string) => table[name]?.defaultHelp;
  // Replaced defaults take their words with them: those of retrievers are not those of RETRO.
  expect(shown('epochs')).toBe('1 (realm, atlas: 12; 3 for a given model)');
  expect(shown('lr')).toMatch(/^1e-3 for a new model.* \(retro, rpt: 0\.001\)/);
  expect(shown('evalData')).toMatch(/^5 % of the text.* \(retro, rpt: none, and the last weights are kept\)/);
  expect(shown('model')).not.toContain('retro');
  expect(shown('seed')).toBe('1');
});
