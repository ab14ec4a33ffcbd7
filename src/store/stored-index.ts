import { totalmem } from 'node:os';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { SearchIndex, SearchOptions, SearchResult } from '../search/search-index.ts';
import { RowHeap } from '../text/row-heap.ts';
import type { VectorSource } from './vector-source.ts';

/** Share of the machine's memory that vectors may take before each search reads them from the disk. */
const MEMORY_SHARE = 0.4;
/** Rows that are read and scored at once where the vectors do not stay in memory. */
const BLOCK_ROWS = 32_768;

/** Settings of {@link openStoredIndex}. */
export interface StoredIndexOptions extends ComputeOptions {
  /** Most bytes of vectors to keep in memory. Default 40 % of the machine's. */
  readonly memoryBytes?: number | undefined;
}

/**
 * Makes an index for exact search over stored vectors. The rows of its results are numbers of passages, and equal scores are ordered
 * by them.
 *
 * The vectors are kept in memory if they fit; otherwise each search streams them in blocks, and takes several queries at the cost of
 * one.
 */
export async function openStoredIndex(
  source: VectorSource,
  options: StoredIndexOptions = {},
): Promise<SearchIndex> {
  const { memoryBytes = MEMORY_SHARE * totalmem(), ...compute } = options;
  const { size, dimension } = source;
  // Vectors arrive in the order of their tables, and are put into that of the passages' numbers: for a moment there are two copies.
  const fits = 2 * size * dimension * 4 <= memoryBytes;
  return fits ? await loadIndex(source, compute) : new StreamedIndex(source, compute);
}

class EmptyIndex implements SearchIndex {
  readonly size = 0;
  readonly dimension: number;
  readonly embeddingSpace: string;

  constructor(dimension: number, embeddingSpace: string) {
    this.dimension = dimension;
    this.embeddingSpace = embeddingSpace;
  }

  async search(): Promise<SearchResult> {
    return { rows: new Int32Array(0), scores: new Float32Array(0), k: 0 };
  }

  async dispose(): Promise<void> {}
}

/** Reads all vectors into memory. */
async function loadIndex(source: VectorSource, compute: ComputeOptions): Promise<SearchIndex> {
  const { size, dimension: D, embeddingSpace } = source;
  const pids = new Int32Array(size);
  const vectors = new Float32Array(size * D);
  let count = 0;
  for await (const part of source.stream()) {
    pids.set(part.pids, count);
    vectors.set(part.vectors, count * D);
    count += part.pids.length;
  }
  if (count === 0) return new EmptyIndex(D, embeddingSpace);
  const sorted = inOrder(pids.subarray(0, count), vectors.subarray(0, count * D), D);
  return new NumberedIndex(sorted.pids, ExactIndex.create(sorted.vectors, D, { ...compute, embeddingSpace }));
}

/** Sorts rows by the numbers of their passages; rows that are in order are returned as they are. */
function inOrder(pids: Int32Array, vectors: Float32Array, D: number) {
  if (pids.every((pid, i) => i === 0 || pids[i - 1]! < pid)) return { pids, vectors };
  const order = Uint32Array.from(pids, (_, i) => i).sort((a, b) => pids[a]! - pids[b]!);
  const sorted = new Float32Array(vectors.length);
  for (const [to, from] of order.entries()) sorted.set(vectors.subarray(from * D, (from + 1) * D), to * D);
  return { pids: Int32Array.from(order, (row) => pids[row]!), vectors: sorted };
}

/** Index whose rows have numbers. */
class NumberedIndex implements SearchIndex {
  private readonly numbers: Int32Array;
  private readonly index: ExactIndex;

  constructor(numbers: Int32Array, index: ExactIndex) {
    this.numbers = numbers;
    this.index = index;
  }

  get size(): number {
    return this.index.size;
  }

  get dimension(): number {
    return this.index.dimension;
  }

  get embeddingSpace(): string | undefined {
    return this.index.embeddingSpace;
  }

  async search(queries: Float32Array, k: number, options: SearchOptions = {}): Promise<SearchResult> {
    const { ties } = options;
    const found = await this.index.search(queries, k, {
      ...options,
      ties: ties && ((a, b) => ties(this.numbers[a]!, this.numbers[b]!)),
    });
    return { ...found, rows: found.rows.map((row) => this.numbers[row]!) };
  }

  async dispose(): Promise<void> {
    await this.index.dispose();
  }
}

/** Index that streams its vectors for every search. */
class StreamedIndex implements SearchIndex {
  private readonly source: VectorSource;
  private readonly compute: ComputeOptions;

  constructor(source: VectorSource, compute: ComputeOptions) {
    this.source = source;
    this.compute = compute;
  }

  get size(): number {
    return this.source.size;
  }

  get dimension(): number {
    return this.source.dimension;
  }

  get embeddingSpace(): string {
    return this.source.embeddingSpace;
  }

  async search(queries: Float32Array, topK: number, options: SearchOptions = {}): Promise<SearchResult> {
    const B = queries.length / this.dimension;
    const heaps = Array.from({ length: B }, () => new RowHeap(Math.min(topK, this.size), options.ties));
    for await (const { pids, vectors } of this.blocks()) {
      const block = inOrder(pids, vectors, this.dimension);
      const exact = ExactIndex.create(block.vectors, this.dimension, this.compute);
      const index = new NumberedIndex(block.pids, exact);
      const found = await index.search(queries, Math.min(topK, this.size), options);
      for (const [b, heap] of heaps.entries()) {
        for (let i = b * found.k; i < (b + 1) * found.k; i++) heap.offer(found.rows[i]!, found.scores[i]!);
      }
      await index.dispose();
    }
    const best = heaps.map((heap) => heap.take());
    const k = Math.min(...best.map(({ rows }) => rows.length));
    return {
      rows: Int32Array.from(best.flatMap(({ rows }) => [...rows.subarray(0, k)])),
      scores: Float32Array.from(best.flatMap(({ scores }) => [...scores.subarray(0, k)])),
      k,
    };
  }

  async dispose(): Promise<void> {}

  /** Joins what the source gives in parts of other sizes. The arrays of a block are used again for the next. */
  private async *blocks(): AsyncGenerator<{ pids: Int32Array; vectors: Float32Array }> {
    const D = this.dimension;
    const rows = Math.min(BLOCK_ROWS, this.size);
    const pids = new Int32Array(rows);
    const vectors = new Float32Array(rows * D);
    let count = 0;
    for await (const part of this.source.stream()) {
      for (let start = 0; start < part.pids.length; ) {
        const end = Math.min(part.pids.length, start + rows - count);
        pids.set(part.pids.subarray(start, end), count);
        vectors.set(part.vectors.subarray(start * D, end * D), count * D);
        count += end - start;
        start = end;
        if (count < rows) continue;
        yield { pids, vectors };
        count = 0;
      }
    }
    if (count > 0) yield { pids: pids.subarray(0, count), vectors: vectors.subarray(0, count * D) };
  }
}
