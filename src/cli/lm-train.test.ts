import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runUndrift } from '../../test/run-undrift.ts';
import { tempFiles } from '../../test/temp-files.ts';

const texts = Array.from(
  { length: 40 },
  (_, i) => `Text number ${i}: ${'some words here. '.repeat(1 + (i % 5))}`,
);
const root = tempFiles({
  'texts.jsonl': texts.map((text, i) => JSON.stringify({ id: `t${i}`, body: text })).join('\n'),
  'retriever/settings.json': JSON.stringify({
    fingerprint: 'x',
    settings: { method: 'in-batch', data: 'd' },
  }),
});
const at = (...names: string[]) => join(root, ...names);
const run = (...argv: string[]) => runUndrift(['lm', 'train', ...argv, '--threads', '1']);

it('trains with --json, resumes without repeating options, and says what a run of another kind needs', async () => {
  const shape = ['--hidden', '8', '--layers', '1', '--heads', '1', '--vocab-size', '270', '--window', '16'];
  const first = await run(
    ...['--data', at('texts.jsonl'), '--columns', 'text=body', '--out', at('run'), '--steps', '3'],
    ...[...shape, '--batch-size', '4', '--json', '--quiet'],
  );
  expect(first.code, first.stderr).toBe(0);
  const result = JSON.parse(first.stdout);
  expect(result).toMatchObject({ out: at('run'), model: at('run', 'model'), steps: 3 });
  expect(result.best.value).toBeGreaterThan(1);
  expect(result.ledger.trainingTokens).toBe(result.ledger.tokens);
  const settings = JSON.parse(readFileSync(at('run', 'settings.json'), 'utf8')).settings;
  expect(settings).toMatchObject({ method: 'language-model', model: 'llama', window: 16, lr: 1e-3 });

  const again = await run('--out', at('run'), '--resume', '--json', '--quiet');
  expect(JSON.parse(again.stdout)).toMatchObject({ steps: 3, best: result.best });
  const other = await run('--out', at('run'), '--resume', '--window', '8');
  expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('window: 16 then, 8 now')]);

  const retriever = await run('--out', at('retriever'), '--resume');
  expect(retriever.code).toBe(2);
  expect(retriever.stderr).toMatch(/was started by undrift train\n.*undrift train --out \S+ --resume/);
  const language = await runUndrift(['train', '--out', at('run'), '--resume']);
  expect(language.stderr).toMatch(/was started by undrift lm train/);
  const nothing = await run('--out', at('nothing'));
  expect([nothing.code, nothing.stderr]).toEqual([2, expect.stringContaining('--data <path> is missing')]);
  const renamed = await run('--data', at('texts.jsonl'), '--out', at('x'), '--arch', 'llama');
  expect([renamed.code, renamed.stderr]).toEqual([2, expect.stringContaining("did you mean '--model'")]);
}, 120_000);
