import { UsageError } from '../util/errors.ts';
import type { TokenizerJson } from './tokenizer-json.ts';
import { BPE_COMPONENTS, trainBpe } from './train-bpe.ts';
import { trainWordPiece, wordPieceComponents } from './train-wordpiece.ts';
import { WordCounts } from './word-counts.ts';

/** Settings of {@link trainVocabulary}. */
export interface VocabularyOptions {
  /** Kind of model. `wordpiece`: BERT's tokenizer. `bpe`: GPT-2's byte-level tokenizer. */
  model: 'wordpiece' | 'bpe';
  /**
   * Maximum number of tokens, special tokens included, ≥ 1. The result is smaller when the texts have no more
   * frequent pairs.
   */
  vocabSize: number;
  /**
   * Model that a `bpe` vocabulary is for. `encoder`: RoBERTa's special tokens, texts between `<s>` and `</s>`. `decoder`: GPT-2's
   * `<|endoftext|>`, which stands before each text. Default `encoder`.
   */
  purpose?: 'encoder' | 'decoder';
  /** Make WordPiece ignore case and accents. Default true. */
  lowercase?: boolean;
  /** Minimum number of occurrences of a pair to merge, ≥ 1. Default 2. */
  minFrequency?: number;
  /**
   * Maximum number of characters in a WordPiece vocabulary, ≥ 1. Default 1,000, or a quarter of the
   * vocabulary if that is less.
   */
  alphabetLimit?: number;
  /**
   * Maximum number of distinct words held while counting, ≥ 1. Beyond this, rare words are dropped. Default
   * 2,000,000.
   */
  maxWords?: number;
}

/**
 * Learns a vocabulary from texts and returns a complete `tokenizer.json`.
 *
 * Hugging Face's library and {@link Tokenizer} give the same ids for this file. The result depends on the
 * multiset of texts, not on their order, as long as `maxWords` is not exceeded.
 *
 * ```ts
 * const tokenizer = Tokenizer.fromJson(trainVocabulary(texts, { model: 'wordpiece', vocabSize: 8192 }));
 * ```
 *
 * @throws UsageError when the options contradict each other or the texts hold no words
 */
export function trainVocabulary(texts: Iterable<string>, options: VocabularyOptions): TokenizerJson {
  const trainer = new VocabularyTrainer(options);
  for (const text of texts) trainer.add(text);
  return trainer.finish();
}

/**
 * Learns a vocabulary as {@link trainVocabulary} does, from texts that arrive one at a time, for example from
 * a stream.
 */
export class VocabularyTrainer {
  readonly #options: Required<VocabularyOptions>;
  readonly #counts: WordCounts;

  constructor(options: VocabularyOptions) {
    const { vocabSize } = options;
    this.#options = {
      lowercase: true,
      minFrequency: 2,
      alphabetLimit: Math.min(1000, Math.floor(vocabSize / 4)),
      maxWords: 2_000_000,
      purpose: 'encoder',
      ...options,
    };
    if (options.model === 'wordpiece' && this.#options.purpose === 'decoder') {
      throw new UsageError('a WordPiece vocabulary loses case and spaces, which a decoder has to write', {
        help: "use model: 'bpe'",
      });
    }
    for (const name of ['vocabSize', 'minFrequency', 'alphabetLimit', 'maxWords'] as const) {
      const value = this.#options[name];
      if (!Number.isInteger(value) || value < 1) {
        throw new UsageError(`${name} must be a whole number ≥ 1, found ${value}`);
      }
    }
    const components =
      options.model === 'wordpiece' ? wordPieceComponents(this.#options.lowercase) : BPE_COMPONENTS;
    this.#counts = new WordCounts(components, this.#options.maxWords);
  }

  /** Counts the words of one text. */
  add(text: string): void {
    this.#counts.add(text);
  }

  /**
   * Learns the vocabulary from the texts added so far.
   *
   * @throws UsageError when the texts hold no words, or `vocabSize` is too small for them
   */
  finish(): TokenizerJson {
    const words = this.#counts.words();
    if (words.size === 0) {
      throw new UsageError('a vocabulary cannot be learnt from texts without words', {
        help: 'check that the corpus is not empty and that its text fields have the expected names',
      });
    }
    return this.#options.model === 'wordpiece'
      ? trainWordPiece(words, this.#options)
      : trainBpe(words, this.#options);
  }
}
