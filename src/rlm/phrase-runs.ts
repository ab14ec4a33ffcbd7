import type { MaskedEncoder } from '../models/retriever/masked-encoder.ts';

/** Phrase that was found in the rows of an index. */
export interface FoundPhrase {
  /** First row of its best run. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
  /** Sum of the scores of its runs, times its length to the power that was given. */
  readonly score: number;
  /** Number of its runs. */
  readonly runs: number;
}

/** Settings of {@link PhraseRuns.best}. */
export interface BestPhrasesOptions {
  /** Tokens of a run at most. */
  readonly mostTokens: number;
  /** Power of the length by which scores are multiplied. */
  readonly lengthPower: number;
  /** Phrases to return at most. */
  readonly count: number;
}

/** Largest number of tokens of a vocabulary. */
const VOCABULARY = 2 ** 21;

/**
 * Runs of whole words in the rows of documents, of which equal ones are one phrase.
 *
 * Phrases are numbered once, length by length. Memory besides the arrays that are given: 6 bytes a row, and 8 more for each length of a phrase.
 */
export class PhraseRuns {
  private readonly tokens: Int32Array;
  private readonly ends: Int32Array;
  /** 1 for rows where a word begins. */
  private readonly begins: Uint8Array;
  /** 1 for rows where a word of the document finishes. */
  private readonly finishes: Uint8Array;
  /** First row from each one on whose token is in no phrase, or that belongs to the next document. */
  private readonly barriers: Int32Array;
  /** Number of the phrase of n + 1 tokens that begins at each row, over all lengths; −1 where there is none. */
  private readonly numbers: Int32Array[] = [];
  private phrases = 0;
  private readonly found = new FoundTable();

  /**
   * @param tokens i32[N]: token ids
   * @param ends i32[N]: row after the last one of the document of each row
   */
  constructor(
    tokens: Int32Array,
    ends: Int32Array,
    { continues, excluded }: Pick<MaskedEncoder, 'continues' | 'excluded'>,
  ) {
    this.tokens = tokens;
    this.ends = ends;
    this.begins = Uint8Array.from(tokens, (token) => 1 - continues[token]!);
    this.finishes = Uint8Array.from(tokens, (_, row) =>
      row + 1 < ends[row]! ? 1 - continues[tokens[row + 1]!]! : 1,
    );
    this.barriers = new Int32Array(tokens.length);
    for (let row = tokens.length - 1, next = 0; row >= 0; row--) {
      next = excluded.has(tokens[row]!) ? row : row + 1 < ends[row]! ? next : ends[row]!;
      this.barriers[row] = next;
    }
  }

  /**
   * Finds the best phrases among the runs that begin at one of some rows or finish at one of others. The score of a run is the sum of both
   * scores; runs of one phrase add theirs. Of equal phrases the one whose best run stands first comes first.
   *
   * @param starts  scores of rows where runs begin
   * @param finishes  scores of rows where runs finish
   */
  best(
    starts: ReadonlyMap<number, number>,
    finishes: ReadonlyMap<number, number>,
    { mostTokens, lengthPower, count }: BestPhrasesOptions,
  ): FoundPhrase[] {
    this.numberUpTo(mostTokens);
    const { ends, found } = this;
    const factors = Float64Array.from({ length: mostTokens + 1 }, (_, length) => length ** lengthPower);
    found.begin(this.phrases, (starts.size + finishes.size) * mostTokens);
    for (const [start, score] of starts) {
      if (this.begins[start] === 0) continue;
      const end = Math.min(start + mostTokens, this.barriers[start]!);
      for (let last = start; last < end; last++) {
        if (this.finishes[last] === 0) continue;
        const length = last - start + 1;
        const both = score + (finishes.get(last) ?? 0);
        found.add(this.numbers[length - 1]![start]!, {
          start,
          length,
          score: both,
          factor: factors[length]!,
        });
      }
    }
    for (const [last, score] of finishes) {
      if (this.finishes[last] === 0) continue;
      for (let start = last; start > last - mostTokens && start >= 0; start--) {
        if (ends[start] !== ends[last] || this.barriers[start]! <= last) break;
        if (this.begins[start] === 0 || starts.has(start)) continue;
        const length = last - start + 1;
        found.add(this.numbers[length - 1]![start]!, { start, length, score, factor: factors[length]! });
      }
    }
    return found.best(count);
  }

  /** Numbers the phrases of each length up to a number of tokens. */
  private numberUpTo(mostTokens: number): void {
    const { tokens, barriers } = this;
    const N = tokens.length;
    for (let length = this.numbers.length + 1; length <= mostTokens; length++) {
      const before = this.numbers[length - 2];
      const known = new Map<number, number>();
      const level = new Int32Array(N).fill(-1);
      for (let row = 0; row + length <= N; row++) {
        if (row + length > barriers[row]!) continue;
        const key = (before ? before[row]! : 0) * VOCABULARY + tokens[row + length - 1]!;
        let number = known.get(key);
        if (number === undefined) {
          number = this.phrases++;
          known.set(key, number);
        }
        level[row] = number;
      }
      this.numbers.push(level);
    }
  }
}

/** Run that is added to its phrase. */
interface AddedRun {
  readonly start: number;
  readonly length: number;
  readonly score: number;
  /** Factor of the score in that of the phrase. */
  readonly factor: number;
}

/** Phrases of one search, in the order in which they were found. Arrays are used again. */
class FoundTable {
  private size = 0;
  /** Place of each phrase by its number, plus 1; 0 while it is not found. */
  private places = new Int32Array(0);
  private phrases = new Int32Array(0);
  private scores = new Float64Array(0);
  private bestScores = new Float64Array(0);
  private starts = new Int32Array(0);
  private lengths = new Int32Array(0);
  private runs = new Int32Array(0);

  /**
   * Begins a search.
   *
   * @param phrases  phrases that there are
   * @param most  runs that are added at most
   */
  begin(phrases: number, most: number): void {
    if (this.places.length < phrases) this.places = new Int32Array(phrases);
    else for (let i = 0; i < this.size; i++) this.places[this.phrases[i]!] = 0;
    this.size = 0;
    const capacity = Math.min(most, phrases);
    if (this.phrases.length >= capacity) return;
    this.phrases = new Int32Array(capacity);
    this.scores = new Float64Array(capacity);
    this.bestScores = new Float64Array(capacity);
    this.starts = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.runs = new Int32Array(capacity);
  }

  /** Adds a run to its phrase. */
  add(phrase: number, { start, length, score, factor }: AddedRun): void {
    const place = this.places[phrase]! - 1;
    if (place < 0) {
      const next = this.size++;
      this.places[phrase] = next + 1;
      this.phrases[next] = phrase;
      this.scores[next] = score * factor;
      this.bestScores[next] = score;
      this.starts[next] = start;
      this.lengths[next] = length;
      this.runs[next] = 1;
      return;
    }
    this.scores[place]! += score * factor;
    this.runs[place]! += 1;
    if (score > this.bestScores[place]!) {
      this.bestScores[place] = score;
      this.starts[place] = start;
    }
  }

  /** Lists the best phrases, best first. */
  best(count: number): FoundPhrase[] {
    const top: number[] = [];
    for (let place = 0; place < this.size; place++) {
      if (top.length === count && !this.isBetter(place, top[count - 1]!)) continue;
      let at = top.length;
      while (at > 0 && this.isBetter(place, top[at - 1]!)) at -= 1;
      top.splice(at, 0, place);
      if (top.length > count) top.pop();
    }
    return top.map((place) => ({
      start: this.starts[place]!,
      length: this.lengths[place]!,
      score: this.scores[place]!,
      runs: this.runs[place]!,
    }));
  }

  private isBetter(a: number, b: number): boolean {
    const difference = this.scores[a]! - this.scores[b]!;
    return difference > 0 || (difference === 0 && this.starts[a]! < this.starts[b]!);
  }
}
