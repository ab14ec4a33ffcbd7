import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('code that CONTRIBUTING.md quotes stands in the file that it names', () => {
  const [, section] = read('CONTRIBUTING.md').split(/^### Add an architecture$/m);
  const parts = section!.split(/^## /m)[0]!.split(/^```/m);
  const quoted = parts.filter((_, i) => i % 2 === 1).filter((block) => /^(ts|python)\n/.test(block));
  expect(quoted).toHaveLength(3);
  for (const block of quoted) {
    const before = parts.slice(0, parts.indexOf(block)).join('');
    const [path] = [...before.matchAll(/`((?:src|tools)\/[^`]+\.(?:ts|py))`/g)]
      .map((match) => match[1]!)
      .slice(-1);
    expect(read(path!), path).toContain(block.slice(block.indexOf('\n') + 1));
  }
});
