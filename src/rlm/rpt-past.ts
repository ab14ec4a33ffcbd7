import { float32, type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import type { EncodedNeighbours } from './chunk-passes.ts';
import type { ChunkedText } from './chunked-text.ts';
import type { RptConfig } from './rpt-config.ts';
import type { PastLayout } from './rpt-feeds.ts';

/** Rows of numbers that grow. */
class GrowingRows {
  readonly size: number;
  #data: Float32Array<ArrayBuffer>;
  #rows: number;

  /** Begins with a row of zeros. */
  constructor(size: number) {
    this.size = size;
    this.#data = new Float32Array(8 * size);
    this.#rows = 1;
  }

  /** Appends the first rows of a tensor. */
  add(tensor: HostTensor | undefined, rows: number): void {
    const needed = (this.#rows + rows) * this.size;
    if (needed > this.#data.length) {
      const larger = new Float32Array(2 * needed);
      larger.set(this.#data);
      this.#data = larger;
    }
    this.#data.set(float32(tensor).subarray(0, rows * this.size), this.#rows * this.size);
    this.#rows += rows;
  }

  /** A row, by its number; the first one holds zeros. */
  row(number: number): Float32Array<ArrayBuffer> {
    return this.#data.slice(number * this.size, (number + 1) * this.size);
  }

  /** The first row and the last ones, up to a number of rows in all. */
  feed(dims: readonly number[], rows = this.#rows): HostTensor {
    const { size } = this;
    const last = this.#data.subarray((this.#rows - rows + 1) * size, this.#rows * size);
    if (rows === this.#rows) return hostTensor('f32', [rows, ...dims], this.#data.subarray(0, rows * size));
    const joined = new Float32Array(rows * size);
    joined.set(last, size);
    return hostTensor('f32', [rows, ...dims], joined);
  }
}

/** Text that is read window after window, with the states of its chunks. The first row of each kind holds no chunk. */
export class RptPast {
  readonly text: ChunkedText;
  /** Document of the text, if it has a name. */
  readonly document: string | undefined;
  /** Place of the first token of the text in its document. */
  readonly offset: number;
  /** Chunks whose states are known. */
  known = 0;
  private readonly config: RptConfig;
  private readonly hidden: number;
  private readonly keys: GrowingRows | undefined;
  private readonly states: GrowingRows;
  private readonly pooled: GrowingRows;
  private readonly valid: GrowingRows;
  private readonly lists: GrowingRows;

  constructor(
    text: ChunkedText,
    {
      document,
      offset,
      config,
      hidden,
      learned,
    }: {
      document: string | undefined;
      offset: number;
      config: RptConfig;
      hidden: number;
      learned: boolean;
    },
  ) {
    const { chunkTokens: m, neighbours: K } = config;
    this.text = text;
    this.document = document;
    this.offset = offset;
    this.config = config;
    this.hidden = hidden;
    this.keys = learned ? new GrowingRows(hidden) : undefined;
    this.states = new GrowingRows(m * hidden);
    this.pooled = new GrowingRows(K * hidden);
    this.valid = new GrowingRows(K);
    this.lists = new GrowingRows(K * 2 * m * hidden);
  }

  /**
   * Returns the rows of states, and of the neighbour lists that a window needs: those of the known chunks in it.
   *
   * @param start place of the first token of the window in the text
   */
  layout(start: number): PastLayout {
    const inWindow = Math.max(0, this.known - start / this.config.chunkTokens);
    return { rows: 1 + this.known, lists: 1 + inWindow };
  }

  /** Inputs of the chunks that are known (see `PastChunks`). */
  feeds(): Record<string, HostTensor> {
    const { chunkTokens: m, neighbours: K } = this.config;
    const { hidden: D } = this;
    return {
      ...(this.keys && { 'past/keys': this.keys.feed([D]) }),
      'past/states': this.states.feed([m, D]),
      'past/pooled': this.pooled.feed([K, D]),
      'past/valid': this.valid.feed([K]),
    };
  }

  /** Inputs of the neighbour lists that a window needs. */
  listFeeds({ lists }: PastLayout): Record<string, HostTensor> {
    const { chunkTokens: m, neighbours: K } = this.config;
    return {
      'past/lists': this.lists.feed([K, 2 * m, this.hidden], lists),
      'past/inLists': this.valid.feed([K], lists),
    };
  }

  /** Neighbours of a known chunk, as the tokens after it read them; undefined for a chunk without any. */
  neighbours(chunk: number): EncodedNeighbours | undefined {
    const { chunkTokens: m, neighbours: K } = this.config;
    const valid = this.valid.row(1 + chunk);
    if (valid.every((each) => each === 0)) return undefined;
    const mask = Float32Array.from({ length: K * 2 * m }, (_, at) => valid[Math.floor(at / (2 * m))]!);
    return {
      states: hostTensor('f32', [1, 1, K, 2 * m, this.hidden], this.lists.row(1 + chunk)),
      mask: hostTensor('f32', [1, 1, K, 2 * m], mask),
    };
  }

  /**
   * Adds new chunks.
   *
   * @param outputs outputs `chunks/keys`, `states`, `pooled`, `valid` and `lists` of the program that has read them
   */
  add(outputs: Readonly<Record<string, HostTensor>>, chunks: number): void {
    for (const part of ['keys', 'states', 'pooled', 'valid', 'lists'] as const)
      this[part]?.add(outputs[`chunks/${part}`], chunks);
    this.known += chunks;
  }
}
