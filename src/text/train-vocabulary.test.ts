import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../util/errors.ts';
import { Tokenizer } from './tokenizer.ts';
import type { BpeJson, WordPieceJson } from './tokenizer-json.ts';
import { trainVocabulary, VocabularyTrainer } from './train-vocabulary.ts';

const fixtures = new URL('fixtures/', import.meta.url);
const texts = readFileSync(new URL('corpus.txt', fixtures), 'utf8').trim().split('\n');
const committed = (name: string) => JSON.parse(readFileSync(new URL(name, fixtures), 'utf8')) as unknown;

describe('trainVocabulary', () => {
  // The golden test in tokenizer.test.ts checks that Hugging Face's library gives the same ids for these files.
  it.each(['wordpiece', 'bpe'] as const)(
    'makes the committed file again, in any order of texts (%s)',
    (model) => {
      const options = { model, vocabSize: 700, alphabetLimit: 250 };
      const expected = committed(`${model}.json`);
      expect(trainVocabulary(texts, options)).toEqual(expected);
      const trainer = new VocabularyTrainer(options);
      for (const text of texts.toReversed()) trainer.add(text);
      expect(JSON.stringify(trainer.finish())).toBe(JSON.stringify(expected));
    },
  );

  it('gives WordPiece the special tokens, then characters, then pieces', () => {
    const json = trainVocabulary(['banana bandana', 'banana'], {
      model: 'wordpiece',
      vocabSize: 40,
      alphabetLimit: 9,
    });
    const { vocab } = json.model as WordPieceJson;
    expect(Object.keys(vocab).slice(0, 12)).toEqual([
      '[PAD]',
      '[UNK]',
      '[CLS]',
      '[SEP]',
      '[MASK]',
      'a',
      'b',
      'd',
      'n',
      '##a',
      '##d',
      '##n',
    ]);
    expect(Object.values(vocab)).toEqual(Object.keys(vocab).map((_, id) => id));
    expect(vocab.banana).toBeDefined();
    expect(vocab.bandana).toBeUndefined(); // seen once: no pair of it alone is frequent enough
    const tokenizer = Tokenizer.fromJson(json);
    expect(tokenizer.decode(tokenizer.encode('Banana bandana'))).toBe('banana bandana');
    expect(Array.from(tokenizer.encode('zebra'))).toEqual([2, 1, 3]);
  });

  it('keeps case when asked', () => {
    const options = { model: 'wordpiece', vocabSize: 60, alphabetLimit: 20 } as const;
    const cased = Tokenizer.fromJson(trainVocabulary(['Été Été'], { ...options, lowercase: false }));
    expect(cased.decode(cased.encode('Été'))).toBe('Été');
    const lower = Tokenizer.fromJson(trainVocabulary(['Été Été'], options));
    expect(lower.decode(lower.encode('Été'))).toBe('ete');
  });

  it('encodes every text with byte-level BPE', () => {
    const json = trainVocabulary(texts, { model: 'bpe', vocabSize: 400 });
    const { vocab, merges } = json.model as BpeJson;
    expect(Object.keys(vocab).length).toBe(400);
    expect(merges.length).toBe(400 - 261);
    const tokenizer = Tokenizer.fromJson(json);
    for (const text of [...texts, 'Ünseen wörds 𝟙 \u0000\n\t 👩‍💻  ', 'x'.repeat(300)]) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
  });

  it('accepts words that are names of object members', () => {
    const words = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '123', '7'];
    for (const model of ['wordpiece', 'bpe'] as const) {
      const text = `${words.join(' ')} `.repeat(9);
      const json = trainVocabulary([text], { model, vocabSize: 600, lowercase: false, alphabetLimit: 90 });
      const tokenizer = Tokenizer.fromJson(JSON.parse(JSON.stringify(json)));
      expect(tokenizer.encodeRaw(` ${words[1]}`).length).toBe(1);
      expect(tokenizer.decode(tokenizer.encodeRaw(words.join(' '))).replaceAll(' ', '')).toBe(words.join(''));
    }
  });

  it('drops rare words when the table is full, and little else', () => {
    const rare = Array.from({ length: 3000 }, (_, i) => `w${i}x`);
    const frequent = 'retrieval cache corrector negative sample '.repeat(40);
    const options = { model: 'wordpiece', vocabSize: 200, alphabetLimit: 40, maxWords: 500 } as const;
    const { vocab } = trainVocabulary([frequent, ...rare, frequent], options).model as WordPieceJson;
    for (const word of frequent.trim().split(' ').slice(0, 5)) expect(vocab[word]).toBeDefined();
  });

  it('refuses options and texts that cannot work', () => {
    const train =
      (options: object, some: string[] = texts) =>
      () =>
        trainVocabulary(some, { model: 'wordpiece', vocabSize: 700, ...options });
    expect(train({ vocabSize: 0 })).toThrow(/vocabSize must be/);
    expect(train({ vocabSize: 1.5 })).toThrow(UsageError);
    expect(train({ minFrequency: 0 })).toThrow(/minFrequency must be/);
    expect(train({ vocabSize: 100, alphabetLimit: 90 })).toThrow(/cannot hold the \d+ special tokens/);
    expect(train({ model: 'bpe', vocabSize: 260 })).toThrow(/at least 261/);
    expect(train({}, [])).toThrow(/without words/);
    expect(train({}, ['', ' \n'])).toThrow(/without words/);
  });

  it('puts texts for a decoder after its one special token', () => {
    const json = trainVocabulary(texts, { model: 'bpe', vocabSize: 400, purpose: 'decoder' });
    const tokenizer = Tokenizer.fromJson(json);
    expect(json.added_tokens.map(({ content }) => content)).toEqual(['<|endoftext|>']);
    expect([tokenizer.specialIds.bos, tokenizer.specialIds.eos]).toEqual([0, 0]);
    const [first, ...others] = tokenizer.encode(' Some text\n\n of 2 lines é');
    expect(first).toBe(0);
    expect(others).toEqual([...tokenizer.encodeRaw(' Some text\n\n of 2 lines é')]);
    expect(tokenizer.decode(others)).toBe(' Some text\n\n of 2 lines é');
    expect(() => trainVocabulary(texts, { model: 'wordpiece', vocabSize: 400, purpose: 'decoder' })).toThrow(
      'a decoder has to write',
    );
  });
});
