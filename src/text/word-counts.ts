import { ownString } from './own-string.ts';
import { Splitter } from './pipeline.ts';
import { TextParts } from './text-parts.ts';
import type { ComponentJson, TokenizerJson } from './tokenizer-json.ts';

/** Longest piece that is normalized at once, in UTF-16 units. No word is as long; a longer piece would overflow regular expressions. */
const LONGEST_PIECE = 65_536;

/** Moves a position that lies inside of a surrogate pair before it. */
const cutAt = (text: string, at: number): number =>
  /[\ud800-\udbff]/.test(text[at - 1] ?? '') ? at - 1 : at;

/**
 * Counts the words of texts as a tokenizer with the given components would see them.
 *
 * Texts are cut at spaces first and equal pieces are counted together, so only distinct pieces are
 * normalized. When more than `maxPieces` pieces are known, the rarest are dropped, below a rising count,
 * until at least half are gone. The counts of rare words are then too low and those of frequent words nearly
 * exact.
 */
export class WordCounts {
  readonly #splitter: Splitter;
  readonly #parts: TextParts;
  readonly #maxPieces: number;
  readonly #pieces = new Map<string, number>();

  constructor(
    components: { normalizer: ComponentJson | null; pre_tokenizer: ComponentJson },
    maxPieces: number,
  ) {
    const json: TokenizerJson = {
      ...components,
      added_tokens: [],
      post_processor: null,
      decoder: null,
      model: {
        type: 'WordPiece',
        unk_token: '?',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
        vocab: { '?': 0 },
      },
    };
    this.#splitter = new Splitter(json, 'tokenizer.json');
    this.#parts = new TextParts(json, []);
    this.#maxPieces = maxPieces;
  }

  /** Counts the words of one text. */
  add(text: string): void {
    const pieces = this.#pieces;
    for (let start = this.#parts.start(text, 0); start < text.length; ) {
      const end = Math.min(this.#parts.end(text, start), cutAt(text, start + LONGEST_PIECE));
      const piece = text.slice(start, end);
      const count = pieces.get(piece);
      if (count !== undefined) pieces.set(piece, count + 1);
      else pieces.set(ownString(piece), 1);
      start = this.#parts.start(text, end);
    }
    if (pieces.size > this.#maxPieces) this.#dropRare();
  }

  /** Returns the normalized words with their counts. */
  words(): Map<string, number> {
    const words = new Map<string, number>();
    for (const [piece, count] of this.#pieces) {
      const text = this.#splitter.normalize(piece);
      for (const { text: word } of text === '' ? [] : this.#splitter.preTokenize([{ text, lead: 0 }])) {
        words.set(word, (words.get(word) ?? 0) + count);
      }
    }
    return words;
  }

  #dropRare(): void {
    for (let least = 2; this.#pieces.size > this.#maxPieces / 2; least++) {
      for (const [piece, count] of this.#pieces) if (count < least) this.#pieces.delete(piece);
    }
  }
}
