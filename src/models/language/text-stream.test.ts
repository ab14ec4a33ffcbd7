import { describe, expect, test } from 'vitest';
import { Tokenizer } from '../../text/tokenizer.ts';
import { TextStream } from './text-stream.ts';

/** Tokenizer with a token for each byte, written as byte-level BPE writes it, and an end token. */
function byteTokenizer(): Tokenizer {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  const vocab = Object.fromEntries(
    Array.from({ length: 256 }, (_, byte) => [String.fromCodePoint(printable(byte) ? byte : next++), byte]),
  );
  return Tokenizer.fromJson({
    version: '1.0',
    added_tokens: [
      {
        id: 256,
        content: '<end>',
        special: true,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: [] },
  });
}

const bytes = (text: string) => [...Buffer.from(text)];

function run(ids: readonly number[], stop: readonly string[] = [], prompt: readonly number[] = []) {
  const stream = new TextStream(byteTokenizer(), prompt, stop);
  const pieces = ids.map((id) => stream.push(id));
  return { pieces: [...pieces, stream.end()], text: stream.text, stopped: stream.stopped };
}

describe('TextStream', () => {
  test('gives out characters when their bytes are complete', () => {
    const { pieces, text } = run(bytes('aé€👍🏽b'));
    expect(text).toBe('aé€👍🏽b');
    expect(pieces.filter((piece) => piece !== '')).toEqual(['a', 'é', '€', '👍', '🏽', 'b']);
    expect(pieces.join('')).toBe(text);
  });

  test('gives out broken bytes as they are, at the latest at the end', () => {
    expect(run([...bytes('a'), 0xe2, 0x82, ...bytes('bc')]).text).toBe('a\ufffdbc');
    const { pieces, text } = run([...bytes('a'), 0xe2, 0x82]);
    expect(text).toBe('a\ufffd');
    expect(pieces).toEqual(['a', '', '', '\ufffd']);
  });

  test('takes ids without a token for nothing: tables may have more rows than there are tokens', () => {
    expect(run([...bytes('a'), 999, ...bytes('b')], [], [999, ...bytes('x')]).text).toBe('ab');
  });

  test('leaves out special tokens, and does not repeat the prompt', () => {
    expect(run([...bytes('a'), 256, ...bytes('b')], [], bytes('before€')).text).toBe('ab');
  });

  test.each([
    ['in the middle', 'one.\n\ntwo', ['\n\n'], 'one.'],
    ['that begins like the text', 'aaab', ['aab'], 'a'],
    ['the first of several in the text', 'xyzw', ['zw', 'yz'], 'x'],
    ['at the very beginning', 'stop', ['stop'], ''],
    ['with characters of several bytes', 'ja €5', ['€'], 'ja '],
  ])('ends before a stop string %s', (_, written, stop, expected) => {
    const { pieces, text, stopped } = run(bytes(written), stop);
    expect(text).toBe(expected);
    expect(pieces.join('')).toBe(expected);
    expect(stopped).toBe(true);
  });

  test('holds back only what may be the beginning of a stop string', () => {
    const { pieces, text, stopped } = run(bytes('a\nb\n'), ['\n\n']);
    expect(pieces).toEqual(['a', '', '\nb', '', '\n']);
    expect(text).toBe('a\nb\n');
    expect(stopped).toBe(false);
  });
});
