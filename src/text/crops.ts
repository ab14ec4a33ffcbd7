import { rngKey, uniform } from '../util/rng.ts';
import { TokenStore } from './token-store.ts';

/** Names of the ways to cut two crops from a document; see {@link CropOptions.task}. */
export const CROP_TASKS = ['independent', 'inverse-cloze'] as const;

/** Settings of {@link Crops}. */
export interface CropOptions {
  /**
   * How to cut a pair. `independent`: two spans drawn independently. `inverse-cloze`: a sentence and the text
   * around it.
   */
  readonly task: (typeof CROP_TASKS)[number];
  /**
   * Shortest crop, as a share of the window, in (0, 1]. Lengths are uniform between the shortest and the
   * longest.
   */
  readonly minRatio: number;
  /** Longest crop, as a share of the window, in (0, 1]. */
  readonly maxRatio: number;
  /**
   * Longest part of a document that both crops come from, in tokens. A longer document is cut to a window at
   * a random place.
   */
  readonly window: number;
  /** Probability of deleting each token of a crop. */
  readonly deleteRatio: number;
  /** Probability of removing the query's sentence from the document crop. Used by `inverse-cloze` only. */
  readonly removeRatio: number;
}

/**
 * Special tokens and prefix around every text of one side (query or document), and the room left for the
 * text.
 */
export interface TokenFrame {
  /** Token ids before the text. */
  readonly before: Int32Array;
  /** Token ids after the text. */
  readonly after: Int32Array;
  /** Maximum number of tokens of the text itself. */
  readonly room: number;
}

/** Crops of one batch: row i of both stores comes from row i of the batch. */
export interface CropPairs {
  /** Query crops. */
  readonly queries: TokenStore;
  /** Document crops. */
  readonly documents: TokenStore;
}

/** Minimum number of tokens of a crop, before any are deleted. */
const LEAST_TOKENS = 4;
/**
 * Minimum number of tokens of a document that is cropped. In shorter documents both crops would be nearly the
 * whole text.
 */
export const LEAST_DOCUMENT_TOKENS = 2 * LEAST_TOKENS;

/** Random numbers used per pair of crops: one for the place of the window, four for the crops. */
const DRAWS = 5;

/** Half-open ranges of a document's tokens, in ascending order. */
type Spans = readonly (readonly [start: number, end: number])[];

/**
 * Cuts pairs of crops out of documents: pairs of related texts that need no labels.
 *
 * - `independent` (Contriever, Izacard et al., arXiv:2112.09118): query and positive are two spans of one
 *   window. Their lengths and places are drawn independently, so they may overlap.
 * - `inverse-cloze` (Lee et al., arXiv:1906.00300): the query is a sentence at a random place, or part of the
 *   sentence if it is longer than a crop may be. The positive is the window without that sentence; with
 *   probability 1 − `removeRatio` it is the whole window.
 *
 * The crops are a function of (seed, draw, position in the batch). Every draw has new crops, and a resumed
 * run repeats those of the interrupted one.
 */
export class Crops {
  private readonly store: TokenStore;
  private readonly frames: Readonly<Record<'query' | 'document', TokenFrame>>;
  private readonly options: CropOptions;
  private readonly seed: number;
  private readonly sentenceEnds: Uint8Array;

  /**
   * @param store  whole documents, without special tokens; every row that is cropped has at least
   *   `LEAST_DOCUMENT_TOKENS` tokens
   * @param parts  frames of both sides, crop settings, seed of the run, and `sentenceEnds`, uint8[V]: 1 for
   *   tokens that end a sentence
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
   * Cuts one pair of crops per row.
   *
   * @param rows  int32[B], rows of the store; a row may occur more than once
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
    // A very short sentence is extended into the next sentence, or back into the one before.
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

  /** Minimum and maximum number of tokens of a crop of a window of `size` tokens. */
  private lengths(size: number, room: number): { least: number; most: number } {
    const { minRatio, maxRatio } = this.options;
    // The window without the sentence is a crop too and must keep LEAST_TOKENS tokens.
    const limit = this.options.task === 'independent' ? size : Math.max(1, size - LEAST_TOKENS);
    const least = Math.max(LEAST_TOKENS, Math.round(minRatio * size));
    const most = Math.max(least, Math.round(maxRatio * size));
    return { least: Math.min(least, limit, room), most: Math.min(most, limit, room) };
  }

  /** Writes the crops one after the other, each inside its frame, and deletes tokens at random. */
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
      // A crop keeps at least one token, even if all were drawn for deletion.
      if (used === first && size(spans) > 0) out[used++] = tokens[spans.find(([a, b]) => b > a)![0]]!;
      out.set(after, used);
      used += after.length;
      lengths[i] = used - begin;
    }
    return TokenStore.of(lengths, out.slice(0, used));
  }
}

const size = (spans: Spans): number => spans.reduce((sum, [start, end]) => sum + end - start, 0);

/** Maps a uniform number of (0, 1) to a whole number from 0 to `last`. */
const place = (u: number, last: number): number => Math.min(last, Math.floor(u * (last + 1)));
