import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { type PairPart, pairTemplate } from './pair-template.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Padded batch of pairs, row by row. */
export interface PaddedPairs {
  /** Token ids, int32 [B, T], filled up with the padding id. */
  readonly ids: Int32Array;
  /** 1 for a token, 0 for padding, float32 [B, T]. */
  readonly mask: Float32Array;
  /** Token types, int64 [B, T]; 0 for padding. */
  readonly types: BigInt64Array<ArrayBuffer>;
  /** Number of pairs B. */
  readonly batch: number;
  /** Length T in tokens: that of the longest pair, at least 1. */
  readonly tokens: number;
}

/** Joins the tokens of two texts to one sequence, as the template of a tokenizer says. */
export class PairEncoder {
  /** Tokens of both texts together that fit into a pair. */
  readonly room: number;
  private readonly tokenizer: Tokenizer;
  private readonly parts: readonly PairPart[];
  private readonly specialTokens: number;
  private readonly cutsStart: boolean;

  /**
   * @param maxTokens  longest pair, special tokens included
   * @param file  file of the tokenizer, for messages
   * @throws UsageError when the special tokens leave no room for the texts
   */
  constructor(
    tokenizer: Tokenizer,
    { maxTokens, file = 'tokenizer.json' }: { maxTokens: number; file?: string },
  ) {
    this.tokenizer = tokenizer;
    this.parts = pairTemplate(tokenizer.toJson(), file);
    this.specialTokens = this.parts.reduce(
      (sum, { content }) => sum + (typeof content === 'number' ? 0 : content.length),
      0,
    );
    this.room = maxTokens - this.specialTokens;
    this.cutsStart = tokenizer.truncationSide === 'left';
    if (this.room < 2) {
      throw new UsageError(
        `pairs of ${maxTokens} tokens leave no room for two texts beside ${this.specialTokens} special tokens`,
        { help: `use ${option('maxTokens', this.specialTokens + 2)} or more` },
      );
    }
  }

  /**
   * Encodes one of the texts of a pair, without special tokens and only as far as a pair can hold.
   *
   * One token more than fits is kept, so that the longer one of two texts that are both cut is still known in nearly all cases.
   */
  encodeText(text: string): Int32Array {
    return this.tokenizer.encodeRaw(text, this.room + 1);
  }

  /** Encodes both texts of a pair. */
  encodeTexts(first: string, second: string): [Int32Array, Int32Array] {
    const texts: [Int32Array, Int32Array] = [this.encodeText(first), this.encodeText(second)];
    // Of two texts that fill a pair by themselves, the longer one gets the odd token.
    const undecided = this.room % 2 === 1 && texts.every(({ length }) => length > this.room);
    return undecided ? [this.tokenizer.encodeRaw(first), this.tokenizer.encodeRaw(second)] : texts;
  }

  /** Length of a pair of texts of these lengths, in tokens. */
  lengthOf(first: number, second: number): number {
    return this.specialTokens + Math.min(first + second, this.room);
  }

  /**
   * Lays pairs side by side, padded at the end to the longest of them.
   *
   * @param pairs  token ids of the first and the second text of each pair, without special tokens
   * @param padId  id of the padding token
   */
  pad(pairs: readonly (readonly [ArrayLike<number>, ArrayLike<number>])[], padId: number): PaddedPairs {
    const lengths = pairs.map(([first, second]) => longestFirst(first.length, second.length, this.room));
    const tokens = Math.max(1, ...lengths.map(([a, b]) => this.specialTokens + a + b));
    const batch = pairs.length;
    const ids = new Int32Array(batch * tokens).fill(padId);
    const mask = new Float32Array(batch * tokens);
    const types = new BigInt64Array(batch * tokens);
    for (const [row, texts] of pairs.entries()) {
      let at = row * tokens;
      for (const { content, type } of this.parts) {
        const from = at;
        if (typeof content === 'number') {
          const text = texts[content];
          const kept = lengths[row]![content];
          const start = this.cutsStart ? text.length - kept : 0;
          for (let i = 0; i < kept; i++) ids[at++] = text[start + i]!;
        } else {
          for (const id of content) ids[at++] = id;
        }
        mask.fill(1, from, at);
        if (type !== 0) types.fill(BigInt(type), from, at);
      }
    }
    return { ids, mask, types, batch, tokens };
  }
}

/**
 * Lengths to which two texts are cut so that they fit together: the longer one first, both alike from there on. The strategy
 * `longest_first` of Hugging Face's tokenizers.
 */
export function longestFirst(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const swapped = first > second;
  let shorter = Math.min(first, second);
  let longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = Math.floor(room / 2);
    longer = shorter + (room % 2);
  }
  return swapped ? [longer, shorter] : [shorter, longer];
}
