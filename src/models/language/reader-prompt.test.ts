import { describe, expect, it } from 'vitest';
import { TEXTS } from '../../../test/small-models.ts';
import { Tokenizer } from '../../text/tokenizer.ts';
import { trainVocabulary } from '../../text/train-vocabulary.ts';
import { UsageError } from '../../util/errors.ts';
import { QUESTION_PROMPT, ReaderPrompt } from './reader-prompt.ts';

const bpe = Tokenizer.fromJson(
  trainVocabulary([...TEXTS, ...TEXTS], { model: 'bpe', vocabSize: 300, minFrequency: 1 }),
);
const texts = { passage: 'reads a whole file', query: 'what reads?', answer: 'a file' };

describe('ReaderPrompt', () => {
  it('reads passage, query and answer, with white space before the answer as part of it', () => {
    const { ids, from, cutTokens } = new ReaderPrompt().tokens(bpe, texts);
    expect(bpe.decode(ids)).toBe('reads a whole file\n\nQuestion: what reads?\nAnswer: a file');
    expect([...ids.subarray(from)]).toEqual([...bpe.encodeRaw(' a file')]);
    expect(cutTokens).toBe(0);
  });

  it('keeps the tokens of a passage, whatever follows it', () => {
    const { ids } = new ReaderPrompt('{passage}{query}{answer}').tokens(bpe, { ...texts, query: 's' });
    const own = bpe.encodeRaw(texts.passage);
    const start = bpe.wrapper.before.length;
    expect([...ids.subarray(start, start + own.length)]).toEqual([...own]);
  });

  it('takes special tokens as such in the format alone', () => {
    const special = [...bpe.specialTokens].at(-1)!;
    const id = bpe.tokenId(special);
    const places = (format: string) =>
      new ReaderPrompt(format)
        .tokens(bpe, { passage: `a${special}b`, query: special, answer: `${special}c` })
        .ids.filter((each) => each === id).length;
    const own = bpe.wrapper.before.filter((each) => each === id).length;
    expect(places('{passage}\\n{query} {answer}')).toBe(own);
    expect(places(`${special}{passage}\\n{query}${special}{answer}`)).toBe(own + 2);
  });

  it('leaves out the passage and the white space after it, where there is none', () => {
    const none = new ReaderPrompt().tokens(bpe, { ...texts, passage: undefined });
    expect(bpe.decode(none.ids)).toBe('Question: what reads?\nAnswer: a file');
    const inside = new ReaderPrompt('Q: {query} P: {passage}\\nA: {answer}');
    expect(bpe.decode(inside.tokens(bpe, { ...texts, passage: undefined }).ids)).toBe(
      'Q: what reads? P: A: a file',
    );
    expect(bpe.decode(inside.tokens(bpe, texts).ids)).toBe('Q: what reads? P: reads a whole file\nA: a file');
  });

  it('cuts a passage at its end, and nothing else', () => {
    const prompt = new ReaderPrompt();
    const whole = prompt.tokens(bpe, texts);
    const cut = prompt.tokens(bpe, texts, { maxTokens: whole.ids.length - 3 });
    expect(cut.cutTokens).toBe(3);
    expect(cut.ids.length).toBe(whole.ids.length - 3);
    const own = bpe.encodeRaw(texts.passage).length;
    const end = bpe.wrapper.before.length + own;
    expect([...cut.ids]).toEqual([...whole.ids.subarray(0, end - 3), ...whole.ids.subarray(end)]);
    const none = prompt.tokens(bpe, texts, { maxTokens: whole.ids.length - own });
    expect(none.cutTokens).toBe(own);
    expect(() => prompt.tokens(bpe, texts, { maxTokens: whole.ids.length - own - 1 })).toThrow(
      /prompt of \d+ tokens without its passage, where \d+ are read: query "what reads\?"/,
    );
  });

  it('takes texts with the names of others, and $ signs, literally', () => {
    const odd = { passage: '$& {query}', query: '{answer} $1', answer: '{passage}' };
    const { ids } = new ReaderPrompt('{passage} {query} {answer}').tokens(bpe, odd);
    expect(bpe.decode(ids)).toBe('$& {query} {answer} $1 {passage}');
  });

  it.each([
    ['{passage} {query}', /the prompt has \{answer\} nowhere/],
    ['{query} {answer}', /the prompt has \{passage\} nowhere/],
    ['{passage} {query} {query} {answer}', /the prompt has \{query\} more than once/],
    [`${QUESTION_PROMPT}.`, /the prompt goes on after \{answer\}/],
  ])('refuses %s', (format, message) => {
    expect(() => new ReaderPrompt(format)).toThrow(message);
    expect(() => new ReaderPrompt(format)).toThrow(UsageError);
  });

  it('refuses an answer without a token', () => {
    expect(() => new ReaderPrompt('{passage} {query}{answer}').tokens(bpe, { ...texts, answer: '' })).toThrow(
      'the answer "" has no token: query "what reads?"',
    );
  });
});
