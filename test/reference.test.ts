import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { generatedFiles } from '../tools/docs/make.ts';

const files = await generatedFiles();

it.each(Object.entries(files))('%s is what the code and the results say', (name, content) => {
  const stored = readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
  expect(stored, 'run: npm run docs').toBe(content);
});

it('pages and charts are among the generated files', () => {
  expect(Object.keys(files)).toEqual(
    expect.arrayContaining([
      'README.md',
      'docs/commands.md',
      'docs/methods.md',
      'docs/correctors/circle.svg',
    ]),
  );
});
