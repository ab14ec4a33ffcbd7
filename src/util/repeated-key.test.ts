import { expect, it } from 'vitest';
import { repeatedKey } from './repeated-key.ts';

it.each([
  ['{"a":1,"a":2}', 'a'],
  ['{"a":1,"b":{"c":[{"d":1},{"d":2,"e":3, "e" : 4}]}}', 'e'],
  ['{"a":1,"\\u0061":2}', 'a'],
  ['{"\\"":1,"b":"\\\\","\\"":2}', '"'],
  ['{"__proto__":1,"__proto__":2}', '__proto__'],
])('finds the repeated key of %s', (text, key) => {
  JSON.parse(text);
  expect(repeatedKey(text)).toBe(key);
});

it.each([
  '{"a":1,"b":"a","c":{"a":2},"d":[{"a":1},{"a":1}]}',
  '["a","a"]',
  '{"a":"\\"a\\":1,\\"a\\":2"}',
  '{"a\\\\":1,"a":":"}',
  '{}',
  '"a"',
  '17',
])('finds none in %s', (text) => {
  JSON.parse(text);
  expect(repeatedKey(text)).toBeUndefined();
});

it('takes time in proportion to the text', () => {
  const startMs = performance.now();
  expect(
    repeatedKey(JSON.stringify({ a: '\\"'.repeat(1_000_000), b: '"'.repeat(1_000_000) })),
  ).toBeUndefined();
  expect(repeatedKey(`{"a":"${'\\\\'.repeat(1_000_000)}"}`)).toBeUndefined();
  expect(performance.now() - startMs).toBeLessThan(5000);
});
