/** Words as sequences of token ids, and the number of occurrences of each word. */
export interface SymbolWords {
  /** Token ids of each word. */
  symbols: readonly number[][];
  /** Number of occurrences of each word. */
  counts: readonly number[];
}

/** Settings of {@link learnMerges}. */
export interface LearnMergesOptions {
  /** Token strings by id; `learnMerges` appends the new tokens. */
  tokens: string[];
  /** Number of tokens at which learning stops. */
  vocabSize: number;
  /** Minimum number of occurrences of a pair to merge. */
  minFrequency: number;
  /** Makes the string of the token that replaces a pair. */
  join: (left: string, right: string) => string;
}

/**
 * Learns the merges of byte-pair encoding (Sennrich, Haddow and Birch 2016).
 *
 * Each step replaces the most frequent pair of neighbouring tokens by one token. Among equally frequent pairs
 * the one with the smaller left id comes first, then the one with the smaller right id, as in Hugging Face's
 * trainers.
 *
 * Counts are exact: a merge visits the words that hold the pair, subtracts the pairs beside each occurrence
 * and adds the new ones. The best pair comes from a heap with stale entries: counts of known pairs only fall,
 * so an entry that comes up with too high a count is put back with its present count.
 *
 * @returns pairs of ids in merge order
 */
export function learnMerges(words: SymbolWords, options: LearnMergesOptions): [number, number][] {
  const { tokens, vocabSize, minFrequency, join } = options;
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const pairs = new PairTable();
  const symbols = words.symbols.map((word) => word.slice());
  const { counts } = words;
  for (const [w, word] of symbols.entries()) {
    for (let i = 0; i + 1 < word.length; i++) pairs.add(word[i]!, word[i + 1]!, counts[w]!, w);
  }
  const heap = new PairHeap(pairs, minFrequency);
  for (let pair = 0; pair < pairs.size; pair++) heap.push(pair);

  const merges: [number, number][] = [];
  while (tokens.length < vocabSize) {
    const pair = heap.pop();
    if (pair === undefined) break;
    const left = pairs.lefts[pair]!;
    const right = pairs.rights[pair]!;
    const token = join(tokens[left]!, tokens[right]!);
    let merged = ids.get(token);
    if (merged === undefined) {
      merged = tokens.length;
      tokens.push(token);
      ids.set(token, merged);
    }
    merges.push([left, right]);
    const touched = new Set<number>();
    for (const w of pairs.takeWords(pair)) {
      mergeWord(symbols[w]!, left, right, merged, counts[w]!, w, pairs, touched);
    }
    for (const other of touched) heap.push(other);
  }
  return merges;
}

/**
 * Replaces (left, right) in a word, from left to right, and updates the counts of the pairs that vanish and
 * appear.
 */
function mergeWord(
  word: number[],
  left: number,
  right: number,
  merged: number,
  count: number,
  w: number,
  pairs: PairTable,
  touched: Set<number>,
): void {
  let size = 0;
  /** Whether the symbol before position i of the old word, and before `size` of the new one, took part in a merge. */
  let isAfterMerge = false;
  for (let i = 0; i < word.length; i++) {
    const isMatch = word[i] === left && i + 1 < word.length && word[i + 1] === right;
    if (i > 0 && (isMatch || isAfterMerge)) {
      // The new word is never longer than the part of the old word already read, so old symbols from i on are
      // intact.
      pairs.remove(isAfterMerge ? right : word[size - 1]!, word[i]!, count);
      touched.add(pairs.add(word[size - 1]!, isMatch ? merged : word[i]!, count, w));
    }
    if (isMatch) {
      pairs.remove(left, right, count);
      i++;
    }
    word[size++] = isMatch ? merged : word[i]!;
    isAfterMerge = isMatch;
  }
  word.length = size;
}

/** Counts of neighbouring pairs and the words that hold, or once held, them. */
class PairTable {
  readonly lefts: number[] = [];
  readonly rights: number[] = [];
  readonly counts: number[] = [];
  readonly #words: number[][] = [];
  readonly #index = new Map<number, number>();

  get size(): number {
    return this.counts.length;
  }

  /** Adds `count` occurrences in word `w` and returns the pair's index. */
  add(left: number, right: number, count: number, w: number): number {
    const key = left * 2 ** 24 + right;
    let pair = this.#index.get(key);
    if (pair === undefined) {
      pair = this.size;
      this.#index.set(key, pair);
      this.lefts.push(left);
      this.rights.push(right);
      this.counts.push(0);
      this.#words.push([]);
    }
    this.counts[pair]! += count;
    const words = this.#words[pair]!;
    if (words[words.length - 1] !== w) words.push(w);
    return pair;
  }

  remove(left: number, right: number, count: number): void {
    this.counts[this.#index.get(left * 2 ** 24 + right)!]! -= count;
  }

  /**
   * Returns the words of a pair and clears them, because the pair is being merged away. A word may occur
   * twice.
   */
  takeWords(pair: number): number[] {
    const words = this.#words[pair]!;
    this.#words[pair] = [];
    return words;
  }
}

/** Max-heap of pairs by (count, then smaller left, then smaller right). */
class PairHeap {
  readonly #pairs: PairTable;
  readonly #entries: number[] = [];
  /** Count of each entry when it was pushed. */
  readonly #counts: number[] = [];

  readonly #minFrequency: number;

  constructor(pairs: PairTable, minFrequency: number) {
    this.#pairs = pairs;
    this.#minFrequency = minFrequency;
  }

  /** Adds a pair unless it is too rare. */
  push(pair: number): void {
    const count = this.#pairs.counts[pair]!;
    if (count < this.#minFrequency) return;
    let at = this.#entries.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(pair, count, parent)) break;
      this.#entries[at] = this.#entries[parent]!;
      this.#counts[at] = this.#counts[parent]!;
      at = parent;
    }
    this.#entries[at] = pair;
    this.#counts[at] = count;
  }

  /**
   * Removes and returns the pair with the highest present count; undefined when no pair is frequent enough.
   */
  pop(): number | undefined {
    for (;;) {
      const pair = this.#entries[0];
      if (pair === undefined) return undefined;
      const pushed = this.#counts[0]!;
      const last = this.#entries.pop()!;
      const lastCount = this.#counts.pop()!;
      if (this.#entries.length > 0) this.#sink(last, lastCount);
      if (pushed === this.#pairs.counts[pair]!) return pair;
      this.push(pair);
    }
  }

  #sink(pair: number, count: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#entries.length) break;
      const right = child + 1;
      if (
        right < this.#entries.length &&
        this.#isBefore(this.#entries[right]!, this.#counts[right]!, child)
      ) {
        child = right;
      }
      if (this.#isBefore(pair, count, child)) break;
      this.#entries[at] = this.#entries[child]!;
      this.#counts[at] = this.#counts[child]!;
      at = child;
    }
    this.#entries[at] = pair;
    this.#counts[at] = count;
  }

  #isBefore(pair: number, count: number, at: number): boolean {
    if (count !== this.#counts[at]!) return count > this.#counts[at]!;
    const other = this.#entries[at]!;
    const { lefts, rights } = this.#pairs;
    return lefts[pair]! < lefts[other]! || (lefts[pair] === lefts[other] && rights[pair]! < rights[other]!);
  }
}
