import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runCommand } from '../../test/run-command.ts';
import { tempFiles } from '../../test/temp-files.ts';
import type { FilledPhrase } from '../rlm/npm.ts';
import { lmFillCommand } from './lm-fill.ts';
import { lmTrainCommand } from './lm-train.ts';

it('undrift lm train --method npm trains and resumes a model with which lm fill fills masks, and refuses options of decoders', async () => {
  const texts = ['red fox', 'blue bird', 'old oak'].map((words) =>
    `${words} and the ${words} or `.repeat(12),
  );
  const folder = tempFiles({
    'texts.jsonl': texts.map((text, i) => JSON.stringify({ id: `d${i}`, text })).join('\n'),
  });
  const data = join(folder, 'texts.jsonl');
  const out = join(folder, 'run');
  const flags = {
    ...{ method: 'npm', data, evalData: data, out, steps: '2', batchSize: '3', window: '24', threads: '1' },
    ...{ hidden: '16', layers: '1', heads: '2', vocabSize: '100', batching: 'same-document' },
  };
  const { json, text } = await runCommand(lmTrainCommand, flags);
  expect(json).toMatchObject({
    steps: 2,
    settings: { method: 'npm', model: 'transformer', batching: 'same-document', lr: 5e-4 },
  });
  expect(text).toContain('best phraseLoss on');
  const again = await runCommand(lmTrainCommand, { out, resume: 'true', threads: '1' });
  expect(again.json).toMatchObject({ steps: 2, best: json.best, settings: { method: 'npm' } });

  const filled = await runCommand(
    lmFillCommand,
    { model: out, data, count: '4', exclude: 'd1', mostTokens: '2', threads: '1' },
    ['red', '[MASK]'],
  );
  const { phrases } = filled.json as unknown as { phrases: FilledPhrase[] };
  expect(phrases.length).toBe(4);
  for (const { phrase, best } of phrases) {
    expect(['d0', 'd2']).toContain(best.document);
    expect(texts[Number(best.document.slice(1))]).toContain(phrase);
    expect(filled.text).toContain(phrase);
  }
  await expect(runCommand(lmFillCommand, { model: out, data, threads: '1' }, ['no mask'])).rejects.toThrow(
    'no [MASK] to fill',
  );
  await expect(runCommand(lmTrainCommand, { ...flags, keyHeads: '1', overwrite: 'true' })).rejects.toThrow(
    "method: 'npm' takes no keyHeads",
  );
  // Bounds and words of an option are those of the way of training, whatever others take.
  for (const [own, message] of [
    [{ batching: 'bm25' }, /batching: expected one of same-document, random|batching.*same-document, random/],
    [{ vocabSize: '63' }, /from 64 to/],
  ] as const) {
    const wrong = runCommand(lmTrainCommand, { ...flags, ...own, overwrite: 'true' });
    await expect(wrong).rejects.toThrow(message);
  }
}, 60_000);
