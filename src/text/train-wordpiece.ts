import { UsageError } from '../util/errors.ts';
import { specialTokenEntries } from './added-tokens.ts';
import { learnMerges } from './learn-merges.ts';
import type { TokenizerJson } from './tokenizer-json.ts';

/** Special tokens of BERT; the id of a token is its position. */
export const WORDPIECE_SPECIAL_TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] as const;

const PREFIX = '##';

/** Maximum number of characters of a word. Longer words are one [UNK] when encoded, so they are skipped. */
const MAX_WORD_CHARS = 100;

/** Settings of {@link trainWordPiece}. */
export interface WordPieceOptions {
  /** Maximum number of tokens of the vocabulary, special tokens included. */
  vocabSize: number;
  /** Minimum number of occurrences of a pair to merge. */
  minFrequency: number;
  /** Maximum number of characters in the vocabulary. Words with other characters become [UNK]. */
  alphabetLimit: number;
  /** Ignore case and accents. */
  lowercase: boolean;
}

/** Makes the normalizer and pre-tokenizer of BERT's tokenizer. */
export function wordPieceComponents(lowercase: boolean) {
  return {
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
  };
}

/**
 * Trains a WordPiece vocabulary from word counts.
 *
 * Frequent pairs are merged, with `##` on pieces that continue a word, as in Hugging Face's trainer. (BERT's
 * own trainer, never published, chose pairs by likelihood.)
 *
 * Ids are numbered in this order: special tokens, characters by code point, continuing characters (with `##`)
 * by code point, merges. Among equally frequent characters at the limit of the alphabet, those of smaller
 * code points stay.
 *
 * @throws UsageError when `vocabSize` cannot hold the special tokens and characters
 */
export function trainWordPiece(words: ReadonlyMap<string, number>, options: WordPieceOptions): TokenizerJson {
  const { vocabSize, minFrequency, alphabetLimit, lowercase } = options;
  const alphabet = frequentCharacters(words, alphabetLimit);
  const kept: { chars: string[]; count: number }[] = [];
  const continuing = new Set<string>();
  for (const [word, count] of words) {
    const chars = Array.from(word);
    if (chars.length > MAX_WORD_CHARS || !chars.every((char) => alphabet.has(char))) continue;
    kept.push({ chars, count });
    for (const char of chars.slice(1)) continuing.add(char);
  }
  const tokens: string[] = [
    ...WORDPIECE_SPECIAL_TOKENS,
    ...inCodePointOrder(alphabet),
    ...inCodePointOrder(continuing).map((char) => PREFIX + char),
  ];
  if (tokens.length > vocabSize) {
    throw new UsageError(
      `a vocabulary of ${vocabSize} cannot hold the ${tokens.length} special tokens and characters of these texts`,
      { help: `ask for at least ${tokens.length} tokens, or set a smaller alphabetLimit` },
    );
  }
  const ids = new Map(tokens.map((token, id) => [token, id]));
  learnMerges(
    {
      symbols: kept.map(({ chars }) => chars.map((char, i) => ids.get(i === 0 ? char : PREFIX + char)!)),
      counts: kept.map(({ count }) => count),
    },
    { tokens, vocabSize, minFrequency, join: (left, right) => left + right.slice(PREFIX.length) },
  );

  const [, unknown, cls, sep] = WORDPIECE_SPECIAL_TOKENS;
  const special = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const sequence = (id: string, typeId: number) => ({ Sequence: { id, type_id: typeId } });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokenEntries(WORDPIECE_SPECIAL_TOKENS),
    ...wordPieceComponents(lowercase),
    post_processor: {
      type: 'TemplateProcessing',
      single: [special(cls), sequence('A', 0), special(sep)],
      pair: [
        special(cls),
        sequence('A', 0),
        special(sep),
        sequence('B', 1),
        { SpecialToken: { id: sep, type_id: 1 } },
      ],
      special_tokens: {
        [cls]: { id: cls, ids: [tokens.indexOf(cls)], tokens: [cls] },
        [sep]: { id: sep, ids: [tokens.indexOf(sep)], tokens: [sep] },
      },
    },
    decoder: { type: 'WordPiece', prefix: PREFIX, cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: unknown,
      continuing_subword_prefix: PREFIX,
      max_input_chars_per_word: MAX_WORD_CHARS,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  };
}

function frequentCharacters(words: ReadonlyMap<string, number>, limit: number): Set<string> {
  const counts = new Map<string, number>();
  for (const [word, count] of words) {
    for (const char of word) counts.set(char, (counts.get(char) ?? 0) + count);
  }
  const ranked = Array.from(counts).sort(
    (x, y) => y[1] - x[1] || x[0].codePointAt(0)! - y[0].codePointAt(0)!,
  );
  return new Set(ranked.slice(0, limit).map(([char]) => char));
}

function inCodePointOrder(chars: Iterable<string>): string[] {
  return Array.from(chars).sort((x, y) => x.codePointAt(0)! - y.codePointAt(0)!);
}
