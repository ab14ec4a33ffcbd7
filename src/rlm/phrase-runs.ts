import type { MaskedEncoder } from '../models/retriever/masked-encoder.ts';

/** Run of whole words in the rows of an index. */
export interface PhraseRun {
  readonly start: number;
  readonly length: number;
  readonly score: number;
  /** Number of its phrase: runs of one call with equal tokens have equal numbers. */
  readonly phrase: number;
}

/** Largest number of tokens of a vocabulary. */
const VOCABULARY = 2 ** 21;

/** Numbers of phrases: the node of each in a tree of their tokens. */
class PhraseNumbers {
  private readonly children = new Map<number, number>();

  /** Number of the phrase that a token makes of another phrase; 0 is the empty one. */
  after(phrase: number, token: number): number {
    const key = phrase * VOCABULARY + token;
    const known = this.children.get(key);
    if (known !== undefined) return known;
    const number = this.children.size + 1;
    this.children.set(key, number);
    return number;
  }
}

/** Runs of whole words in the rows of documents. Memory: 6 bytes a row. */
export class PhraseRuns {
  private readonly tokens: Int32Array;
  private readonly ends: Int32Array;
  /** 1 for rows where a word begins. */
  private readonly begins: Uint8Array;
  /** 1 for rows where a word of the document finishes. */
  private readonly finishes: Uint8Array;
  /** First row from each one on whose token is in no phrase. */
  private readonly barriers: Int32Array;

  /**
   * @param tokens i32[N]: token ids
   * @param ends i32[N]: row after the last one of the document of each row
   */
  constructor(
    tokens: Int32Array,
    ends: Int32Array,
    { continues, excluded }: Pick<MaskedEncoder, 'continues' | 'excluded'>,
  ) {
    const N = tokens.length;
    this.tokens = tokens;
    this.ends = ends;
    this.begins = Uint8Array.from(tokens, (token) => 1 - continues[token]!);
    this.finishes = Uint8Array.from(tokens, (_, row) =>
      row + 1 < ends[row]! ? 1 - continues[tokens[row + 1]!]! : 1,
    );
    this.barriers = new Int32Array(N);
    for (let row = N - 1, next = N; row >= 0; row--) {
      if (excluded.has(tokens[row]!)) next = row;
      this.barriers[row] = next;
    }
  }

  /**
   * Lists the runs that begin at one of some rows or finish at one of others, each once. The score of a run is the sum of both.
   *
   * @param starts  scores of rows where runs begin
   * @param finishes  scores of rows where runs finish
   * @param mostTokens  longest run
   */
  find(
    starts: ReadonlyMap<number, number>,
    finishes: ReadonlyMap<number, number>,
    mostTokens: number,
  ): PhraseRun[] {
    const { tokens, ends } = this;
    const numbers = new PhraseNumbers();
    const found: PhraseRun[] = [];
    for (const [start, score] of starts) {
      if (this.begins[start] === 0) continue;
      const end = Math.min(start + mostTokens, ends[start]!, this.barriers[start]!);
      for (let last = start, phrase = 0; last < end; last++) {
        phrase = numbers.after(phrase, tokens[last]!);
        if (this.finishes[last] === 0) continue;
        found.push({ start, length: last - start + 1, score: score + (finishes.get(last) ?? 0), phrase });
      }
    }
    for (const [last, score] of finishes) {
      if (this.finishes[last] === 0) continue;
      for (let start = last; start > last - mostTokens && start >= 0; start--) {
        if (ends[start] !== ends[last] || this.barriers[start]! <= last) break;
        if (this.begins[start] === 0 || starts.has(start)) continue;
        let phrase = 0;
        for (let row = start; row <= last; row++) phrase = numbers.after(phrase, tokens[row]!);
        found.push({ start, length: last - start + 1, score, phrase });
      }
    }
    return found;
  }
}
