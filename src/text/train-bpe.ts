import { UsageError } from '../util/errors.ts';
import { specialTokenEntries } from './added-tokens.ts';
import { learnMerges } from './learn-merges.ts';
import type { TokenizerJson } from './tokenizer-json.ts';

/** Special tokens of RoBERTa; the id of a token is its position. */
export const BPE_SPECIAL_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] as const;
/** Special token of GPT-2, which separates documents: it stands before and after each. Its id is 0. */
export const END_OF_TEXT = '<|endoftext|>';

/**
 * Maximum number of bytes of a word. Longer words are skipped: they are mostly runs of one kind of character,
 * teach nothing and cost time.
 */
const MAX_WORD_BYTES = 256;

/** Settings of {@link trainBpe}. */
export interface BpeOptions {
  /** Maximum number of tokens of the vocabulary, special tokens included. */
  vocabSize: number;
  /** Minimum number of occurrences of a pair to merge. */
  minFrequency: number;
  /** Model that the vocabulary is for. `encoder`: RoBERTa's special tokens. `decoder`: GPT-2's. Default `encoder`. */
  purpose?: 'encoder' | 'decoder';
}

/** Normalizer and pre-tokenizer of GPT-2's tokenizer. */
export const BPE_COMPONENTS = {
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
};

/**
 * Trains a byte-level BPE vocabulary from word counts. No text is unknown to a byte-level vocabulary.
 *
 * Ids are numbered in this order: special tokens, the 256 byte characters by code point, the merges. Texts
 * are put between `<s>` and `</s>`, or for a decoder after `<|endoftext|>`.
 *
 * @param words  words as strings of byte characters (as in GPT-2), with their counts
 * @throws UsageError when `vocabSize` is smaller than special tokens and byte characters need
 */
export function trainBpe(words: ReadonlyMap<string, number>, options: BpeOptions): TokenizerJson {
  const { vocabSize, minFrequency, purpose = 'encoder' } = options;
  const isDecoder = purpose === 'decoder';
  const specials: readonly string[] = isDecoder ? [END_OF_TEXT] : BPE_SPECIAL_TOKENS;
  const tokens: string[] = [...specials, ...byteCharacters()];
  if (tokens.length > vocabSize) {
    throw new UsageError(
      `a byte-level vocabulary needs at least ${tokens.length} tokens, ${vocabSize} were asked for`,
    );
  }
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const kept = Array.from(words).filter(([word]) => word.length <= MAX_WORD_BYTES);
  const merges = learnMerges(
    {
      symbols: kept.map(([word]) => Array.from(word, (char) => ids.get(char)!)),
      counts: kept.map(([, count]) => count),
    },
    { tokens, vocabSize, minFrequency, join: (left, right) => left + right },
  );

  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokenEntries(specials),
    ...BPE_COMPONENTS,
    post_processor: isDecoder ? afterEndOfText() : betweenSentenceTokens(tokens),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map(([left, right]) => `${tokens[left]} ${tokens[right]}`),
    },
  };
}

const special = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
const sequence = (id: string) => ({ Sequence: { id, type_id: 0 } });

/** Template that puts texts between `<s>` and `</s>`. */
function betweenSentenceTokens(tokens: readonly string[]) {
  const [begin, , end] = BPE_SPECIAL_TOKENS;
  return {
    type: 'TemplateProcessing' as const,
    single: [special(begin), sequence('A'), special(end)],
    pair: [special(begin), sequence('A'), special(end), special(end), sequence('B'), special(end)],
    special_tokens: {
      [begin]: { id: begin, ids: [tokens.indexOf(begin)], tokens: [begin] },
      [end]: { id: end, ids: [tokens.indexOf(end)], tokens: [end] },
    },
  };
}

/** Template that puts texts after `<|endoftext|>`, so that a text to continue has no end. */
const afterEndOfText = () => ({
  type: 'TemplateProcessing' as const,
  single: [special(END_OF_TEXT), sequence('A')],
  pair: [special(END_OF_TEXT), sequence('A'), sequence('B')],
  special_tokens: { [END_OF_TEXT]: { id: END_OF_TEXT, ids: [0], tokens: [END_OF_TEXT] } },
});

/**
 * Lists GPT-2's printable stand-ins for the 256 bytes, by code point. Visible characters of Latin-1 stand for
 * themselves; the other 68 bytes are numbered from U+0100.
 */
function byteCharacters(): string[] {
  const visible = [
    [0x21, 0x7e],
    [0xa1, 0xac],
    [0xae, 0xff],
  ].flatMap(([first, last]) => Array.from({ length: last! - first! + 1 }, (_, i) => first! + i));
  const others = Array.from({ length: 256 - visible.length }, (_, i) => 0x100 + i);
  return [...visible, ...others].map((code) => String.fromCharCode(code));
}
