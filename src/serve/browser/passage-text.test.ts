import { expect, it } from 'vitest';
import { excerptOf, markWords, queryWords } from './passage-text.ts';

/** Writes a text with its marked words in brackets. */
const marked = (text: string, query: string) =>
  markWords(text, queryWords(query))
    .map((part) => (part.isMatch ? `[${part.text}]` : part.text))
    .join('');

it.each([
  [
    'when did the Earthquake happen?',
    'the earthquake and earthquakes, no seaquake',
    'the [earthquake] and [earthquakes], no seaquake',
  ],
  ['cat', 'Cat, cats, concatenate', '[Cat], cats, concatenate'],
  ['to be or not to be', 'to be', '[to] [be]'],
  ['C++ (std)', 'C and std::cat', '[C] and [std]::cat'],
  ['straße größe', 'Die STRASSE, die Größen', 'Die STRASSE, die [Größen]'],
  ['汶川大地震', '在汶川大地震之後', '在[汶川大地震]之後'],
  ['a.*', 'a.* b', '[a].* b'],
  ['', 'nothing', 'nothing'],
])('marks the words of %s', (query, text, expected) => {
  expect(marked(text, query)).toBe(expected);
});

it('gives every letter of the text back', () => {
  const text = 'Ünder 👩‍🚀 the the line\nbreak';
  const parts = markWords(text, queryWords('the line 👩‍🚀'));
  expect(parts.map((part) => part.text).join('')).toBe(text);
});

it('cuts a long text where most words of the query are, and a short one not at all', () => {
  expect(excerptOf('short text', ['text'])).toBe('short text');
  const filler = 'lorem ipsum dolor sit amet '.repeat(40);
  const cut = excerptOf(`${filler}the earthquake hit Sichuan hard ${filler}`, ['earthquake', 'sichuan'], 120);
  expect(cut).toMatch(/^… .*earthquake hit Sichuan hard.* …$/);
  expect(cut.length).toBeLessThan(140);
  expect(excerptOf(filler, [], 100)).toMatch(/^lorem ipsum .* …$/);
  expect(excerptOf('😀'.repeat(400), [], 101)).not.toMatch(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])/);
});
