import { totalmem } from 'node:os';
import type { ComputeOptions } from '../runtime/devices.ts';
import { BLOCK_ROWS, BlockSearch } from '../search/block-search.ts';
import {
  checkSpace,
  type SearchIndex,
  type SearchOptions,
  type SearchResult,
} from '../search/search-index.ts';
import { RowHeap } from '../text/row-heap.ts';
import { type MatrixChange, VectorMatrix } from './vector-matrix.ts';
import type { NumberedVectors, RowFilter, VectorSource } from './vector-source.ts';

/** Share of the machine's memory that vectors may take before each search reads them from the disk. */
const MEMORY_SHARE = 0.4;
/** Share of wanted passages from which on searching among all takes less time than copying the wanted rows. */
const LARGE_SHARE = 0.1;

/** Settings of {@link openStoredIndex}. */
export interface StoredIndexOptions extends ComputeOptions {
  /** Most bytes of vectors to keep in memory. Default 40 % of the machine's. */
  readonly memoryBytes?: number | undefined;
}

/** Index for exact search over stored vectors. Rows of its results are numbers of passages; equal scores are ordered by them. */
export interface StoredIndex extends SearchIndex {
  /** Searches among wanted passages only; see `search`. */
  searchAmong(queries: Float32Array, k: number, isWanted: RowFilter): Promise<SearchResult>;
  /** Computes the inner products of a query with some passages; undefined if the vectors are not in memory. */
  readonly scores: ((query: Float32Array, pids: Int32Array) => Float32Array) | undefined;
  /**
   * Reads how a later state of the source differs, while the index is in use.
   *
   * @returns  the difference; undefined if another index should be opened instead
   */
  changes(source: VectorSource): Promise<MatrixChange | undefined>;
  /** Makes a change that `changes` has read. The index must not be in use. */
  apply(change: MatrixChange): void;
}

/**
 * Makes an index for exact search over stored vectors.
 *
 * The vectors are kept in memory if they fit; otherwise each search streams them in blocks, and takes several queries at the cost of
 * one. The source must not be disposed of before the index.
 */
export async function openStoredIndex(
  source: VectorSource,
  options: StoredIndexOptions = {},
): Promise<StoredIndex> {
  const { memoryBytes = MEMORY_SHARE * totalmem(), ...compute } = options;
  const { size, dimension } = source;
  // Two copies: those of the former model stay in memory while those of a new one are read.
  const fits = 2 * size * dimension * 4 <= memoryBytes;
  return fits
    ? new MatrixIndex(await VectorMatrix.load(source), source, compute)
    : new StreamedIndex(source, compute);
}

/** Index over vectors in memory. */
class MatrixIndex implements StoredIndex {
  readonly dimension: number;
  readonly embeddingSpace: string;
  readonly scores = (query: Float32Array, pids: Int32Array): Float32Array => this.matrix.scores(query, pids);
  private readonly matrix: VectorMatrix;
  private readonly blocks: BlockSearch;

  constructor(
    matrix: VectorMatrix,
    { dimension, embeddingSpace }: Pick<VectorSource, 'dimension' | 'embeddingSpace'>,
    compute: ComputeOptions,
  ) {
    this.matrix = matrix;
    this.dimension = dimension;
    this.embeddingSpace = embeddingSpace;
    this.blocks = new BlockSearch(dimension, compute);
  }

  get size(): number {
    return this.matrix.size;
  }

  async search(queries: Float32Array, k: number, options: SearchOptions = {}): Promise<SearchResult> {
    checkSpace(this.embeddingSpace, options.embeddingSpace);
    return await searchNumbered(this.blocks, this.matrix, queries, k, options);
  }

  async searchAmong(queries: Float32Array, k: number, isWanted: RowFilter): Promise<SearchResult> {
    const rows = this.matrix.select(isWanted);
    if (rows.length === this.size) return await this.search(queries, k);
    const share = rows.length / Math.max(1, this.size);
    if (share >= LARGE_SHARE) {
      const found = await this.search(queries, Math.ceil((2 * k) / share));
      const kept = keepRows(found, (pid) => this.matrix.has(pid, isWanted), Math.min(k, rows.length));
      if (kept) return kept;
    }
    return await searchBlocks(this.blocks, this.gathered(rows), queries, Math.min(k, rows.length));
  }

  async changes(source: VectorSource): Promise<MatrixChange | undefined> {
    return await this.matrix.changes(source);
  }

  apply(change: MatrixChange): void {
    this.matrix.apply(change);
  }

  async dispose(): Promise<void> {
    await this.blocks.dispose();
  }

  /** Copies rows, block by block, into memory that is used again for the next block. */
  private *gathered(rows: Int32Array): Generator<NumberedVectors> {
    const { dimension: D } = this;
    const { pids, vectors } = this.matrix;
    const block = new Float32Array(Math.min(rows.length, BLOCK_ROWS) * D);
    for (let start = 0; start < rows.length; start += BLOCK_ROWS) {
      const part = rows.subarray(start, start + BLOCK_ROWS);
      for (const [to, row] of part.entries()) block.set(vectors.subarray(row * D, (row + 1) * D), to * D);
      yield { pids: part.map((row) => pids[row]!), vectors: block.subarray(0, part.length * D) };
    }
  }
}

/** Index that streams its vectors for every search. */
class StreamedIndex implements StoredIndex {
  readonly scores = undefined;
  private readonly source: VectorSource;
  private readonly blocks: BlockSearch;

  constructor(source: VectorSource, compute: ComputeOptions) {
    this.source = source;
    this.blocks = new BlockSearch(source.dimension, compute);
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

  async search(queries: Float32Array, k: number, options: SearchOptions = {}): Promise<SearchResult> {
    checkSpace(this.embeddingSpace, options.embeddingSpace);
    return await searchBlocks(this.blocks, this.joined(), queries, Math.min(k, this.size), options);
  }

  async searchAmong(queries: Float32Array, k: number, isWanted: RowFilter): Promise<SearchResult> {
    return await searchBlocks(this.blocks, this.joined(isWanted), queries, Math.min(k, this.size));
  }

  async changes(): Promise<undefined> {
    return undefined;
  }

  apply(): void {}

  async dispose(): Promise<void> {
    await this.blocks.dispose();
  }

  /** Joins what the source gives in parts of other sizes. The arrays of a block are used again for the next. */
  private async *joined(isWanted?: RowFilter): AsyncGenerator<NumberedVectors> {
    const D = this.dimension;
    const rows = Math.min(BLOCK_ROWS, this.size);
    const pids = new Int32Array(rows);
    const vectors = new Float32Array(rows * D);
    let count = 0;
    for await (const part of this.source.stream(isWanted)) {
      for (let start = 0; start < part.pids.length; ) {
        const end = Math.min(part.pids.length, start + rows - count);
        pids.set(part.pids.subarray(start, end), count);
        vectors.set(part.vectors.subarray(start * D, end * D), count * D);
        count += end - start;
        start = end;
        if (count < rows) continue;
        yield inOrder({ pids, vectors }, D);
        count = 0;
      }
    }
    if (count > 0)
      yield inOrder({ pids: pids.subarray(0, count), vectors: vectors.subarray(0, count * D) }, D);
  }
}

/** Sorts rows by the numbers of their passages; rows that are in order are returned as they are. */
function inOrder({ pids, vectors }: NumberedVectors, D: number): NumberedVectors {
  if (pids.every((pid, i) => i === 0 || pids[i - 1]! < pid)) return { pids, vectors };
  const order = Uint32Array.from(pids, (_, i) => i).sort((a, b) => pids[a]! - pids[b]!);
  const sorted = new Float32Array(vectors.length);
  for (const [to, from] of order.entries()) sorted.set(vectors.subarray(from * D, (from + 1) * D), to * D);
  return { pids: Int32Array.from(order, (row) => pids[row]!), vectors: sorted };
}

/** Keeps the k best wanted rows of each query; undefined if a query has not as many. */
function keepRows(
  found: SearchResult,
  isWanted: (pid: number) => boolean,
  k: number,
): SearchResult | undefined {
  const queries = found.rows.length / Math.max(1, found.k);
  const kept = { rows: new Int32Array(queries * k), scores: new Float32Array(queries * k), k };
  for (let query = 0; query < queries; query++) {
    let count = 0;
    for (let i = query * found.k; i < (query + 1) * found.k && count < k; i++) {
      if (!isWanted(found.rows[i]!)) continue;
      kept.rows[query * k + count] = found.rows[i]!;
      kept.scores[query * k + count++] = found.scores[i]!;
    }
    if (count < k) return undefined;
  }
  return kept;
}

/** Searches in rows whose numbers are ascending. */
async function searchNumbered(
  blocks: BlockSearch,
  { pids, vectors }: NumberedVectors,
  queries: Float32Array,
  k: number,
  { ties, onProgress }: SearchOptions = {},
): Promise<SearchResult> {
  const found = await blocks.search(vectors, queries, k, {
    onProgress,
    ties: ties && ((a, b) => ties(pids[a]!, pids[b]!)),
  });
  return { ...found, rows: found.rows.map((row) => pids[row]!) };
}

/** Searches in rows that come block by block. */
async function searchBlocks(
  blocks: BlockSearch,
  rows: Iterable<NumberedVectors> | AsyncIterable<NumberedVectors>,
  queries: Float32Array,
  topK: number,
  options: SearchOptions = {},
): Promise<SearchResult> {
  const heaps = Array.from(
    { length: queries.length / blocks.dimension },
    () => new RowHeap(topK, options.ties),
  );
  for await (const block of rows) {
    const found = await searchNumbered(blocks, block, queries, topK, options);
    for (const [b, heap] of heaps.entries()) {
      for (let i = b * found.k; i < (b + 1) * found.k; i++) heap.offer(found.rows[i]!, found.scores[i]!);
    }
  }
  const best = heaps.map((heap) => heap.take());
  const k = best[0]?.rows.length ?? 0;
  return {
    rows: Int32Array.from(best.flatMap(({ rows }) => [...rows])),
    scores: Float32Array.from(best.flatMap(({ scores }) => [...scores])),
    k,
  };
}
