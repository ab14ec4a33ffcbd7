import type { Segment } from './language-system.ts';

/** Tokens with the states that predicted them. */
export interface KeyedTokens {
  /** f32[n, D] */
  readonly keys: Float32Array<ArrayBuffer>;
  /** i32[n] */
  readonly tokens: Int32Array;
}

/** Tokens of one window, from place `first` of the document on. */
interface Block extends KeyedTokens {
  readonly first: number;
}

/**
 * The last tokens of the document that is being read, with the states that predicted them.
 *
 * It holds what earlier windows of the document have added. A segment sees only tokens before its own first one, so that windows in another
 * order, or a document that is read again, find less, but never a later token.
 */
export class PastTokens {
  /** Largest number of tokens that a segment sees; 0 to remember nothing. */
  readonly most: number;
  private readonly dimension: number;
  private document: string | undefined;
  private lastStart = -1;
  private covered = 0;
  private blocks: Block[] = [];

  constructor(most: number, dimension: number) {
    this.most = most;
    this.dimension = dimension;
  }

  /** Returns the tokens before a segment, in their order, at most `most`. A segment of another document has none. */
  before({ document, start }: Segment): KeyedTokens {
    if (this.most === 0) return { keys: new Float32Array(0), tokens: new Int32Array(0) };
    if (
      document === undefined ||
      start === undefined ||
      document !== this.document ||
      start <= this.lastStart
    ) {
      this.document = document;
      this.blocks = [];
      this.covered = 0;
    }
    this.lastStart = start ?? -1;
    // Place p predicts token p + 1: the places before the first token of the segment have read no token of it.
    const cut = this.blocks.map(({ first, tokens, keys }) => {
      const size = Math.max(0, Math.min(tokens.length, (start ?? 0) - first));
      return { tokens: tokens.subarray(0, size), keys: keys.subarray(0, size * this.dimension) };
    });
    const total = cut.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const skipped = Math.max(0, total - this.most);
    const all = { tokens: new Int32Array(total), keys: new Float32Array(total * this.dimension) };
    let at = 0;
    for (const { tokens, keys } of cut) {
      all.tokens.set(tokens, at);
      all.keys.set(keys, at * this.dimension);
      at += tokens.length;
    }
    return { tokens: all.tokens.subarray(skipped), keys: all.keys.subarray(skipped * this.dimension) };
  }

  /**
   * Adds the tokens of a segment, after `before` was asked for it.
   *
   * @param keys  f32[n − 1, D]: states that predict the tokens 1, 2, … of the segment
   */
  add({ ids, document, start }: Segment, keys: Float32Array): void {
    if (this.most === 0 || document === undefined || start === undefined) return;
    // Windows overlap: what an earlier one has added stays.
    const skipped = Math.max(0, this.covered - start);
    if (skipped < ids.length - 1) {
      this.blocks.push({
        first: start + skipped,
        tokens: ids.slice(1 + skipped),
        keys: keys.slice(skipped * this.dimension) as Float32Array<ArrayBuffer>,
      });
      this.covered = start + ids.length - 1;
    }
    // A later window begins after this one, and needs no more than the last tokens before it.
    const needed = start - this.most;
    this.blocks = this.blocks.filter(({ first, tokens }) => first + tokens.length > needed);
  }
}
