import type { Table } from '@lancedb/lancedb';
import type { RecordBatch } from 'apache-arrow';
import { RowHeap } from '../text/row-heap.ts';
import { type EmbeddingRows, embeddingColumns } from './columns.ts';
import type { Lance } from './lance.ts';
import { inParts, isOneOf } from './sql.ts';
import { needsUpkeep } from './upkeep.ts';

/** Index for approximate search. */
export type ApproximateKind = 'ivf' | 'hnsw';

/** Settings of one approximate search. */
export interface ApproximateOptions {
  /** Partitions that are searched. More find more of the best rows and take longer. Default 32. */
  readonly probes?: number | undefined;
  /** Candidates for each result whose scores are computed from their vectors. Default 10, or 30 where the vectors are in memory. */
  readonly refine?: number | undefined;
}

/** Numbers of passages, each with the version of the table that its row was written for. */
export interface RowVersions {
  readonly pids: Int32Array;
  /** Versions. A row of equal number and version is equal in all versions of the table. */
  readonly versions: Int32Array;
}

/** Rows of the best scores, best first. */
export interface ScoredRows {
  readonly pids: Int32Array;
  /** Inner products with the query, descending. */
  readonly scores: Float32Array;
}

const INDEX_FROM_ROWS = 10_000;

/** Candidates for each result by default, where their vectors are read from the table and where they are in memory. */
const REFINE = 10;
const REFINE_IN_MEMORY = 30;

/** Embeddings of one space, in one version of their table. */
export class EmbeddingTable {
  /** Embedding size D. */
  readonly dimension: number;
  private readonly lance: Lance;
  private readonly table: Table;

  constructor(lance: Lance, table: Table, dimension: number) {
    this.lance = lance;
    this.table = table;
    this.dimension = dimension;
  }

  /** Number of embeddings. */
  async count(): Promise<number> {
    return await this.table.countRows();
  }

  /** Streams all embeddings in the order of the table, in parts that are views of LanceDB's memory. */
  async *stream(): AsyncGenerator<EmbeddingRows> {
    for await (const batch of this.table.query()) yield this.rowsOf(batch);
  }

  /** Streams the numbers of the passages that have an embedding. */
  async *pids(): AsyncGenerator<Int32Array> {
    for await (const batch of this.table.query().select(['pid'])) {
      yield batch.getChild('pid')!.toArray() as Int32Array;
    }
  }

  /** Streams embeddings by the numbers of their passages, in the order of the table within each thousand. */
  async *read(pids: readonly number[]): AsyncGenerator<EmbeddingRows> {
    for (const part of inParts(pids)) {
      for await (const batch of this.table.query().where(isOneOf('pid', part))) yield this.rowsOf(batch);
    }
  }

  /** Tells which of some passages have an embedding, of a training step from `fromStep` on. */
  async having(pids: readonly number[], fromStep = 0): Promise<Set<number>> {
    const found = new Set<number>();
    for (const part of inParts(pids)) {
      const condition = isOneOf('pid', part) + (fromStep > 0 ? ` AND step >= ${fromStep}` : '');
      const query = this.table.query().where(condition).select(['pid']);
      for await (const batch of query) for (const pid of batch.getChild('pid')!.toArray()) found.add(pid);
    }
    return found;
  }

  /** Streams the numbers of the passages with the version of the table that each row was written for. */
  async *versions(): AsyncGenerator<RowVersions> {
    for await (const batch of this.table.query().select(['pid', 'version'])) {
      yield {
        pids: batch.getChild('pid')!.toArray() as Int32Array,
        versions: batch.getChild('version')!.toArray() as Int32Array,
      };
    }
  }

  /** Appends embeddings of passages that have none. */
  async add(rows: EmbeddingRows): Promise<void> {
    if (rows.pids.length > 0) await this.table.add(await this.columns(rows));
  }

  /** Adds embeddings, in place of those that the passages have if these are of an earlier step. */
  async put(rows: EmbeddingRows): Promise<void> {
    if (rows.pids.length === 0) return;
    await this.table
      .mergeInsert('pid')
      .whenMatchedUpdateAll({ where: 'target.step <= source.step' })
      .whenNotMatchedInsertAll()
      .execute(await this.columns(rows));
  }

  /** Removes the embeddings of passages. */
  async remove(pids: readonly number[]): Promise<void> {
    for (const part of inParts(pids)) await this.table.delete(isOneOf('pid', part));
  }

  /** Streams passage number, training step and time of each embedding, in the order of the table. */
  async *stamps(): AsyncGenerator<Omit<EmbeddingRows, 'vectors'>> {
    for await (const batch of this.table.query().select(['pid', 'step', 'time'])) {
      yield {
        pids: batch.getChild('pid')!.toArray() as Int32Array,
        steps: batch.getChild('step')!.toArray() as Int32Array,
        times: batch.getChild('time')!.toArray() as Float64Array,
      };
    }
  }

  /** Kind of the index for approximate search; undefined if there is none. */
  async approximate(): Promise<ApproximateKind | undefined> {
    const index = (await this.table.listIndices()).find(({ columns }) => columns.includes('vector'));
    if (!index) return undefined;
    return index.indexType.toLowerCase().includes('hnsw') ? 'hnsw' : 'ivf';
  }

  /**
   * Builds the index for approximate search anew.
   *
   * `ivf`: inverted lists with one bit a dimension (RaBitQ), which take D / 8 bytes a row; where D is not a multiple of 8, with copies of
   * the vectors, 4 D bytes a row. `hnsw`: a graph over rows of one byte a dimension, which takes several times as long to build and is larger.
   */
  async buildApproximate(kind: ApproximateKind, partitions: number): Promise<void> {
    const { Index } = this.lance.lancedb;
    await this.rewrite();
    const lists = { distanceType: 'dot', numPartitions: partitions } as const;
    // LanceDB packs eight dimensions of RaBitQ into a byte.
    const ivf = () =>
      this.dimension % 8 === 0 ? Index.ivfRq({ ...lists, numBits: 1 }) : Index.ivfFlat(lists);
    const hnsw = () => Index.hnswSq({ distanceType: 'dot', numPartitions: 1, m: 20, efConstruction: 100 });
    const config = kind === 'hnsw' ? hnsw() : ivf();
    await this.table.createIndex('vector', { config, replace: true });
  }

  /**
   * Finds about the k best rows by the index for approximate search.
   *
   * @param scoresOf  computes the inner products of the query with the vectors of some passages. Default: they are read from the table
   */
  async searchApproximately(
    query: Float32Array,
    k: number,
    { probes = 32, refine }: ApproximateOptions = {},
    scoresOf?: (query: Float32Array, pids: Int32Array) => Float32Array,
  ): Promise<ScoredRows> {
    const search = this.table.query().nearestTo(query).distanceType('dot').nprobes(probes);
    const limited = scoresOf
      ? search.limit(k * (refine ?? REFINE_IN_MEMORY))
      : search.refineFactor(refine ?? REFINE).limit(k);
    const rows = await limited.select(['pid', '_distance']).toArrow();
    const pids = (rows.getChild('pid')?.toArray() ?? new Int32Array(0)) as Int32Array;
    const scores = scoresOf
      ? scoresOf(query, pids)
      : Float32Array.from(rows.getChild('_distance')?.toArray() ?? [], (distance: number) => 1 - distance);
    const heap = new RowHeap(Math.min(k, pids.length));
    for (const [i, pid] of pids.entries()) heap.offer(pid, scores[i]!);
    const best = heap.take();
    return { pids: best.rows, scores: best.scores };
  }

  /**
   * Makes or extends the indices, and merges small files, if that is worth its cost.
   *
   * @param unneededBefore  versions older than this are deleted
   */
  async optimize(unneededBefore: Date): Promise<void> {
    const { Index } = this.lance.lancedb;
    const indexed = new Set((await this.table.listIndices()).flatMap(({ columns }) => columns));
    if (!indexed.has('pid') && (await this.table.countRows()) >= INDEX_FROM_ROWS) {
      await this.table.createIndex('pid', { config: Index.btree() });
    }
    if (!(await needsUpkeep(this.table))) return;
    await this.table.optimize({ cleanupOlderThan: unneededBefore });
  }

  /** Writes all rows anew. LanceDB samples a table with few deleted rows so slowly that an index would take hours. */
  private async rewrite(): Promise<void> {
    let mode: 'overwrite' | 'append' = 'overwrite';
    // The query reads the version of its start, whatever is written meanwhile.
    for await (const batch of this.table.query()) {
      const versions = batch.getChild('version')!.toArray() as Int32Array;
      await this.table.add(embeddingColumns(this.lance, this.rowsOf(batch), versions), { mode });
      mode = 'append';
    }
  }

  /** Columns of rows that the next version of the table holds. */
  private async columns(rows: EmbeddingRows) {
    const next = (await this.table.version()) + 1;
    return embeddingColumns(this.lance, rows, new Int32Array(rows.pids.length).fill(next));
  }

  private rowsOf(batch: RecordBatch): EmbeddingRows {
    const list = batch.getChild('vector')!.data[0]!;
    const values = list.children[0]!.values as Float32Array;
    const from = list.offset * this.dimension;
    return {
      pids: batch.getChild('pid')!.toArray() as Int32Array,
      vectors: values.subarray(from, from + batch.numRows * this.dimension),
      steps: batch.getChild('step')!.toArray() as Int32Array,
      times: batch.getChild('time')!.toArray() as Float64Array,
    };
  }
}
