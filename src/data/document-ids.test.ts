import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { idsDigest, readDocumentIds } from './document-ids.ts';

const folder = tempFiles({
  'ids.txt': ' a b \n\nc\n',
  'ids.txt.gz': gzipSync('a\nb\n'),
  'records.jsonl': '{"_id":"x","text":"t"}\n{"_id":"y"}\n{"_id":7}\n',
  'records.csv': 'id,title\nu,one\nv,two\n',
  'numbered.jsonl': '{"text":"one"}\n',
  'blank.txt': '\n\n',
  'texts/first.txt': 'one',
  'texts/inner/second.md': 'two',
});
const read = async (name: string) => [...(await readDocumentIds(join(folder, name)))].sort();

describe('readDocumentIds', () => {
  it.each([
    ['ids.txt', ['a b', 'c']],
    ['ids.txt.gz', ['a', 'b']],
    ['records.jsonl', ['7', 'x', 'y']],
    ['records.csv', ['u', 'v']],
    ['texts', ['first.txt', 'inner/second.md']],
  ])('of %s', async (name, ids) => {
    expect(await read(name)).toEqual(ids);
  });

  it.each([
    // Numbers of records would leave out documents of the same numbers.
    ['numbered.jsonl', /numbered\.jsonl:1: the record has no id/],
    ['blank.txt', /has no id of a document/],
    ['nowhere.txt', /nowhere\.txt/],
  ])('refuses %s', async (name, message) => {
    await expect(read(name)).rejects.toThrow(message);
  });
});

it('has a digest that does not depend on the order', () => {
  expect(idsDigest(new Set(['a', 'b']))).toBe(idsDigest(new Set(['b', 'a'])));
  expect(idsDigest(new Set(['a', 'b']))).not.toBe(idsDigest(new Set(['ab'])));
});
