import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { lexicalCandidates } from './candidate-source.ts';
import { mineNegatives } from './mine-negatives.ts';
import { MiningStatistics } from './mining-statistics.ts';
import { crossEncoderCheck } from './negative-check.ts';

const FIXTURE = fileURLToPath(new URL('../models/cross-encoder/fixtures/bert', import.meta.url));
const DOCUMENTS = [
  'the cat',
  'the red house',
  'the dog runs',
  'the mat',
  'the green tree',
  'the cat sat on the mat',
];
const texts = {
  documents: DOCUMENTS.length,
  document: (row: number) => DOCUMENTS[row]!,
  queries: 1,
  query: () => 'the cat',
};

async function mined(
  positive: number,
  options: object,
): Promise<{ rows: number[]; statistics: MiningStatistics }> {
  const statistics = new MiningStatistics(3);
  const rows: number[] = [];
  const source = lexicalCandidates('bm25', texts);
  for await (const block of mineNegatives(
    source,
    { positives: () => [positive] },
    { negatives: 3, statistics, ...options },
  ))
    rows.push(...block.rows);
  return { rows, statistics };
}

test('a cross-encoder leaves out documents that score above the positive minus the margin', async () => {
  const crossEncoder = await loadCrossEncoder(FIXTURE);
  const scores = await crossEncoder.score(
    DOCUMENTS.map((document) => ['the cat', document] as const),
    { threads: 1 },
  );
  // A positive with others above and below it.
  const positive = [...DOCUMENTS.keys()].sort((a, b) => scores[a]! - scores[b]!)[3]!;
  const plain = (await mined(positive, { strategy: 'all' })).rows;
  for (const margin of [0, 0.002, 1]) {
    const check = crossEncoderCheck(crossEncoder, texts, { margin, threads: 1 });
    const expected = plain.filter((row) => scores[row]! <= scores[positive]! - margin);
    const all = await mined(positive, { strategy: 'all', check });
    expect(all.rows, `margin ${margin}`).toEqual(expected);
    expect(all.statistics.removed.check).toBe(plain.length - expected.length);
    // As many as wanted, the best first: others take the places of those that are left out.
    expect((await mined(positive, { check })).rows).toEqual(expected.slice(0, 3));
  }
  const [some, none] = [0, 1].map(
    (margin) => plain.filter((row) => scores[row]! <= scores[positive]! - margin).length,
  );
  expect(some).toBeGreaterThan(0);
  expect(some).toBeLessThan(plain.length);
  expect(none).toBe(0);
  await crossEncoder.dispose();
});

test('random choice is that among the allowed documents', async () => {
  const allowed = new Set([0, 3, 4]);
  const check = {
    allows: async (_: number, __: unknown, rows: readonly number[]) => rows.map((row) => allowed.has(row)),
  };
  const { rows, statistics } = await mined(1, { strategy: 'random', negatives: 2, check });
  expect(rows).toHaveLength(2);
  for (const row of rows) expect(allowed.has(row)).toBe(true);
  expect(statistics.negatives).toBe(2);
});
