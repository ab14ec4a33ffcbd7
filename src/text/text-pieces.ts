import type { TokenStore } from './token-store.ts';

/** Pieces of the texts of a store, each a run of tokens of one text. */
export class TextPieces {
  /** Number of pieces. */
  readonly count: number;
  /** Row of each piece in the store. The pieces of a text follow one another. */
  readonly rows: Int32Array;
  /** Number of tokens of each piece. */
  readonly lengths: Int32Array;
  readonly #store: TokenStore;
  readonly #starts: Int32Array;

  /**
   * Cuts texts into pieces that do not overlap, one after the other. A piece ends before the beginning of a word, except where one word alone
   * is longer than a piece.
   *
   * @param options.most  tokens of a piece at most, ≥ 1
   * @param options.rows  rows of the store to cut. Default all
   * @param options.continues  u8[V]: tokens that continue a word (see `wordContinuations`)
   */
  constructor(
    store: TokenStore,
    {
      most,
      continues,
      rows = Int32Array.from({ length: store.rows }, (_, i) => i),
    }: { readonly most: number; readonly continues: Uint8Array; readonly rows?: Int32Array | undefined },
  ) {
    const [owners, starts, lengths]: [number[], number[], number[]] = [[], [], []];
    for (const row of rows) {
      const tokens = store.tokens(row);
      for (let start = 0, end = 0; start < tokens.length; start = end) {
        end = Math.min(start + most, tokens.length);
        let word = end;
        while (word < tokens.length && word > start && continues[tokens[word]!] === 1) word -= 1;
        if (word > start) end = word;
        owners.push(row);
        starts.push(start);
        lengths.push(end - start);
      }
    }
    this.count = owners.length;
    this.rows = Int32Array.from(owners);
    this.lengths = Int32Array.from(lengths);
    this.#starts = Int32Array.from(starts);
    this.#store = store;
  }

  /** First token of a piece in its text. */
  start(piece: number): number {
    return this.#starts[piece]!;
  }

  /** Token ids of a piece. */
  tokens(piece: number): Int32Array {
    const start = this.#starts[piece]!;
    return Int32Array.from(this.#store.tokens(this.rows[piece]!, start, start + this.lengths[piece]!));
  }
}
