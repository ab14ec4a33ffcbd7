import { bytesAsIds, byteTokens, type TokenModel, UnknownPiece } from './model-parts.ts';
import type { BpeJson } from './tokenizer-json.ts';

/** Number that no id reaches: a pair of ids is one number, left · PAIR + right. */
const PAIR = 2 ** 26;

/**
 * Byte-pair encoding: the characters of a piece are joined pair by pair, the pair of the lowest rank first,
 * of equal ones the leftmost.
 */
export function bpe(json: BpeJson): TokenModel {
  const { continuing_subword_prefix: prefixOrNull, end_of_word_suffix: suffixOrNull, fuse_unk: fuses } = json;
  const prefix = prefixOrNull ?? '';
  const suffix = suffixOrNull ?? '';
  const ids = new Map(Object.entries(json.vocab));
  const bytes = json.byte_fallback === true ? byteTokens(ids) : undefined;
  const merges = new Merges(json, ids, prefix);
  const { unk_token: unknownToken } = json;
  const unknownId = (character: string): number => {
    const id = ids.get(unknownToken!);
    if (id === undefined) throw new UnknownPiece(character);
    return id;
  };

  return (piece, out) => {
    const whole = json.ignore_merges === true ? ids.get(piece) : undefined;
    if (whole !== undefined) {
      out.push(whole);
      return;
    }
    const symbols: number[] = [];
    // Unknown token that is still to be written: the next one may be fused with it. Bytes do not wait for it,
    // as in Hugging Face's library.
    let pending: number | undefined;
    for (let at = 0; at < piece.length; ) {
      const end = at + (piece.codePointAt(at)! > 0xffff ? 2 : 1);
      const character = (at > 0 ? prefix : '') + piece.slice(at, end) + (end === piece.length ? suffix : '');
      at = end;
      const id = ids.get(character);
      if (id !== undefined) {
        if (pending !== undefined) symbols.push(pending);
        pending = undefined;
        symbols.push(id);
        continue;
      }
      const fallback = bytes && bytesAsIds(character, bytes);
      if (fallback) symbols.push(...fallback);
      else if (unknownToken !== undefined && unknownToken !== null) {
        if (pending !== undefined && fuses === true) continue;
        if (pending !== undefined) symbols.push(pending);
        pending = unknownId(character);
      }
    }
    if (pending !== undefined) symbols.push(pending);
    merges.apply(symbols, out);
  };
}

/** Table of the pairs that are joined. */
class Merges {
  /** Rank of each pair. */
  readonly #ranks = new Map<number, number>();
  /** Id of the joined token, by rank. */
  readonly #joined: Int32Array;

  constructor({ merges }: BpeJson, ids: ReadonlyMap<string, number>, prefix: string) {
    this.#joined = new Int32Array(merges.length);
    for (const [rank, merge] of merges.entries()) {
      const [left, right] = typeof merge === 'string' ? (merge.split(' ') as [string, string]) : merge;
      this.#ranks.set(ids.get(left)! * PAIR + ids.get(right)!, rank);
      this.#joined[rank] = ids.get(left + right.slice(prefix.length))!;
    }
  }

  /** Joins symbols and appends the result to `out`. */
  apply(symbols: number[], out: number[]): void {
    if (symbols.length <= SHORT) this.#applyShort(symbols);
    else this.#applyLong(symbols);
    for (const symbol of symbols) if (symbol >= 0) out.push(symbol);
  }

  /** Searches all pairs again after each join, which is fastest for the length of a word. */
  #applyShort(symbols: number[]): void {
    for (;;) {
      let least = Number.POSITIVE_INFINITY;
      let at = -1;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const rank = this.#ranks.get(symbols[i]! * PAIR + symbols[i + 1]!);
        if (rank !== undefined && rank < least) {
          least = rank;
          at = i;
        }
      }
      if (at < 0) return;
      symbols[at] = this.#joined[least]!;
      symbols.splice(at + 1, 1);
    }
  }

  /** Keeps the pairs in a heap: time n log n for texts without any space. Removed symbols become -1. */
  #applyLong(symbols: number[]): void {
    const { length } = symbols;
    const previous = Int32Array.from({ length }, (_, i) => i - 1);
    const next = Int32Array.from({ length }, (_, i) => i + 1);
    const heap = new MinHeap();
    const offer = (left: number, right: number) => {
      if (left < 0 || right >= length) return;
      const rank = this.#ranks.get(symbols[left]! * PAIR + symbols[right]!);
      if (rank !== undefined) heap.push(rank * 2 ** 31 + left);
    };
    for (let i = 0; i + 1 < length; i++) offer(i, i + 1);
    for (let top = heap.pop(); top !== undefined; top = heap.pop()) {
      const rank = Math.floor(top / 2 ** 31);
      const left = top - rank * 2 ** 31;
      const right = next[left]!;
      if (symbols[left]! < 0 || right >= length) continue;
      // The symbols may have changed since the pair was offered.
      const now = this.#ranks.get(symbols[left]! * PAIR + symbols[right]!);
      if (now === undefined || this.#joined[now] !== this.#joined[rank]) continue;
      symbols[left] = this.#joined[rank]!;
      symbols[right] = -1;
      next[left] = next[right]!;
      if (next[left]! < length) previous[next[left]!] = left;
      offer(previous[left]!, left);
      offer(left, next[left]!);
    }
  }
}

/** Number of symbols up to which pairs are searched one by one. */
const SHORT = 32;

/** Binary heap of numbers, the least first. */
class MinHeap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const items = this.#items;
    const top = items[0];
    const item = items.pop();
    if (top === undefined || item === undefined || items.length === 0) return top;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
    return top;
  }
}
