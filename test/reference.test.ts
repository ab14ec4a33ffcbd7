import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { references } from '../tools/docs/make-reference.ts';

it.each(Object.entries(references))('docs/%s is what the code says', (name, make) => {
  const stored = readFileSync(new URL(`../docs/${name}`, import.meta.url), 'utf8');
  expect(stored, 'run: npx tsx tools/docs/make-reference.ts').toBe(make());
});
