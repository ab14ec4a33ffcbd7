import { rngKey, uniform } from '../util/rng.ts';
import { TokenStore } from './token-store.ts';

export const CROP_TASKS = ['independent', 'inverse-cloze'] as const;

export interface CropOptions {
  /** `independent`: two spans, each drawn for itself. `inverse-cloze`: a sentence, and the text around it. */
  readonly task: (typeof CROP_TASKS)[number];
  /** Length of a crop, as a share of the window: uniform between the two. */
  readonly minRatio: number;
  readonly maxRatio: number;
  /** Tokens of the part of a document that both crops come from; a longer document has it at a random place. */
  readonly window: number;
  /** Probability with which each token of a crop is left out. */
  readonly deleteRatio: number;
  /** `inverse-cloze`: probability with which the sentence is taken out of its text. */
  readonly removeRatio: number;
}

/** What stands around every text of a side, and how much of a text there is room for between. */
export interface TokenFrame {
  readonly before: Int32Array;
  readonly after: Int32Array;
  /** Tokens of the text itself, at most. */
  readonly room: number;
}

/** The crops of a batch: two texts for each row, in the order of the rows. */
export interface CropPairs {
  readonly queries: TokenStore;
  readonly documents: TokenStore;
}

/** Tokens of a crop at least, before any are left out. */
const LEAST_TOKENS = 4;
/** Documents with fewer tokens are not cropped: both crops would be nearly the whole. */
export const LEAST_DOCUMENT_TOKENS = 2 * LEAST_TOKENS;

/** Random numbers that a pair of crops takes: place of the window, then of the crops. */
const DRAWS = 5;

/** Half-open ranges of a document's tokens, one after the other. */
type Spans = readonly (readonly [start: number, end: number])[];

/**
 * Pairs of crops of documents: texts that belong together without anyone's having said so.
 *
 * - `independent` (Contriever, Izacard et al., arXiv:2112.09118): query and positive are two spans of the same window, of lengths
 *   and at places drawn independently, so that they may overlap.
 * - `inverse-cloze` (Lee et al., arXiv:1906.00300): the query is a sentence at a random place, or a part of it where it is longer
 *   than a crop may be; the positive is the window without it, or, with probability 1 − `removeRatio`, the whole window.
 *
 * All is a function of (seed, draw, place in the batch): every draw has other crops, and a resumed run the same.
 */
export class Crops {
  private readonly store: TokenStore;
  private readonly frames: Readonly<Record<'query' | 'document', TokenFrame>>;
  private readonly options: CropOptions;
  private readonly seed: number;
  private readonly sentenceEnds: Uint8Array;

  /**
   * @param store  whole documents, without special tokens, of `LEAST_DOCUMENT_TOKENS` tokens or more where they are cropped
   * @param sentenceEnds  uint8[V]: 1 for tokens that end a sentence
   */
  constructor(
    store: TokenStore,
    parts: {
      frames: Readonly<Record<'query' | 'document', TokenFrame>>;
      options: CropOptions;
      seed: number;
      sentenceEnds: Uint8Array;
    },
  ) {
    this.store = store;
    this.frames = parts.frames;
    this.options = parts.options;
    this.seed = parts.seed;
    this.sentenceEnds = parts.sentenceEnds;
  }

  /**
   * @param rows  B rows of the store
   * @param draw  number of the batch in the run
   */
  cut(rows: Int32Array, draw: number): CropPairs {
    const draws = new Float32Array(DRAWS * rows.length);
    uniform(rngKey(this.seed, draw, 'crops'), draws);
    const pairs = Array.from(rows, (row, i) => {
      const own = draws.subarray(DRAWS * i, DRAWS * (i + 1));
      const tokens = this.store.tokens(row);
      return this.options.task === 'independent' ? this.independent(tokens, own) : this.cloze(tokens, own);
    });
    const side = (name: 'query' | 'document') =>
      this.write(
        rows,
        pairs.map((pair) => pair[name]),
        { frame: this.frames[name], key: rngKey(this.seed, draw, `crops/${name}`) },
      );
    return { queries: side('query'), documents: side('document') };
  }

  private independent({ length }: ArrayLike<number>, draws: Float32Array) {
    const size = Math.min(length, this.options.window);
    const from = place(draws[0]!, length - size);
    const span = (side: 'query' | 'document', length: number, at: number): Spans => {
      const { least, most } = this.lengths(size, this.frames[side].room);
      const { minRatio, maxRatio } = this.options;
      const wanted = Math.round((minRatio + (maxRatio - minRatio) * length) * size);
      const tokens = Math.min(most, Math.max(least, wanted));
      const start = from + place(at, size - tokens);
      return [[start, start + tokens]];
    };
    return {
      query: span('query', draws[1]!, draws[2]!),
      document: span('document', draws[3]!, draws[4]!),
    };
  }

  private cloze(tokens: ArrayLike<number>, draws: Float32Array) {
    const size = Math.min(tokens.length, this.options.window, this.frames.document.room);
    const from = place(draws[0]!, tokens.length - size);
    const to = from + size;
    const ends = (i: number) => this.sentenceEnds[tokens[i]!] === 1;
    const inside = from + place(draws[1]!, size - 1);
    let start = inside;
    while (start > from && !ends(start - 1)) start--;
    let end = inside + 1;
    while (end < to && !ends(end - 1)) end++;

    const { least, most } = this.lengths(size, this.frames.query.room);
    if (end - start > most) {
      start += place(draws[2]!, end - start - most);
      end = start + most;
    }
    // A sentence of a word or two goes on into the next, or begins in the one before.
    end = Math.min(to, Math.max(end, start + least));
    start = Math.max(from, Math.min(start, end - least));
    const around: Spans = [
      [from, start],
      [end, to],
    ];
    const query: Spans = [[start, end]];
    const document: Spans = draws[3]! < this.options.removeRatio ? around : [[from, to]];
    return { query, document };
  }

  /** Tokens of a crop of a window, at least and at most. */
  private lengths(size: number, room: number): { least: number; most: number } {
    const { minRatio, maxRatio } = this.options;
    // What remains of a window without its sentence is a crop too.
    const limit = this.options.task === 'independent' ? size : Math.max(1, size - LEAST_TOKENS);
    const least = Math.max(LEAST_TOKENS, Math.round(minRatio * size));
    const most = Math.max(least, Math.round(maxRatio * size));
    return { least: Math.min(least, limit, room), most: Math.min(most, limit, room) };
  }

  /** Puts crops side by side, each inside its frame, and leaves tokens out at random. */
  private write(
    rows: Int32Array,
    crops: readonly Spans[],
    { frame, key }: { frame: TokenFrame; key: ReturnType<typeof rngKey> },
  ): TokenStore {
    const { before, after } = frame;
    const { deleteRatio } = this.options;
    const inside = crops.reduce((sum, spans) => sum + size(spans), 0);
    const kept = new Float32Array(deleteRatio > 0 ? inside : 0);
    uniform(key, kept);
    const out = new Int32Array(inside + rows.length * (before.length + after.length));
    const lengths = new Int32Array(rows.length);
    let [used, seen] = [0, 0];
    for (const [i, spans] of crops.entries()) {
      const tokens = this.store.tokens(rows[i]!);
      const begin = used;
      out.set(before, used);
      used += before.length;
      const first = used;
      for (const [start, end] of spans) {
        for (let t = start; t < end; t++) {
          if (deleteRatio === 0 || kept[seen]! >= deleteRatio) out[used++] = tokens[t]!;
          seen++;
        }
      }
      // Not nothing, however unlikely that is.
      if (used === first && size(spans) > 0) out[used++] = tokens[spans.find(([a, b]) => b > a)![0]]!;
      out.set(after, used);
      used += after.length;
      lengths[i] = used - begin;
    }
    return TokenStore.of(lengths, out.slice(0, used));
  }
}

const size = (spans: Spans): number => spans.reduce((sum, [start, end]) => sum + end - start, 0);

/** A whole number from 0 to `last`, for a uniform number of (0, 1). */
const place = (u: number, last: number): number => Math.min(last, Math.floor(u * (last + 1)));
