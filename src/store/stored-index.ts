import { totalmem } from 'node:os';
import type { ComputeOptions } from '../runtime/devices.ts';
import { ExactIndex } from '../search/exact-search.ts';
import type { SearchIndex, SearchOptions, SearchResult } from '../search/search-index.ts';
import { RowHeap } from '../text/row-heap.ts';
import { UndriftError } from '../util/errors.ts';
import type { EmbeddingTable } from './embedding-table.ts';

/** Share of the machine's memory that vectors may take before each search reads them from the disk. */
const MEMORY_SHARE = 0.4;
/** Rows that are read and scored at once where the vectors do not stay in memory. */
const BLOCK_ROWS = 32_768;

/** Settings of {@link openStoredIndex}. */
export interface StoredIndexOptions extends ComputeOptions {
  /** Id of the space of the embeddings. */
  readonly embeddingSpace: string;
  /** Most bytes of vectors to keep in memory. Default 40 % of the machine's. */
  readonly memoryBytes?: number | undefined;
  /** Numbers of the passages to search. Default all. */
  readonly among?: ReadonlySet<number> | undefined;
}

/**
 * Makes an index for exact search over the embeddings of a table. The rows of its results are numbers of passages, and equal scores
 * are ordered by them.
 *
 * The vectors are kept in memory if they fit; otherwise each search streams them from the disk in blocks, and takes several queries
 * at the cost of one.
 */
export async function openStoredIndex(
  table: EmbeddingTable,
  options: StoredIndexOptions,
): Promise<SearchIndex> {
  const { among, memoryBytes = MEMORY_SHARE * totalmem() } = options;
  const size = among?.size ?? (await table.count());
  if (size === 0) return new EmptyIndex(table.dimension, options.embeddingSpace);
  // Tables are read in the order of their rows, and put into that of the passages' numbers: for a moment there are two copies.
  return 2 * size * table.dimension * 4 <= memoryBytes
    ? await loadIndex(table, size, options)
    : new StreamedIndex(table, size, options);
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
async function loadIndex(
  table: EmbeddingTable,
  size: number,
  { among, embeddingSpace, memoryBytes: _, ...compute }: StoredIndexOptions,
): Promise<SearchIndex> {
  const D = table.dimension;
  const pids = new Int32Array(size);
  const vectors = new Float32Array(size * D);
  let count = 0;
  for await (const part of among ? table.read([...among]) : table.stream()) {
    if (count + part.pids.length > size) throw new UndriftError('the table grew while it was read');
    pids.set(part.pids, count);
    vectors.set(part.vectors, count * D);
    count += part.pids.length;
  }
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

/** Index that reads its vectors from the disk for every search. */
class StreamedIndex implements SearchIndex {
  readonly size: number;
  readonly embeddingSpace: string;
  private readonly table: EmbeddingTable;
  private readonly options: StoredIndexOptions;

  constructor(table: EmbeddingTable, size: number, options: StoredIndexOptions) {
    this.size = size;
    this.table = table;
    this.options = options;
    this.embeddingSpace = options.embeddingSpace;
  }

  get dimension(): number {
    return this.table.dimension;
  }

  async search(queries: Float32Array, topK: number, options: SearchOptions = {}): Promise<SearchResult> {
    const B = queries.length / this.dimension;
    const k = Math.min(topK, this.size);
    const heaps = Array.from({ length: B }, () => new RowHeap(k, options.ties));
    for await (const { pids, vectors } of this.blocks()) {
      const block = inOrder(pids, vectors, this.dimension);
      const index = new NumberedIndex(
        block.pids,
        ExactIndex.create(block.vectors, this.dimension, this.options),
      );
      const found = await index.search(queries, k, options);
      for (const [b, heap] of heaps.entries()) {
        for (let i = b * found.k; i < (b + 1) * found.k; i++) heap.offer(found.rows[i]!, found.scores[i]!);
      }
      await index.dispose();
    }
    const best = heaps.map((heap) => heap.take());
    const least = Math.min(...best.map(({ rows }) => rows.length));
    return {
      rows: Int32Array.from(best.flatMap(({ rows }) => [...rows.subarray(0, least)])),
      scores: Float32Array.from(best.flatMap(({ scores }) => [...scores.subarray(0, least)])),
      k: least,
    };
  }

  async dispose(): Promise<void> {}

  /** Collects what the table gives in parts of other sizes. The arrays of a block are used again for the next. */
  private async *blocks(): AsyncGenerator<{ pids: Int32Array; vectors: Float32Array }> {
    const D = this.dimension;
    const { among } = this.options;
    const rows = Math.min(BLOCK_ROWS, this.size);
    const pids = new Int32Array(rows);
    const vectors = new Float32Array(rows * D);
    let count = 0;
    for await (const part of this.table.stream()) {
      for (let i = 0; i < part.pids.length; i++) {
        if (among && !among.has(part.pids[i]!)) continue;
        pids[count] = part.pids[i]!;
        vectors.set(part.vectors.subarray(i * D, (i + 1) * D), count * D);
        count += 1;
        if (count < rows) continue;
        yield { pids, vectors };
        count = 0;
      }
    }
    if (count > 0) yield { pids: pids.subarray(0, count), vectors: vectors.subarray(0, count * D) };
  }
}
