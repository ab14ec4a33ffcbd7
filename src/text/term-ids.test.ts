import { expect, it } from 'vitest';
import { TermIds } from './term-ids.ts';

it.each([1, 3, 10, 1000])('numbers terms as one map does, with maps of %i entries', (mostEntries) => {
  const ids = new TermIds(mostEntries);
  const expected = new Map<string, number>();
  for (let i = 0; i < 500; i++) {
    const term = `t${(i * i) % 211}`;
    expect(ids.get(term)).toBe(expected.get(term));
    if (expected.has(term)) continue;
    expect(ids.add(term)).toBe(expected.size);
    expected.set(term, expected.size);
  }
  expect(ids.size).toBe(expected.size);
  for (const [term, id] of expected) expect(ids.get(term)).toBe(id);
  expect(ids.get('other')).toBeUndefined();
});
