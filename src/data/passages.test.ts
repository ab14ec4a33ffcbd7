import { describe, expect, it } from 'vitest';
import { markdownPassages, textPassages } from './passages.ts';
import { cutWords, sentencesOf, wordCount } from './sentences.ts';

const words = (count: number, word = 'w') => Array.from({ length: count }, (_, i) => `${word}${i}`).join(' ');

describe('sentences', () => {
  it.each<[string, string[]]>([
    ['Dr. Smith met J. R. Jones. He left.', ['Dr. Smith met J. R. Jones.', 'He left.']],
    [
      'Use a list, e.g. Python has one. See Fig. 3. Done.',
      ['Use a list, e.g. Python has one.', 'See Fig. 3.', 'Done.'],
    ],
    ['Is it so? No. It is not!', ['Is it so?', 'No.', 'It is not!']],
    ['It costs 3.50 or 42. Then it ends.', ['It costs 3.50 or 42.', 'Then it ends.']],
    ['これは文です。次の文です。', ['これは文です。', '次の文です。']],
    ['Das ist z. B. Berlin. Und Nr. 5 auch.', ['Das ist z. B. Berlin.', 'Und Nr. 5 auch.']],
    ['So do I. Then stop', ['So do I.', 'Then stop']],
  ])('of %j', (text, sentences) => {
    expect(sentencesOf(text)).toEqual(sentences);
  });

  it('words are counted and cut in scripts with and without spaces', () => {
    expect(wordCount('one two, three')).toBe(3);
    expect(wordCount('日本語の文章')).toBeGreaterThan(2);
    expect(cutWords(words(5), 2)).toEqual(['w0 w1', 'w2 w3', 'w4']);
    expect(cutWords('日本語の文章です', 2).join('')).toBe('日本語の文章です');
  });

  it('counts and cuts the words of a long text in time linear in its length', () => {
    // Texts with one letter of a script without spaces in them, and texts without any space or mark.
    const sentence = "The א quick 3.14 fox can't jump over 日本語の文章です。次の文も、とても長いです。\n";
    const count = wordCount(sentence);
    expect(count).toBeGreaterThan(15);
    const start = performance.now();
    expect(wordCount(sentence.repeat(4000))).toBe(4000 * count);
    const cut = cutWords(sentence.repeat(4000), count);
    expect(cut).toHaveLength(4000);
    expect(new Set(cut)).toEqual(new Set([sentence.trim()]));
    for (const character of ['x', '𠮷', '文']) {
      expect(cutWords(`א${character.repeat(20_000)}`, 5).join('')).toBe(`א${character.repeat(20_000)}`);
    }
    // Segmenting the whole text at once takes minutes.
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe('passages of Markdown', () => {
  const cut = (text: string, sizes = { words: 50, overlap: 0 }) => markdownPassages(text, sizes);

  it('stand under the path of their headings, and never cross one', () => {
    const text = `---\ntitle: "Guide"\ntags: [a]\n---\nIntro.\n\n# Install\nOne.\n\n## Linux *now*\nTwo.\n## [Mac](x) ##\nThree.\nRun\n===\nFour.\n`;
    expect(cut(text)).toEqual(
      [
        { title: 'Guide', text: 'Intro.' },
        { title: 'Guide > Install', text: 'One.' },
        { title: 'Guide > Install > Linux now', text: 'Two.' },
        { title: 'Guide > Install > Mac', text: 'Three. Run' },
      ]
        .slice(0, 3)
        .concat([{ title: 'Guide > Three. Run', text: 'Four.' }]),
    );
  });

  it('a title that the first heading repeats is there once', () => {
    expect(cut('---\ntitle: A\n---\n# A\ntext')).toEqual([{ title: 'A', text: 'text' }]);
  });

  it('keep code whole, with marks of headings in it, and leave out comments outside of it', () => {
    const code = '```sh\n# no heading\n<!-- kept -->\n\nrun it\n```';
    expect(cut(`# T\nBefore.\n\n${code}\n<!-- out\nout -->\nAfter.`)).toEqual([
      { title: 'T', text: `Before.\n\n${code}\n\nAfter.` },
    ]);
  });

  it('have whole sentences up to the number of words, and repeat the last ones', () => {
    const text = ['A', 'B', 'C', 'D'].map((name) => `${name} ${words(9)}.`).join(' ');
    const passages = cut(text, { words: 20, overlap: 10 });
    expect(passages.map((each) => each.text.match(/\b[A-D]\b/g)!.join(''))).toEqual(['AB', 'BC', 'CD']);
    expect(
      cut(text, { words: 20, overlap: 9 }).map((each) => each.text.match(/\b[A-D]\b/g)!.join('')),
    ).toEqual(['AB', 'CD']);
  });

  it('cut what is longer than a passage: code at lines, sentences at words', () => {
    expect(cut(words(25), { words: 10, overlap: 5 }).map((each) => wordCount(each.text))).toEqual([
      10, 10, 5,
    ]);
    const code = `\`\`\`\n${words(8, 'a')}\n${words(8, 'b')}\n\`\`\``;
    expect(cut(code, { words: 10, overlap: 0 }).map((each) => each.text)).toEqual([
      `\`\`\`\n${words(8, 'a')}`,
      `${words(8, 'b')}\n\`\`\``,
    ]);
  });

  it('lists and tables are cut between their lines', () => {
    const list = `- ${words(6, 'a')}\n  goes on\n- ${words(6, 'b')}`;
    expect(cut(list, { words: 10, overlap: 0 }).map((each) => each.text[2])).toEqual(['a', 'b']);
    expect(cut('| a | b |\n|---|---|\n| c | d |')[0]!.text).toBe('| a | b |\n|---|---|\n| c | d |');
  });

  it('every word is in some passage, in order', () => {
    const text = `# H\n\n${Array.from({ length: 40 }, (_, i) => `${words(1 + (i % 13), `s${i}x`)}.`).join(' ')}`;
    const all = cut(text, { words: 12, overlap: 6 }).flatMap((each) => each.text.split(/\s+/));
    const wanted = text.replace('# H\n\n', '').split(/\s+/);
    expect([...new Set(all)]).toEqual(wanted);
  });
});

it('passages of plain text join paragraphs', () => {
  expect(textPassages('One.\n\nTwo.\n', { words: 10, overlap: 0 })).toEqual([
    { title: '', text: 'One.\n\nTwo.' },
  ]);
});
