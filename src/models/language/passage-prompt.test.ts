import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LanguageModel } from './language-model.ts';
import { type PromptPassage, passagePrompt, passagesBefore } from './passage-prompt.ts';

// A model of 32 tokens, each a letter; other characters have no token.
const FIXTURE = fileURLToPath(new URL('fixtures/causal/gpt2', import.meta.url));

describe('passagePrompt', () => {
  let model: LanguageModel;
  beforeAll(async () => {
    model = await LanguageModel.load(FIXTURE);
  });
  afterAll(() => model.dispose());
  const passage = (id: string, text: string, title = ''): PromptPassage => ({ id, text, title });
  const make = (passages: PromptPassage[], tokens: number, passageTokens?: number) =>
    passagePrompt(model, passages, {
      tokens,
      passageTokens,
      write: (some) => passagesBefore(model, 'QQQ', some),
    });
  const textOf = ({ ids }: { ids: ArrayLike<number> }) => model.tokenizer.decode(ids);

  it('puts title and text of each passage before the text, the best first', () => {
    const made = make([passage('a', 'aaa', 'T'), passage('b', 'bb')], 4);
    expect(textOf(made)).toBe('TaaabbQQQ');
    expect(made.passages).toEqual([
      { read: true, cut: false },
      { read: true, cut: false },
    ]);
    expect(textOf(make([], 4))).toBe('QQQ');
  });

  it('special tokens in passages are characters like others, and in the text unless they are asked for', () => {
    const end = 1;
    const places = (text: string, options?: Parameters<typeof passagesBefore>[3]) =>
      passagesBefore(model, text, [passage('a', 'a</s>b', '</s>')], options).filter((id) => id === end)
        .length;
    expect(places('x</s>y')).toBe(0);
    expect(places('x</s>y', { specialTokens: true })).toBe(1);
    const cut = make([passage('a', 'ab</s>cdefghijklmn')], 4, 4);
    expect([...(cut.ids as number[])].filter((id) => id === end)).toEqual([]);
  });

  it('cuts long passages, and leaves out those that do not fit', () => {
    // 1 token of the beginning, 3 of the text, 10 new ones: 18 are left.
    const made = make(
      [passage('a', 'a'.repeat(30)), passage('b', 'b'.repeat(9)), passage('c', 'cc')],
      10,
      12,
    );
    expect(textOf(made)).toBe(`${'a'.repeat(12)}ccQQQ`);
    expect(made.passages).toEqual([
      { read: true, cut: true },
      { read: false, cut: false },
      { read: true, cut: false },
    ]);
  });

  it('refuses when no passage fits', () => {
    expect(() => make([passage('long one', 'a'.repeat(29)), passage('b', 'b'.repeat(27))], 4)).toThrow(
      /passage "long one" of 29 tokens does not fit: the model reads 32 tokens, of which the text takes 4 and the new tokens 4\n.*passageTokens/,
    );
    // With fewer new tokens, the second fits.
    expect(make([passage('a', 'a'.repeat(29)), passage('b', 'b'.repeat(27))], 1).passages[1]!.read).toBe(
      true,
    );
  });
});
