import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Tokenizer } from './tokenizer.ts';

const read = (name: string) => readFileSync(join(import.meta.dirname, 'fixtures', name));
const families: {
  texts: string[];
  tokenizers: Record<string, object>;
  variants: Record<string, { of: string; parts: object }>;
} = JSON.parse(gunzipSync(read('families.json.gz')).toString());
// Ids of Hugging Face's library, with special tokens as ordinary characters (tools/reference/ordinary_text_golden.py).
const golden: { added: string[]; hashes: Record<string, Record<number, string>> } = JSON.parse(
  read('ordinary-text.json').toString(),
);
const texts = [...families.texts, ...golden.added];
const tokenizerOf = (name: string): Tokenizer => {
  const variant = families.variants[name];
  return Tokenizer.fromJson(
    variant ? { ...families.tokenizers[variant.of], ...variant.parts } : families.tokenizers[name],
  );
};

test.each(Object.keys(golden.hashes))(
  '%s: special tokens are ordinary characters, as in Hugging Face',
  (name) => {
    const tokenizer = tokenizerOf(name);
    const expected = Object.entries(golden.hashes[name]!);
    let asSpecial = 0;
    const wrong = expected.filter(([i, hash]) => {
      const text = texts[Number(i)]!;
      const ids = tokenizer.encodeOrdinary(text);
      expect([...tokenizer.encodeOrdinary(text, 7)]).toEqual([...ids.subarray(0, 7)]);
      if (ids.join() !== tokenizer.encodeRaw(text).join()) asSpecial++;
      return (
        createHash('sha256')
          .update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
          .digest('hex')
          .slice(0, 6) !== hash
      );
    });
    expect(wrong.map(([i]) => texts[Number(i)]!.slice(0, 80))).toEqual([]);
    expect(expected.length).toBeGreaterThan(2);
    expect(asSpecial).toBeGreaterThan(2);
  },
);

describe('encodeParts', () => {
  const tokenizer = tokenizerOf(Object.keys(families.tokenizers)[0]!);
  const special = [...tokenizer.specialTokens].at(-1)!;
  const id = tokenizer.tokenId(special)!;

  test('special tokens count where no character of them is ordinary', () => {
    const places = (parts: Parameters<Tokenizer['encodeParts']>[0]) =>
      [...tokenizer.encodeParts(parts)].filter((each) => each === id).length;
    const [head, tail] = [special.slice(0, 2), special.slice(2)];
    expect(places([special, { ordinary: special }, special])).toBe(2);
    expect(places([`a ${special} b`, { ordinary: 'c' }])).toBe(1);
    // A token that the parts would make together.
    expect(places([head, { ordinary: tail }])).toBe(0);
    expect(places([head, tail])).toBe(1);
    expect(places([{ ordinary: special }, { ordinary: '' }, tail])).toBe(0);
  });

  test('gives the ids of the whole text where nothing is special', () => {
    for (const text of ['some words, 12', ' two\n\nlines ', ''])
      expect([...tokenizer.encodeParts([text.slice(0, 5), { ordinary: text.slice(5) }])]).toEqual([
        ...tokenizer.encodeRaw(text),
      ]);
  });
});
