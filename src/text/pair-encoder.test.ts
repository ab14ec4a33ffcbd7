import { expect, test } from 'vitest';
import { longestFirst } from './pair-encoder.ts';
import { pairTemplate } from './pair-template.ts';

test.each([
  // first, second, room: lengths that Hugging Face's tokenizers keep (`longest_first`)
  [3, 4, 7, [3, 4]],
  [3, 9, 8, [3, 5]],
  [9, 3, 8, [5, 3]],
  [9, 9, 9, [4, 5]],
  [10, 9, 9, [5, 4]],
  [9, 10, 9, [4, 5]],
  [20, 30, 9, [4, 5]],
  [30, 20, 9, [5, 4]],
  [5, 4, 8, [4, 4]],
  [0, 30, 9, [0, 9]],
])('texts of %i and %i tokens in a room of %i', (first, second, room, kept) => {
  expect(longestFirst(first, second, room)).toEqual(kept);
});

test('templates of pairs', () => {
  const read = (post_processor: unknown) => pairTemplate({ post_processor: post_processor as never }, 'file');
  const bert = { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] };
  expect(read(null).map(({ content, type }) => [content, type])).toEqual([
    [0, 0],
    [1, 1],
  ]);
  expect(read({ type: 'Sequence', processors: [{ type: 'ByteLevel' }, bert] })).toEqual(read(bert));
  expect(read({ ...bert, type: 'RobertaProcessing' }).map(({ content }) => content)).toEqual([
    [2],
    0,
    [3, 3],
    1,
    [3],
  ]);
  const template = (...pair: object[]) => ({
    type: 'TemplateProcessing',
    single: [],
    pair,
    special_tokens: {},
  });
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  expect(read(template(text('B', 1), text('A', 0))).map(({ content }) => content)).toEqual([1, 0]);
  expect(() => read(template(text('A', 0)))).toThrow(/each of \$A and \$B once/);
  expect(() => read(template(text('A', 0), { SpecialToken: { id: '[X]' } }))).toThrow(
    /a token of special_tokens/,
  );
  expect(() => read({ type: 'Sequence', processors: [bert, bert] })).toThrow(
    /BertProcessing after BertProcessing/,
  );
});
