import { expect, test } from 'vitest';
import { DigestSet } from './digest-set.ts';

test('a text is new once, also after the table has grown', () => {
  const set = new DigestSet();
  for (let i = 0; i < 20_000; i++) expect(set.add(`text ${i}`)).toBe(true);
  for (let i = 0; i < 20_000; i++) if (set.add(`text ${i}`)) expect.fail(`text ${i} is new again`);
  expect(set.size).toBe(20_000);
  expect(set.add('')).toBe(true);
  expect(set.add('')).toBe(false);
});

test('a text takes 15 to 24 bytes', () => {
  const set = new DigestSet();
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (let i = 0; i < 50_000; i++) {
    set.add('long '.repeat(100) + i);
    if (i < 5000) continue;
    least = Math.min(least, set.bytes / set.size);
    most = Math.max(most, set.bytes / set.size);
  }
  expect(least).toBeGreaterThanOrEqual(15);
  expect(most).toBeLessThan(24.1);
});
