import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readComparison } from '../src/compare/read-comparison.ts';
import { methods } from '../src/methods/methods.ts';

const folder = fileURLToPath(new URL('../bench/quality', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

describe('the committed comparisons', () => {
  it.each(files)('%s is a valid config with three seeds', async (file) => {
    const { name, arms, seeds } = await readComparison(`${folder}/${file}`, {});
    expect(`${name}.json`).toBe(file);
    expect(seeds).toEqual([1, 2, 3]);
    expect(arms[0]!.method).toMatch(/in-batch|negative-cache/);
  });

  it.each(['api-docs', 'medquad', 'squad'])(
    '%s compares every method that differs in its negatives',
    async (name) => {
      const { arms } = await readComparison(`${folder}/${name}.json`);
      // Methods without an arm here: grad-cache has the gradient of in-batch with less memory. corrector has
      // comparisons of its own. crop needs no queries. distill and scored-pairs learn from scores, and others
      // from answers, which these data sets do not have.
      const others = ['grad-cache', 'corrector', 'crop', 'distill', 'scored-pairs'];
      const ids = methods.filter(({ answers }) => !answers).map(({ id }) => id);
      const compared = ids.filter((id) => !others.includes(id));
      expect(arms.map(({ method }) => method).toSorted()).toEqual(compared.toSorted());
    },
  );
});
