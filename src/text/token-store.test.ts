import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bytesOf } from '../onnx/dtypes.ts';
import { UsageError } from '../util/errors.ts';
import { SpillFile } from '../util/spill-file.ts';
import { BatchBuffers, padBatch } from './pad-batch.ts';
import { TokenStore, TokenStoreBuilder } from './token-store.ts';
import { Tokenizer } from './tokenizer.ts';
import type { WordPieceJson } from './tokenizer-json.ts';

const fixtures = new URL('fixtures/', import.meta.url);
const texts = readFileSync(new URL('corpus.txt', fixtures), 'utf8').trim().split('\n');
const tokenizer = Tokenizer.fromFile(new URL('wordpiece.json', fixtures).pathname);
const textOf = (row: number) => texts[row % texts.length]!;

describe('TokenStore', () => {
  it('holds the ids that the tokenizer gives', () => {
    const seen: number[] = [];
    const store = TokenStore.build(tokenizer, 2100, textOf, {
      maxTokens: 24,
      prefix: 'query: ',
      onProgress: ({ done }) => seen.push(done),
    });
    expect(store.rows).toBe(2100);
    expect(seen).toEqual([1024, 2048]);
    let total = 0;
    for (let row = 0; row < store.rows; row++) {
      const ids = tokenizer.encode(`query: ${textOf(row)}`, 24);
      expect(Array.from(store.tokens(row))).toEqual(Array.from(ids));
      expect(store.length(row)).toBe(ids.length);
      expect(store.lengths[row]).toBe(ids.length);
      total += ids.length;
    }
    expect(store.totalTokens).toBe(total);
    expect(store.tokens(0)).toBeInstanceOf(Uint16Array);
    expect(store.bytes).toBe(2 * total + 12 * 2100);
  });

  it('gives the same ids from a file, which takes their memory', () => {
    const folder = mkdtempSync(join(tmpdir(), 'undrift-tokens-'));
    const spill = SpillFile.create(folder);
    spill.append(Uint8Array.of(1)); // other data may lie in the file before
    // A limit above the size of a block makes blocks of this size; several of them are filled.
    const many = (row: number) => `${textOf(row)} ${textOf(row + 1)} `.repeat(400);
    const own = TokenStore.build(tokenizer, 300, many, { maxTokens: 20_000 });
    const spilled = TokenStore.build(tokenizer, 300, many, { maxTokens: 20_000, spill });
    expect(own.totalTokens).toBeGreaterThan(3 * 2 ** 20);
    expect(spill.bytes).toBe(1 + 2 * own.totalTokens);
    expect(spilled.bytes).toBe(12 * 300);
    expect(spilled.tokens(0)).toBeInstanceOf(Uint16Array);
    for (const row of [0, 1, 2, 299, 150, 7])
      expect(Buffer.compare(bytesOf(spilled.tokens(row)), bytesOf(own.tokens(row)))).toBe(0);
    spill.close();
    rmSync(folder, { recursive: true });
  });

  it('is the same store over tokens that lie one after the other', () => {
    const store = TokenStore.build(tokenizer, 30, (row) => (row % 7 === 6 ? '' : textOf(row)), {
      maxTokens: 24,
      specialTokens: false,
    });
    const rows = Array.from({ length: store.rows }, (_, row) => store.tokens(row));
    const tokens = Uint16Array.from(rows.flatMap((ids) => [...ids]));
    const other = TokenStore.of(store.lengths, tokens);
    expect(rows.some((ids) => ids.length === 0)).toBe(true);
    expect(rows.map((_, row) => [...other.tokens(row)])).toEqual(rows.map((ids) => [...ids]));
    expect([other.rows, other.totalTokens]).toEqual([store.rows, store.totalTokens]);
    expect(() => TokenStore.of(store.lengths, tokens.subarray(1))).toThrow(/tokens were given/);
  });

  it('fills several blocks and keeps each text in one', () => {
    const long = texts.join(' ').repeat(60);
    const count = 12;
    const store = TokenStore.build(tokenizer, count, (row) => long.slice(row), { maxTokens: 200_000 });
    expect(store.totalTokens).toBeGreaterThan(1 << 20);
    for (const row of [0, 5, 11]) {
      expect(
        Buffer.from(Uint16Array.from(tokenizer.encode(long.slice(row), 200_000)).buffer).equals(
          Buffer.from(store.tokens(row).slice().buffer),
        ),
      ).toBe(true);
    }
  });

  it('may begin with texts without tokens', () => {
    const few = ['', '', textOf(0)];
    const store = TokenStore.build(tokenizer, 3, (row) => few[row]!, { maxTokens: 8, specialTokens: false });
    expect([store.length(0), store.length(1)]).toEqual([0, 0]);
    expect([...store.tokens(2)]).toEqual([...tokenizer.encodeRaw(few[2]!, 8)]);
  });

  it('takes four bytes a token for a large vocabulary', () => {
    const json = tokenizer.toJson();
    const model = json.model as WordPieceJson;
    const large = Tokenizer.fromJson({
      ...json,
      model: { ...model, vocab: { ...model.vocab, dense: 66_000 } },
    });
    const store = TokenStore.build(large, 1, () => 'dense', { maxTokens: 8 });
    expect(store.tokens(0)).toEqual(Int32Array.of(2, 66_000, 3));
  });

  it('can leave out the special tokens, and can be empty', () => {
    const raw = TokenStore.build(tokenizer, 3, textOf, { maxTokens: 5, specialTokens: false });
    expect(Array.from(raw.tokens(1))).toEqual(Array.from(tokenizer.encodeRaw(texts[1]!, 5)));
    const none = TokenStore.build(tokenizer, 0, textOf, { maxTokens: 8 });
    expect([none.rows, none.totalTokens, none.bytes]).toEqual([0, 0, 0]);
    expect(() => none.tokens(0)).toThrow(UsageError);
    expect(() => raw.length(3)).toThrow('row 3 is outside the 3 texts');
    expect(() => raw.length(-1)).toThrow(UsageError);
    expect(() => TokenStore.build(tokenizer, 1, textOf, { maxTokens: 0 })).toThrow('maxTokens must be');
    expect(() => TokenStore.build(tokenizer, 1, textOf, { maxTokens: 1 })).toThrow(
      'no room for the 2 special',
    );
  });
});

describe('TokenStoreBuilder', () => {
  // Three texts of a little more than half a block, and one that is longer than two blocks.
  const sizes = [600_000, 600_000, 2_500_000, 0, 3];
  const texts = sizes.map((size, text) => Int32Array.from({ length: size }, (_, i) => (i + text) % 60_000));

  it.each([false, true])(
    'keeps texts longer than a block, and gives parts of them (in a file: %s)',
    (inFile) => {
      const folder = mkdtempSync(join(tmpdir(), 'tokens-'));
      const spill = inFile ? SpillFile.create(folder) : undefined;
      const builder = new TokenStoreBuilder(60_000, { spill });
      for (const [row, ids] of texts.entries()) expect(builder.add(ids)).toBe(row);
      const store = builder.finish();
      expect(Array.from(store.lengths)).toEqual(sizes);
      for (const [row, ids] of texts.entries()) {
        const parts = [
          [0, ids.length],
          [0, Math.min(5, ids.length)],
          [Math.max(0, ids.length - 4), ids.length],
        ];
        if (ids.length > 2 ** 21) parts.push([2 ** 20 - 2, 2 ** 21 + 2]);
        for (const [from, to] of parts) {
          const found = store.tokens(row, from, to);
          expect(
            Buffer.from(found.slice().buffer).equals(
              Buffer.from(Uint16Array.from(ids.subarray(from, to)).buffer),
            ),
          ).toBe(true);
        }
      }
      expect(() => store.tokens(4, 0, 4)).toThrow('tokens 0 to 4 of a text of 3');
      spill?.close();
      rmSync(folder, { recursive: true });
    },
  );
});

describe('padBatch', () => {
  const words = ['dense', 'dense retriever loss', '', 'a cache'];
  const store = TokenStore.build(tokenizer, words.length, (row) => words[row]!, { maxTokens: 16 });

  it('puts texts side by side with a mask', () => {
    const { ids, mask, batch, tokens } = padBatch(store, [0, 1, 2], { padId: 9 });
    expect(batch).toBe(3);
    expect(tokens).toBe(Math.max(store.length(0), store.length(1)));
    for (let b = 0; b < 3; b++) {
      const row = Array.from(ids.subarray(b * tokens, (b + 1) * tokens));
      const length = store.length(b);
      expect(row.slice(0, length)).toEqual(Array.from(store.tokens(b)));
      expect(row.slice(length)).toEqual(Array(tokens - length).fill(9));
      expect(Array.from(mask.subarray(b * tokens, (b + 1) * tokens))).toEqual([
        ...Array(length).fill(1),
        ...Array(tokens - length).fill(0),
      ]);
    }
  });

  it('rounds the length up', () => {
    const { ids, tokens } = padBatch(store, [1], { padId: 0, multipleOf: 8 });
    expect(tokens % 8).toBe(0);
    expect(tokens - store.length(1)).toBeLessThan(8);
    expect(ids.length).toBe(tokens);
    expect(() => padBatch(store, [1], { padId: 0, multipleOf: 0 })).toThrow(UsageError);
  });

  it('reuses its memory and leaves no trace of an earlier batch', () => {
    const buffers = new BatchBuffers();
    const large = padBatch(store, [1, 1, 1, 1], { padId: 0, buffers });
    const small = padBatch(store, [0, 2], { padId: 0, buffers });
    expect(small.ids.buffer).toBe(large.ids.buffer);
    expect(small).toEqual(padBatch(store, [0, 2], { padId: 0 }));
  });

  it('accepts an empty batch and refuses unknown rows', () => {
    expect(padBatch(store, [], { padId: 0 })).toMatchObject({ batch: 0, tokens: 1 });
    expect(() => padBatch(store, [4], { padId: 0 })).toThrow('row 4 is outside');
  });
});
