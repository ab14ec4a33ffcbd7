import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { compare } from './compare.ts';
import type { ComparisonConfig } from './comparison.ts';

const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => {
    const row = from + i;
    return `${JSON.stringify({ query: `ask${row % 7} more${row % 5}`, positive: `doc${row % 7} of ${row}` })}\n`;
  }).join('');
const folder = tempFiles({
  'data/train.jsonl': lines(0, 60),
  'data/dev.jsonl': lines(60, 80),
  'data/test.jsonl': lines(80, 100),
});
const config: ComparisonConfig = {
  data: join(folder, 'data'),
  out: join(folder, 'out'),
  budget: { steps: 4 },
  seeds: [1, 2],
  base: { method: 'in-batch', batchSize: 8, hidden: 8, vocabSize: 128, threads: 1 },
  arms: [{ name: 'cold' }, { name: 'warm', temperature: 0.1 }],
  evaluate: { metrics: ['mrr@10'] },
};

it('compares arms of an object as those of a file, and writes results and report', async () => {
  const steps: string[] = [];
  const results = await compare(config, {}, { onRun: ({ arm, seed }) => steps.push(`${arm}-${seed}`) });
  expect(steps).toEqual(['cold-1', 'warm-1', 'cold-2', 'warm-2']);
  expect([results.name, results.complete]).toEqual(['comparison', true]);
  expect(results.arms.map(({ name, runs }) => [name, runs.length])).toEqual([
    ['cold', 2],
    ['warm', 2],
  ]);
  expect(results.report).toBe(join(folder, 'out', 'report.html'));
  expect(existsSync(results.report)).toBe(true);
  expect(existsSync(join(folder, 'out', 'results.json'))).toBe(true);
});

it.each([
  [{ arms: [{ name: 'a', temprature: 1 }] }, /arms\[0\] \("a"\): unknown option "temprature"/],
  [{ budget: { step: 3 } }, /budget: unknown key "step".*steps/s],
  [{ seeds: [] }, /^seeds: should be a list of whole numbers/],
  [{ arms: [{ name: 'a', batchSize: 1 }] }, /batchSize/],
])('names the place of a fault: %j', async (change, message) => {
  await expect(compare({ ...config, ...change } as ComparisonConfig)).rejects.toThrow(message);
});
