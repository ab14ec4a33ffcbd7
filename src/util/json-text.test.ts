import { expect, test } from 'vitest';
import { parseJsonText } from './json-text.ts';

test('numbers as Python writes them, outside of strings only', () => {
  const text = '{"a": NaN, "b": [Infinity, -Infinity, 1], "c": "NaN, \\"Infinity", "NaN": {"d": NaN}}';
  expect(parseJsonText(text)).toEqual({
    a: Number.NaN,
    b: [Infinity, -Infinity, 1],
    c: 'NaN, "Infinity',
    NaN: { d: Number.NaN },
  });
  expect(parseJsonText('NaN')).toBeNaN();
  expect(parseJsonText('["\uE000NaN", "\uE000\uE000", NaN]')).toEqual(['\uE000NaN', '\uE000\uE000', NaN]);
  expect(parseJsonText('["\\uE000NaN", NaN]')).toEqual(['\uE000NaN', NaN]);
  expect(parseJsonText('{"a": "NaN"}')).toEqual({ a: 'NaN' });
});

test.each(['{"a": NaN', '{NaN: 1}', 'NaNa', '[xNaN]', '--Infinity', '{"a": nan}', '"NaN'])(
  '%s is no JSON, and the message is about the text itself',
  (text) => {
    const message = (parse: (text: string) => unknown) => {
      try {
        return String(parse(text));
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(() => parseJsonText(text)).toThrow(SyntaxError);
    expect(message(parseJsonText)).toBe(message(JSON.parse));
  },
);

test('__proto__ and deep nesting', () => {
  expect(Object.keys(parseJsonText('{"__proto__": NaN}') as object)).toEqual(['__proto__']);
  const depth = 1e5;
  expect(parseJsonText(`${'['.repeat(depth)}NaN${']'.repeat(depth)}`)).toHaveLength(1);
});
