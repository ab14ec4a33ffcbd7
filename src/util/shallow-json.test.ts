import { expect, it } from 'vitest';
import { parseJson } from './files.ts';
import { parseShallowJson } from './shallow-json.ts';

const arrays = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

it('reads JSON of 200 levels', () => {
  for (const text of [arrays(200), objects(200), '[1,[2],{"a":[3]}]', `[${'[],'.repeat(1000)}1]`, '"text"'])
    expect(parseShallowJson(text)).toEqual(JSON.parse(text));
});

it('refuses deeper JSON', () => {
  for (const text of [
    arrays(202),
    objects(202),
    arrays(200_000),
    objects(200_000),
    `[1,{"a":${arrays(500)}}]`,
  ])
    expect(() => parseJson(text, 'f.json')).toThrow(
      /^f\.json: not valid JSON: nested more than 200 levels deep$/,
    );
});
