import type { TokenizerJson } from '../../src/text/tokenizer-json.ts';

const UNKNOWN = '[UNK]';
const PAD = '[PAD]';

/**
 * Makes a `tokenizer.json` for texts of known words between spaces. Each word is one token. Padding has id 0,
 * unknown words have id 1, and the words follow in the order given.
 */
export function wordTokenizer(words: readonly string[]): TokenizerJson {
  const tokens = [PAD, UNKNOWN, ...words];
  return {
    version: '1.0',
    added_tokens: [PAD, UNKNOWN].map((content, id) => ({ id, content, normalized: false, special: true })),
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: null,
    decoder: null,
    model: {
      type: 'WordPiece',
      unk_token: UNKNOWN,
      // No word begins like this, so no token continues another.
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  };
}
