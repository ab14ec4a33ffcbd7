import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { DataError } from '../util/errors.ts';
import { Charsmap } from './charsmap.ts';
import { Tokenizer } from './tokenizer.ts';

const file = gunzipSync(readFileSync(join(import.meta.dirname, 'fixtures', 'families.json.gz'))).toString();
const tokenizer = JSON.parse(file).tokenizers['xlm-roberta'];
const base64: string = tokenizer.normalizer.normalizers[0].precompiled_charsmap;

test('replaces characters and whole graphemes by the rules of the file', () => {
  const map = new Charsmap(base64, 'x');
  expect(map.normalize('plain ASCII')).toBe('plain ASCII');
  expect(map.normalize('tab\tand\u0001 ﬁ, ｶ, e\u0301')).toBe('tab and fi, カ, é');
  // As in Hugging Face's library, the rule of its beginning replaces a whole short grapheme, so the second mark is lost.
  expect(map.normalize('a\u030a\u0323')).toBe('å');
  expect(map.normalize('👩‍👩‍👧‍👦')).toBe('👩👩👧👦');
});

test('damaged rules are refused, or replace something else, but never end in a crash', () => {
  for (const text of ['', 'AAA=', 'AAAAAA==', '////', 'BQAAAAAAAAA=', base64.slice(0, 1000)]) {
    expect(() => new Charsmap(text, 'x.json')).toThrow(DataError);
  }
  expect(() =>
    Tokenizer.fromJson(
      { ...tokenizer, normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } },
      'x.json',
    ),
  ).toThrow(/x\.json: normalizer\.precompiled_charsmap is damaged/);
  const bytes = Buffer.from(base64, 'base64');
  for (let i = 0; i < 300; i++) {
    const bad = Buffer.from(bytes);
    for (let j = 0; j < 20; j++)
      bad[4 + ((i * 7919 + j * 104_729) % (bad.length - 4))]! ^= 1 + ((i + j) % 255);
    expect(typeof new Charsmap(bad.toString('base64'), 'x').normalize('é ﬁ ｶ 漢字\t.')).toBe('string');
  }
});
