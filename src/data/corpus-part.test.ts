import { createHash } from 'node:crypto';
import { expect, it, test } from 'vitest';
import { documentsOfPart, parseCorpusPart, partOfId } from './corpus-part.ts';

const IDS = Array.from({ length: 4000 }, (_, i) => ({ id: `doc-${i}` }));

test('each document falls to one part, by the hash of its id alone; parts are about equal', async () => {
  const parts: string[][] = [];
  for (let part = 1; part <= 5; part++) {
    const found: string[] = [];
    for await (const { id } of documentsOfPart(IDS, `${part}/5`)) found.push(id);
    parts.push(found);
  }
  expect(parts.flat().sort()).toEqual(IDS.map(({ id }) => id).sort());
  for (const part of parts) expect(Math.abs(part.length - 800)).toBeLessThan(100);
  const [first] = parts[2]!;
  const hash = BigInt(`0x${createHash('sha256').update(first!).digest('hex').slice(0, 12)}`);
  expect(hash % 5n).toBe(2n);
  expect(partOfId(first!, 5)).toBe(3);
  const all: string[] = [];
  for await (const { id } of documentsOfPart(IDS, undefined)) all.push(id);
  expect(all).toHaveLength(4000);
});

it.each(['', '0/4', '5/4', '1', '1/4/2', '-1/4', '1.5/4', 'a/b'])('"%s" is no part', (text) => {
  expect(() => parseCorpusPart(text)).toThrow(/names one of several parts, found/);
});
