import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { DataError } from '../util/errors.ts';
import { readJsonl } from './jsonl.ts';
import { idField, numberOf, textField } from './record.ts';

async function read(content: string) {
  const records = [];
  for await (const record of readJsonl(join(tempFiles({ 'f.jsonl': content }), 'f.jsonl')))
    records.push(record);
  return records;
}

describe('readJsonl', () => {
  it('yields objects with their lines and skips blank lines', async () => {
    const records = await read('{"a":1}\n\n  \r\n {"a":2} \r\n{"__proto__":3}');
    expect(records.map(({ line }) => line)).toEqual([1, 4, 5]);
    expect(records.map(({ fields }) => Object.entries(fields)[0])).toEqual([
      ['a', 1],
      ['a', 2],
      ['__proto__', 3],
    ]);
  });

  it.each([
    ['{"a":1}\n{"a":', /f\.jsonl:2: bad JSON: .*\n {2}help: .*cut short/],
    ['{"a":1} {"b":2}', /:1: bad JSON/],
    ["{'a': 1}", /:1: bad JSON/],
    ['{\n  "a": 1\n}', /:1: bad JSON: "\{"\n {2}help: .*jq -c \./],
    ['[{"a":1},\n{"a":2}]', /:1: bad JSON: .*\n {2}help: .*jq -c '\.\[\]'/],
    ['[1]', /:1: expected a JSON object, found an array of 1\n {2}help: .*jq/],
    ['{}\n"text"', /:2: expected a JSON object, found the string "text"/],
    ['null', /:1: expected a JSON object, found null/],
    ['NaN', /:1: expected a JSON object, found the number NaN/],
    [`{"a": ${'['.repeat(1e5)}`, /:1: bad JSON/],
  ])('refuses %j', async (content, message) => {
    await expect(read(content)).rejects.toThrow(message);
    await expect(read(content)).rejects.toBeInstanceOf(DataError);
  });
});

it('refuses JSON that is nested deeply', async () => {
  const deep = `{}\n{"a": ${'['.repeat(2e5)}${']'.repeat(2e5)}}`;
  await expect(read(deep)).rejects.toThrow(/f\.jsonl:2: JSON nested more than 200 levels deep$/);
});

describe('fields', () => {
  const record = (fields: Record<string, unknown>) => ({ fields, file: 'f', line: 3 });

  it('are checked for type', () => {
    expect(textField(record({ text: 'a', other: 1 }), 'text')).toBe('a');
    expect(['7', 7, 7n].map((_id) => idField(record({ _id }), '_id'))).toEqual(['7', '7', '7']);
    expect([1, 2n, '3', ' -4.5e1 '].map(numberOf)).toEqual([1, 2, 3, -45]);
    expect(['', '0x10', 'one', Number.NaN, 1e300, '1e300', true, null].map(numberOf)).toEqual(
      Array(8).fill(undefined),
    );
  });

  it('say what is wrong', () => {
    expect(() => textField(record({ text: 4 }), 'text')).toThrow(
      /^f:3: field "text" should be a string, found the number 4/,
    );
    expect(() => textField(record({ text: ['a'] }), 'text')).toThrow(/found an array of 1/);
    for (const _id of [1.5, 2 ** 60, true, []]) {
      expect(() => idField(record({ _id }), '_id')).toThrow(/a string or a whole number/);
    }
  });
});
