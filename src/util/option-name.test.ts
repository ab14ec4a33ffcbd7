import { describe, expect, it } from 'vitest';
import { DataError } from './errors.ts';
import { asFlags, asNames, option } from './option-name.ts';

describe('options in messages', () => {
  it.each([
    [option('batchSize'), 'batchSize', '--batch-size'],
    [option('loss', 'gist'), "loss: 'gist'", '--loss gist'],
    [option('normalize', false), 'normalize: false', '--no-normalize'],
    [option('matryoshka', [8, 4]), 'matryoshka: [8, 4]', '--matryoshka 8,4'],
    [option('docPrompt', 'a b'), "docPrompt: 'a b'", '--doc-prompt "a b"'],
  ])('%j are names for the library and flags for the command line', (mark, name, flag) => {
    expect(asNames(`use ${mark}.`)).toBe(`use ${name}.`);
    expect(asFlags(`use ${mark}.`)).toBe(`use ${flag}.`);
  });

  it.each(['\u0001\u0003', '\u0001a\u0002{\u0003', '\u00019\u0002\u0003', '\u0001\u0002\u0001\u0003'])(
    'bytes of a damaged file that look like a mark stay as they are: %j',
    (text) => {
      expect([asNames(text), asFlags(text)]).toEqual([text, text]);
      expect(new DataError(`found "${text}"`, { file: 'f' }).message).toContain(text);
    },
  );
});
