import type { Tokenizer } from './tokenizer.ts';

/** Lists the tokens that are in no phrase: the special ones and the unknown one, which stands for different words. */
export function tokensOutsidePhrases(tokenizer: Tokenizer): ReadonlySet<number> {
  const special = [...tokenizer.specialTokens].map((token) => tokenizer.tokenId(token));
  return new Set([...special, tokenizer.specialIds.unk].filter((id) => id !== undefined));
}

/** Span of a sequence. */
export interface SharedSpan {
  /** Number of the sequence. */
  readonly sequence: number;
  /** First token of the span. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
}

/** Phrases of at most this many tokens are looked for, by default. */
export const MOST_PHRASE_TOKENS = 10;

/** Options of {@link SharedPhrases}. */
export interface SharedPhrasesOptions {
  /** Largest number of tokens of a phrase, ≥ 1. Default 10. */
  readonly mostTokens?: number | undefined;
  /** Tokens that are in no phrase, such as the unknown token, which stands for different words. Default none. */
  readonly excluded?: ReadonlySet<number> | undefined;
}

/**
 * Index of the phrases (runs of tokens) that occur in at least two sequences of a group.
 *
 * Time and memory: `mostTokens` numbers for each token. A phrase is looked for only where the phrase that is one token shorter is shared.
 */
export class SharedPhrases {
  /** Sequences of the group. */
  readonly sequences: readonly ArrayLike<number>[];
  /** Largest number of tokens of a phrase. */
  readonly mostTokens: number;
  /** Number of the phrase of n + 1 tokens at each place of each sequence; −1 where no other sequence has it. */
  readonly #phrases: readonly (readonly Int32Array[])[];

  constructor(
    sequences: readonly ArrayLike<number>[],
    { mostTokens = MOST_PHRASE_TOKENS, excluded = new Set() }: SharedPhrasesOptions = {},
  ) {
    this.sequences = sequences;
    this.mostTokens = mostTokens;
    const single = sharedOf(sequences, (s, i) => {
      const token = sequences[s]![i]!;
      return excluded.has(token) ? undefined : `${token}`;
    });
    const levels = [single];
    for (let n = 2; n <= mostTokens; n++) {
      const before = levels[n - 2]!;
      levels.push(
        sharedOf(sequences, (s, i) => {
          const [start, last] = [before[s]![i]!, single[s]![i + n - 1] ?? -1];
          return start < 0 || last < 0 ? undefined : `${start} ${last}`;
        }),
      );
    }
    this.#phrases = levels;
  }

  /** Number of a span's phrase among those of its length; −1 where no other sequence has it. */
  phrase({ sequence, start, length }: SharedSpan): number {
    return this.#phrases[length - 1]?.[sequence]?.[start] ?? -1;
  }

  /** Finds the occurrences of a span's phrase in the other sequences, in the order of the group; none where it is not shared. */
  occurrences(span: SharedSpan): SharedSpan[] {
    const wanted = this.phrase(span);
    if (wanted < 0) return [];
    const found: SharedSpan[] = [];
    for (const [sequence, phrases] of this.#phrases[span.length - 1]!.entries()) {
      if (sequence === span.sequence) continue;
      for (let start = phrases.indexOf(wanted); start >= 0; start = phrases.indexOf(wanted, start + 1))
        found.push({ sequence, start, length: span.length });
    }
    return found;
  }
}

/** Numbers the keys that occur in two sequences or more. */
function sharedOf(
  sequences: readonly ArrayLike<number>[],
  keyOf: (sequence: number, place: number) => string | undefined,
): Int32Array[] {
  const numbers = new Map<string, number>();
  const firstIn: number[] = [];
  const isShared: boolean[] = [];
  const found = sequences.map(({ length }, s) =>
    Int32Array.from({ length }, (_, i) => {
      const key = keyOf(s, i);
      if (key === undefined) return -1;
      const known = numbers.get(key);
      if (known !== undefined) {
        if (firstIn[known] !== s) isShared[known] = true;
        return known;
      }
      numbers.set(key, firstIn.length);
      isShared.push(false);
      return firstIn.push(s) - 1;
    }),
  );
  return found.map((each) => each.map((number) => (number >= 0 && isShared[number] ? number : -1)));
}
