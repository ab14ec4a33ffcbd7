import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { sharedData } from '../../test/shared-data.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { Tokenizer } from './tokenizer.ts';
import type { ComponentJson, TokenizerJson } from './tokenizer-json.ts';

/** Ids by Hugging Face's library, made by tools/reference/tokenizer_golden.py. */
interface Golden {
  lines: string[];
  tokenizers: Record<Name, number[][]>;
  decoded: Record<Name, string[]>;
  truncated: Record<Name, number[][]>;
  variantLines: number[];
  variants: {
    name: string;
    normalizer: ComponentJson | null;
    pre_tokenizer: ComponentJson | null;
    ids: number[][];
  }[];
}

type Name = 'wordpiece' | 'bpe' | 'unigram';
const NAMES: Name[] = ['wordpiece', 'bpe', 'unigram'];

const fixture = (name: string) => new URL(`fixtures/${name}.json`, import.meta.url).pathname;
const readJson = <T>(name: string) => JSON.parse(readFileSync(fixture(name), 'utf8')) as T;
const golden = readJson<Golden>('hugging-face-ids');
const load = (name: Name) => Tokenizer.fromFile(fixture(name));

const scratch = mkdtempSync(join(tmpdir(), 'tokenizer-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Whole numbers below a bound, from a linear congruential generator. */
function randomInts(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

describe('Tokenizer', () => {
  it.each(NAMES)("gives the ids and texts of Hugging Face's library (%s)", (name) => {
    const tokenizer = load(name);
    expect(golden.lines.length).toBeGreaterThanOrEqual(200);
    for (const [i, line] of golden.lines.entries()) {
      expect(Array.from(tokenizer.encode(line)), line).toEqual(golden.tokenizers[name][i]);
    }
    // Once more, now that the words are cached.
    for (const [i, line] of golden.lines.entries()) {
      expect(Array.from(tokenizer.encode(line)), line).toEqual(golden.tokenizers[name][i]);
    }
    for (const [i, ids] of golden.truncated[name].entries()) {
      expect(Array.from(tokenizer.encode(golden.lines[i]!, 12))).toEqual(ids);
    }
    for (const [i, text] of golden.decoded[name].entries()) {
      expect(tokenizer.decode(golden.tokenizers[name][i]!)).toBe(text);
    }
  });

  it.each(golden.variants.map((variant) => variant.name))(
    'gives their ids with other components: %s',
    (name) => {
      const { normalizer, pre_tokenizer, ids } = golden.variants.find((variant) => variant.name === name)!;
      const json = {
        ...readJson<TokenizerJson>('wordpiece'),
        normalizer,
        pre_tokenizer,
        post_processor: null,
      };
      const tokenizer = Tokenizer.fromJson(json);
      for (const [i, line] of golden.variantLines.entries()) {
        const text = golden.lines[line]!;
        expect(Array.from(tokenizer.encode(text)), text).toEqual(ids[i]);
      }
    },
  );

  it.each(NAMES)('truncates to the first tokens of the whole text, whatever the length (%s)', (name) => {
    const tokenizer = load(name);
    const random = randomInts(5);
    const glue = [' ', ' ', ' ', '  ', '', '\n', '\t', ', '];
    for (let round = 0; round < 40; round++) {
      let text = '';
      const pieces = 1 + random(round < 30 ? 6 : 120);
      for (let i = 0; i < pieces; i++)
        text += golden.lines[random(golden.lines.length)]! + glue[random(glue.length)]!;
      const all = Array.from(tokenizer.encodeRaw(text));
      const whole = Array.from(tokenizer.encode(text));
      for (const maxTokens of [tokenizer.wrapperTokens, 3, 8, 64, 300]) {
        expect(Array.from(tokenizer.encodeRaw(text, maxTokens))).toEqual(all.slice(0, maxTokens));
        const ids = Array.from(tokenizer.encode(text, maxTokens));
        expect(ids.length).toBe(Math.min(maxTokens, whole.length));
        const closing = whole[whole.length - 1];
        if (ids.length > 0) expect(ids[ids.length - 1]).toBe(closing);
        expect(ids.slice(0, -1)).toEqual(whole.slice(0, ids.length - 1));
      }
    }
  });

  it('cuts a text that cannot be split only where the first tokens do not depend on the cut', () => {
    // No separation is known for these components: the text goes to the library as a whole.
    const components = [
      {
        normalizer: { type: 'Strip', strip_left: true, strip_right: true },
        pre_tokenizer: { type: 'WhitespaceSplit' },
      },
      {
        normalizer: { type: 'Replace', pattern: { String: ' ' }, content: ' ' },
        pre_tokenizer: {
          type: 'Split',
          pattern: { Regex: ' ?[^ ]+' },
          behavior: 'Isolated',
          invert: false,
        },
      },
    ];
    for (const changed of components) {
      const tokenizer = Tokenizer.fromJson({ ...readJson<TokenizerJson>('wordpiece'), ...changed });
      const text = golden.lines.join(' ').repeat(3);
      const all = Array.from(tokenizer.encodeRaw(text));
      for (const maxTokens of [5, 50, 500, 2000]) {
        expect(Array.from(tokenizer.encodeRaw(text, maxTokens))).toEqual(all.slice(0, maxTokens));
      }
    }
  });

  it.each(NAMES)('accepts texts of a megabyte, with and without spaces (%s)', (name) => {
    const tokenizer = load(name);
    const prose = golden.lines.slice(0, 30).join('\n');
    for (const unit of [`${prose} `, 'retriever', '検索', '. ', ' ', '👍🏽', '\ud800']) {
      const chars = /[\p{L} ]/u.test(unit) ? 1e6 : 1e5; // runs of unknown characters are read to the end
      const text = unit.repeat(Math.ceil(chars / unit.length));
      const ids = tokenizer.encode(text, 128);
      expect(ids.length).toBeLessThanOrEqual(128);
      // The same as from a beginning that is much longer than needed.
      const beginning = tokenizer.encode(text.slice(0, 20_000), 128);
      if (beginning.length === 128) expect(ids).toEqual(beginning);
      else expect(ids.length).toBeLessThan(70);
    }
    const words = `${prose} `.repeat(80);
    expect(tokenizer.encodeRaw(words).length).toBeGreaterThan(60_000);
  });

  it('accepts lone surrogates and the empty text', () => {
    for (const name of NAMES) {
      const tokenizer = load(name);
      expect(tokenizer.encodeRaw('').length).toBe(0);
      expect(tokenizer.encode('').length).toBe(tokenizer.wrapperTokens);
      expect(tokenizer.encodeRaw('dense', 0).length).toBe(0);
      for (const text of ['\ud800', 'a\udc00b', '\ud83d dense \ude00']) {
        for (const id of tokenizer.encode(text)) expect(id).toBeLessThan(tokenizer.vocabSize);
      }
      expect(tokenizer.decode([])).toBe('');
    }
  });

  it('knows its special tokens and returns its file', () => {
    const wordpiece = load('wordpiece');
    expect(wordpiece.vocabSize).toBe(700);
    expect(wordpiece.specialIds).toEqual({ pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 });
    expect(wordpiece.wrapperTokens).toBe(2);
    expect(wordpiece.tokenId('[MASK]')).toBe(4);
    expect(wordpiece.tokenId('no such token')).toBeUndefined();
    expect(wordpiece.toJson()).toEqual(readJson('wordpiece'));
    expect(load('bpe').specialIds).toEqual({ bos: 0, pad: 1, eos: 2, unk: 3, mask: 4, cls: 0, sep: 2 });
    expect(load('unigram').specialIds).toEqual({ pad: 0, eos: 1, unk: 2, sep: 1 });
    const again = Tokenizer.fromJson(JSON.parse(JSON.stringify(wordpiece.toJson())));
    expect(again.encode(golden.lines[0]!)).toEqual(wordpiece.encode(golden.lines[0]!));
  });

  it('decodes with and without special tokens, and refuses unknown ids', () => {
    const tokenizer = load('wordpiece');
    const ids = tokenizer.encode('A dense retriever.');
    expect(tokenizer.decode(ids)).toBe('a dense retriever.');
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('[CLS] a dense retriever. [SEP]');
    for (const id of [-1, 700, 1.5, Number.NaN]) expect(() => tokenizer.decode([id])).toThrow(UsageError);
  });

  it('refuses a length without room for the special tokens', () => {
    const tokenizer = load('wordpiece');
    expect(Array.from(tokenizer.encode('dense', 2))).toEqual([2, 3]);
    for (const maxTokens of [1, 0, -1, Number.NaN]) {
      expect(() => tokenizer.encode('dense', maxTokens)).toThrow(/no room for the 2 special tokens/);
    }
    expect(() => tokenizer.encodeRaw('dense', -1)).toThrow(UsageError);
  });

  const bert = sharedData('tokenizers/bert-base-uncased');
  it.skipIf(bert === undefined)("reads BERT's own file (skipped without ../shared/data/tokenizers)", () => {
    const tokenizer = Tokenizer.fromFile(join(bert!, 'tokenizer.json'));
    expect(tokenizer.vocabSize).toBe(30_522);
    expect(tokenizer.specialIds).toEqual({ pad: 0, unk: 100, cls: 101, sep: 102, mask: 103 });
    expect(Array.from(tokenizer.encode('Dense retrievers, naïvely!'))).toEqual([
      101, 9742, 12850, 2869, 1010, 15743, 2135, 999, 102,
    ]);
  });
});

describe('a damaged tokenizer.json', () => {
  const valid = () => readJson<TokenizerJson>('wordpiece') as unknown as Record<string, unknown>;
  const model = () => valid().model as Record<string, unknown>;
  it.each<[string, unknown, string]>([
    ['a list', [], 'the file: expected a JSON object, found []'],
    ['no model', { ...valid(), model: undefined }, 'model: expected an object, found nothing'],
    [
      'another model',
      { ...valid(), model: { type: 'CharLevel', vocab: {} } },
      'model.type: expected WordPiece, WordLevel, BPE or',
    ],
    [
      'no vocabulary',
      { ...valid(), model: { ...model(), vocab: {} } },
      'model.unk_token: expected a token of vocab',
    ],
    [
      'two tokens with one id',
      { ...valid(), model: { ...model(), vocab: { '[UNK]': 0, a: 0 } } },
      'model.vocab["a"]: expected an id other than that of [UNK], found 0',
    ],
    [
      'a wild id',
      { ...valid(), added_tokens: [], model: { ...model(), vocab: { '[UNK]': 0, a: 1e12 } } },
      'id of "a": expected less than',
    ],
    [
      'an unknown normalizer',
      { ...valid(), normalizer: { type: 'Uppercase' } },
      'normalizer.type: expected one of BertNormalizer, ByteLevel',
    ],
    [
      'an endless splitter',
      {
        ...valid(),
        pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'FixedLength', length: 0 }] },
      },
      'pre_tokenizer.pretokenizers[0].length: expected a whole number ≥ 1, found 0',
    ],
    [
      'a broken pattern',
      {
        ...valid(),
        pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated', invert: false },
      },
      'pre_tokenizer.pattern: the regular expression "(" cannot be read: Unclosed group',
    ],
    [
      'a special token without ids',
      {
        ...valid(),
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: '[CLS]' } }],
          pair: [],
          special_tokens: {},
        },
      },
      'post_processor.single[0]: expected a token whose ids are in special_tokens',
    ],
    [
      'a foreign id around the text',
      { ...valid(), post_processor: { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 9999] } },
      'post_processor adds id 9999',
    ],
    [
      'an added token that contradicts the vocabulary',
      { ...valid(), added_tokens: [{ id: 7, content: '[PAD]' }] },
      'added_tokens[0].id: expected 0, as in the vocabulary, found 7',
    ],
    [
      'a merge of unknown tokens',
      { ...valid(), model: { type: 'BPE', vocab: { a: 0, b: 1 }, merges: ['a b'] } },
      'model.merges[0]: expected two tokens of vocab whose join is in vocab too, found "a b"',
    ],
  ])('is refused with its place: %s', (_, json, message) => {
    expect(() => Tokenizer.fromJson(json, 'some/tokenizer.json')).toThrow(DataError);
    expect(() => Tokenizer.fromJson(json, 'some/tokenizer.json')).toThrow(`some/tokenizer.json: ${message}`);
  });

  it('is refused when it is missing, not UTF-8 or not JSON', () => {
    expect(() => Tokenizer.fromFile(join(scratch, 'missing.json'))).toThrow(DataError);
    const file = join(scratch, 'broken.json');
    for (const bytes of [Buffer.from([0x7b, 0xff, 0x7d]), Buffer.from('{"model": '), Buffer.from('')]) {
      writeFileSync(file, bytes);
      expect(() => Tokenizer.fromFile(file)).toThrow(/broken\.json: not UTF-8 JSON/);
    }
    const deep = `{"normalizer":${'{"type":"Sequence","normalizers":['.repeat(5000)}${']}'.repeat(5000)}}`;
    writeFileSync(file, deep);
    expect(() => Tokenizer.fromFile(file)).toThrow(/nested more than 200 levels deep/);
  });

  it('never gives anything but a DataError or working ids: 600 seeded damages', () => {
    const file = join(scratch, 'damaged.json');
    const outcomes = { works: 0, refused: 0 };
    for (const name of NAMES) {
      const bytes = readFileSync(fixture(name));
      for (let seed = 0; seed < 200; seed++) {
        const random = randomInts(seed * 7919 + 17);
        writeFileSync(file, seed % 2 === 0 ? damageBytes(bytes, random) : damageStructure(bytes, random));
        try {
          const tokenizer = Tokenizer.fromFile(file);
          for (const line of ['', 'A dense retriever [MASK] 東京 \ud800', golden.lines[30]!]) {
            const ids = tokenizer.encode(line, 64);
            for (const id of ids)
              expect(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize).toBe(true);
            tokenizer.decode(ids);
          }
          outcomes.works++;
        } catch (error) {
          if (!(error instanceof DataError))
            throw new Error(`${name}, seed ${seed}: not a DataError`, { cause: error });
          expect(error.file).toBe(file);
          outcomes.refused++;
        }
      }
    }
    // Some damage is refused and some is not.
    expect(outcomes.works).toBeGreaterThan(50);
    expect(outcomes.refused).toBeGreaterThan(200);
  });
});

function damageBytes(bytes: Buffer, random: (bound: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  const at = random(copy.length);
  switch (random(4)) {
    case 0:
      for (let i = 0; i <= random(4); i++) copy[random(copy.length)]! ^= 1 << random(8);
      return copy;
    case 1:
      return copy.subarray(0, at);
    case 2:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + random(40))]);
    default:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(random(at + 1), at), copy.subarray(at)]);
  }
}

/** Replaces or removes one value, nearer the root as likely as in a long list. */
function damageStructure(bytes: Buffer, random: (bound: number) => number): string {
  const json = JSON.parse(bytes.toString()) as Record<string, unknown>;
  const values = [
    null,
    -1,
    0,
    1.5,
    1e15,
    '',
    'x',
    '[UNK]',
    true,
    [],
    {},
    [[]],
    [0, 'a'],
    { type: 'Sequence' },
  ];
  let parent: Record<string, unknown> = json;
  for (;;) {
    const keys = Object.keys(parent);
    if (keys.length === 0) return JSON.stringify(json);
    const key = keys[random(keys.length)]!;
    const child = parent[key];
    if (typeof child === 'object' && child !== null && random(5) > 0) {
      parent = child as Record<string, unknown>;
      continue;
    }
    const choice = random(values.length + 1);
    if (choice === values.length) delete parent[key];
    else parent[key] = values[choice];
    return JSON.stringify(json);
  }
}
