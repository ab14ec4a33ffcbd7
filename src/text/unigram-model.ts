import { bytesAsIds, byteTokens, type TokenModel, UnknownPiece } from './model-parts.ts';
import type { UnigramJson } from './tokenizer-json.ts';
import { Trie } from './trie.ts';

/** Log probability by which an unknown character is worse than the worst piece. */
const UNKNOWN_PENALTY = 10;

/** Longest piece, in UTF-16 units, that is segmented at once; longer ones are cut, which costs 16 bytes for each unit. */
const BLOCK_CHARS = 1 << 16;

/**
 * Unigram model: the segmentation of a text into pieces with the largest sum of log probabilities.
 *
 * A run of unknown characters becomes one unknown token, or its bytes where the file has byte fallback.
 */
export function unigram(json: UnigramJson): TokenModel {
  const { vocab, unk_id: unknownId } = json;
  const unknown = unknownId ?? undefined;
  const ids = new Map<string, number>();
  const trie = new Trie();
  const scores = new Float64Array(vocab.length);
  let least = Number.POSITIVE_INFINITY;
  for (const [id, [piece, score]] of vocab.entries()) {
    ids.set(piece, id);
    if (piece !== '') trie.add(piece, id);
    scores[id] = score;
    least = Math.min(least, score);
  }
  const unknownScore = least - UNKNOWN_PENALTY;
  const bytes = json.byte_fallback === true ? byteTokens(ids) : undefined;
  let path = new BestPath(256);

  const push = (text: string, out: number[]) => {
    const id = ids.get(text);
    if (id !== undefined) {
      out.push(id);
      return;
    }
    const fallback = bytes && bytesAsIds(text, bytes);
    if (fallback) for (const each of fallback) out.push(each);
    else if (unknown === undefined) throw new UnknownPiece(text);
    else out.push(unknown);
  };

  /** Appends the ids of a block; tells whether it ends in unknown text, and whether it added nothing to that of the block before. */
  const segment = (text: string, out: number[], continues: boolean): { ends: boolean; isOne: boolean } => {
    const { length } = text;
    if (length >= path.size) path = new BestPath(2 * length);
    const { score, start, id } = path;
    start.fill(-1, 0, length + 1);
    score[0] = 0;
    const reach = (end: number, from: number, sum: number, piece: number) => {
      if (start[end] !== -1 && !(sum > score[end]!)) return;
      score[end] = sum;
      start[end] = from;
      id[end] = piece;
    };
    for (let at = 0; at < length; ) {
      const character = at + 1 < length && isPair(text, at) ? 2 : 1;
      const here = score[at]!;
      let isKnown = false;
      let node = 0;
      for (let end = at; end < length; ) {
        node = trie.next(node, text.charCodeAt(end++));
        if (node === 0) break;
        const piece = trie.value(node);
        if (piece < 0) continue;
        reach(end, at, here + scores[piece]!, piece);
        if (end === at + character) isKnown = true;
      }
      if (!isKnown) {
        const end = at + character;
        const isBetter = start[end] === -1 || here + unknownScore > score[end]!;
        if (isBetter && unknown === undefined) throw new UnknownPiece(text.slice(at, end));
        reach(end, at, here + unknownScore, unknown ?? -1);
      }
      at += character;
    }
    // Ends of the pieces, last first; neighbouring unknown pieces are one.
    const ends: number[] = [];
    let wasUnknown = false;
    for (let end = length; end > 0; end = start[end]!) {
      const isUnknown = id[end] === unknown;
      if (!(isUnknown && wasUnknown)) ends.push(end);
      wasUnknown = isUnknown;
    }
    ends.reverse();
    // A run of unknown characters that began in the block before has its token already.
    let from = continues && id[ends[0]!] === unknown && bytes === undefined ? ends.shift()! : 0;
    const isOne = ends.length === 0;
    for (const end of ends) {
      push(text.slice(from, end), out);
      from = end;
    }
    return { ends: id[length] === unknown, isOne };
  };

  return (text, out) => {
    let last = '';
    let wasUnknown = false;
    for (let start = 0; start < text.length; ) {
      const end = Math.min(start + BLOCK_CHARS, text.length);
      const cut = end < text.length && isPair(text, end - 1) ? end + 1 : end;
      const block = text.slice(start, cut);
      start = cut;
      if (wasUnknown && block === last) continue;
      const { ends, isOne } = segment(block, out, wasUnknown);
      wasUnknown = ends;
      last = isOne ? block : '';
    }
  };
}

/** Best segmentation of the text before each position. */
class BestPath {
  readonly size: number;
  readonly score: Float64Array;
  readonly start: Int32Array;
  readonly id: Int32Array;

  constructor(size: number) {
    this.size = size;
    this.score = new Float64Array(size);
    this.start = new Int32Array(size);
    this.id = new Int32Array(size);
  }
}

const isPair = (text: string, at: number): boolean =>
  (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;
