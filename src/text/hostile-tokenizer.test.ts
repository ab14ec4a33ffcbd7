import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DataError } from '../util/errors.ts';
import { Splitter } from './pipeline.ts';
import { Tokenizer } from './tokenizer.ts';

const base = JSON.parse(readFileSync(new URL('fixtures/wordpiece.json', import.meta.url), 'utf8')) as object;
const unigram = new URL('fixtures/unigram.json', import.meta.url).pathname;
const sequence = (list: string, part: object, count: number) => ({
  type: 'Sequence',
  [list]: Array.from({ length: count }, () => part),
});
const regex = (source: string) => ({ Regex: source });
const split = (source: string) => ({
  type: 'Split',
  pattern: regex(source),
  behavior: 'Isolated',
  invert: false,
});
const cls = { SpecialToken: { id: '[CLS]', type_id: 0 } };
const text = { Sequence: { id: 'A', type_id: 0 } };
const template = (single: object[], ids: number[]) => ({
  type: 'TemplateProcessing',
  single,
  pair: [],
  special_tokens: { '[CLS]': { id: '[CLS]', ids, tokens: ['[CLS]'] } },
});

test.each<[string, object, string]>([
  ['a Split that takes exponential time', { pre_tokenizer: split('(a+)+$') }, 'take more than'],
  [
    'replacements that double a text',
    { normalizer: sequence('normalizers', { type: 'Replace', pattern: { String: 'a' }, content: 'aa' }, 60) },
    'more than 64 times as long',
  ],
  [
    'bytes of bytes',
    { normalizer: sequence('normalizers', { type: 'ByteLevel' }, 200) },
    'more than 64 times',
  ],
  [
    'bytes of bytes in pieces',
    {
      pre_tokenizer: sequence(
        'pretokenizers',
        { type: 'ByteLevel', add_prefix_space: true, use_regex: false },
        200,
      ),
    },
    'more than 64 times as long',
  ],
  [
    'long prefixes',
    { normalizer: { type: 'Prepend', prepend: 'x'.repeat(1e6) } },
    'normalizer.prepend: expected a string of at most 1,000 characters',
  ],
  [
    'many components',
    { normalizer: sequence('normalizers', sequence('normalizers', { type: 'NFC' }, 20), 20) },
    'normalizer: expected at most 256 components, found 421',
  ],
  [
    'a long template',
    { post_processor: template([...Array(1000).fill(cls), text], [2]) },
    'at most 256 tokens',
  ],
  [
    'a token of many ids',
    { post_processor: template([cls, text], Array(1000).fill(2)) },
    'at most 256 tokens',
  ],
  [
    'many added tokens',
    { added_tokens: Array.from({ length: 300_001 }, (_, i) => ({ id: 700 + i, content: `t${i}` })) },
    'added_tokens: expected at most 300000 tokens, found 300001',
  ],
  [
    'a deeply nested expression',
    { pre_tokenizer: split(`${'('.repeat(2000)}a${')*'.repeat(2000)}`) },
    'cannot be read',
  ],
  ['a long expression', { pre_tokenizer: split('a'.repeat(10_001)) }, 'has more than 10000 characters'],
  ['a construct without an equivalent', { pre_tokenizer: split('\\X') }, 'has \\X, which is not supported'],
])(
  'refused: %s',
  (_, parts, message) => {
    let error: unknown;
    try {
      Tokenizer.fromJson({ ...base, ...parts }).encode(`é${'a'.repeat(40)}b`, 16);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toContain(message);
  },
  60_000,
);

test('refused: a Replace that takes exponential time', () => {
  const normalizer = { type: 'Replace', pattern: regex('(a+)+$'), content: '' };
  const splitter = new Splitter({ normalizer, pre_tokenizer: null }, 'tokenizer.json', 300);
  const text = `${'a'.repeat(40)}b`;
  expect(() => splitter.limited(text, () => splitter.normalize(text))).toThrow(
    /^tokenizer\.json: the regular expressions of this file take more than 0\.301 s for a text of 41 char/,
  );
});

test('a word of megabytes costs no more than reading it, and gives the same ids', () => {
  const bert = Tokenizer.fromJson(base);
  for (const letter of ['a', 'é', '😀']) {
    const short = bert.encode(`${letter.repeat(5000)} dense`, 512);
    expect(bert.encode(`${letter.repeat(3_000_000)} dense`, 512)).toEqual(short);
  }
  const pieces = Tokenizer.fromFile(unigram);
  expect(pieces.encode(`${'ཀ'.repeat(3_000_000)} dense`, 512)).toEqual(
    pieces.encode(`${'ཀ'.repeat(500)} dense`, 512),
  );
  const words = 'dense '.repeat(1_000_000);
  expect(bert.encode(words, 512)).toEqual(bert.encode(words.slice(0, 20_000), 512));
}, 60_000);
