import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { sharedData } from '../../test/shared-data.ts';
import { Tokenizer } from './tokenizer.ts';

// What Hugging Face's library gives for 1,000 texts by a tokenizer of each family (tools/reference/tokenizer_families.py).
const golden: {
  texts: string[];
  tokenizers: Record<string, object>;
  variants: Record<string, { of: string; parts: object }>;
  hashes: Record<string, string>;
  real: Record<string, string>;
} = JSON.parse(
  gunzipSync(readFileSync(join(import.meta.dirname, 'fixtures', 'families.json.gz'))).toString(),
);

/** Texts with ids that differ from Hugging Face's, with the ids of Undrift. */
function differences(tokenizer: Tokenizer, hashes: string): { text: string; ids: string }[] {
  return golden.texts.flatMap((text, i) => {
    const ids = tokenizer.encode(text);
    const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 6);
    return hash === hashes.slice(6 * i, 6 * i + 6)
      ? []
      : [{ text: text.slice(0, 200), ids: ids.slice(0, 30).join(' ') }];
  });
}

const tokenizers: Record<string, object> = { ...golden.tokenizers };
for (const [name, { of, parts }] of Object.entries(golden.variants))
  tokenizers[name] = { ...golden.tokenizers[of], ...parts };

test('there are 1,000 texts, ten families and four variants', () => {
  expect(golden.texts).toHaveLength(1000);
  expect(Object.keys(golden.hashes)).toEqual(Object.keys(tokenizers));
  expect(Object.values(golden.hashes).map(({ length }) => length)).toEqual(Array(14).fill(6000));
});

test.each(Object.keys(tokenizers))('%s: the ids of 1,000 texts are those of Hugging Face', (name) => {
  expect(differences(Tokenizer.fromJson(tokenizers[name]), golden.hashes[name]!)).toEqual([]);
});

const real = sharedData('tokenizers');

describe.skipIf(real === undefined)('real tokenizers beside the checkout', () => {
  test.each(Object.keys(golden.real))('%s', (name) => {
    const file = (each: string) => join(real!, name, each);
    const read = (each: string) => readFileSync(file(each), 'utf8');
    const tokenizer = existsSync(file('tokenizer.json'))
      ? Tokenizer.fromFile(file('tokenizer.json'))
      : Tokenizer.fromJson({
          added_tokens: [{ id: 50_256, content: '<|endoftext|>', special: true, normalized: false }],
          pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
          model: {
            type: 'BPE',
            vocab: JSON.parse(read('vocab.json')),
            merges: read('merges.txt')
              .split('\n')
              .filter((line) => line !== '' && !line.startsWith('#version')),
          },
        });
    expect(differences(tokenizer, golden.real[name]!)).toEqual([]);
  });
});
