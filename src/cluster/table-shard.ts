import { type FileHandle, open } from 'node:fs/promises';
import { blockEnds } from '../models/retriever/encode-blocks.ts';
import { fileError, readAt } from '../util/files.ts';
import { runsOf } from './row-list.ts';
import type { EmbeddedRows, RowTokens, ShardCounts, ShardKeeper, WantedVersion } from './shard-keeper.ts';

/** Rows of a table that are embedded once, by one version: a shard for the time of a refresh. */
export interface TableRows {
  /** Name of the shard in the cluster. */
  readonly shard: string;
  /** Version that embeds all rows. */
  readonly version: WantedVersion;
  /** u32[rows]: document of each row, which is its mark. */
  readonly documents: Uint32Array;
  /** File of i32[rows] lengths and the token ids that follow. */
  readonly tokensFile: string;
  /** Dtype of the token ids. */
  readonly tokens: 'u16' | 'i32';
  /** File that gets f32[rows, D]. It exists, and may be empty. */
  readonly embeddingsFile: string;
}

/**
 * Keeper of the rows of a refresh. Tokens and embeddings lie in files, so that memory holds a few bytes a row. The files are worthless after a
 * crash, and so is the shard: a run that is resumed begins its refresh again, with the weights of its checkpoint.
 */
export class TableShard implements ShardKeeper {
  readonly name: string;
  private readonly table: TableRows;
  private readonly tokenFile: FileHandle;
  private readonly embeddings: FileHandle;
  private readonly lengths: Int32Array;
  /** First token of each row, and the number of all tokens at the end. */
  private readonly starts: Float64Array;
  private readonly ends: Uint32Array;
  private readonly stored: Uint8Array;
  private left: number;
  /** End of the last `put`. */
  private writing: Promise<unknown> = Promise.resolve();

  private constructor(
    table: TableRows,
    files: { readonly tokens: FileHandle; readonly embeddings: FileHandle },
    lengths: Int32Array,
  ) {
    this.name = table.shard;
    this.table = table;
    this.tokenFile = files.tokens;
    this.embeddings = files.embeddings;
    this.lengths = lengths;
    this.starts = new Float64Array(lengths.length + 1);
    for (let row = 0; row < lengths.length; row++) this.starts[row + 1] = this.starts[row]! + lengths[row]!;
    this.ends = blockEnds(lengths);
    this.stored = new Uint8Array(lengths.length);
    this.left = lengths.length;
  }

  /**
   * Opens the files of a table.
   *
   * @throws UndriftError when they cannot be opened
   */
  static async open(table: TableRows): Promise<TableShard> {
    const tokens = await openFile(table.tokensFile, 'r');
    let embeddings: FileHandle | undefined;
    try {
      embeddings = await openFile(table.embeddingsFile, 'r+');
      const bytes = await readAt(tokens, table.tokensFile, 0, 4 * table.documents.length);
      return new TableShard(table, { tokens, embeddings }, new Int32Array(bytes.buffer));
    } catch (error) {
      await tokens.close();
      await embeddings?.close();
      throw error;
    }
  }

  /** Closes the files. */
  async close(): Promise<void> {
    await this.writing;
    await this.tokenFile.close();
    await this.embeddings.close();
  }

  /** Number of rows that are stored. */
  get done(): number {
    return this.lengths.length - this.left;
  }

  /** Finds the last block of which rows are stale; undefined if there is none. */
  get lastStale(): { readonly first: number; readonly end: number } | undefined {
    for (let block = this.ends.length - 1; block >= 0; block--) {
      const [first, end] = [this.ends[block - 1] ?? 0, this.ends[block]!];
      if (this.stored.subarray(first, end).includes(0)) return { first, end };
    }
    return undefined;
  }

  async wanted(): Promise<WantedVersion> {
    return this.table.version;
  }

  async stale({ after, blocks }: { after: number; blocks: number }): Promise<readonly Uint32Array[]> {
    const found: Uint32Array[] = [];
    let first = 0;
    for (const end of this.ends) {
      if (found.length === blocks) break;
      const rows = first > after ? this.staleRows(first, end) : [];
      if (rows.length > 0) found.push(Uint32Array.from(rows));
      first = end;
    }
    return found;
  }

  async tokens(rows: Uint32Array): Promise<RowTokens> {
    const wanted = rows.filter((row) => this.stored[row] === 0);
    const { lengths, starts, table } = this;
    const Tokens = table.tokens === 'u16' ? Uint16Array : Int32Array;
    const total = wanted.reduce((sum, row) => sum + lengths[row]!, 0);
    const tokens = new Tokens(total);
    let at = 0;
    for (const { first, end } of runsOf(wanted)) {
      const count = starts[end]! - starts[first]!;
      const position = 4 * lengths.length + starts[first]! * Tokens.BYTES_PER_ELEMENT;
      const bytes = await readAt(
        this.tokenFile,
        table.tokensFile,
        position,
        count * Tokens.BYTES_PER_ELEMENT,
      );
      tokens.set(new Tokens(bytes.buffer), at);
      at += count;
    }
    return {
      rows: wanted,
      lengths: Int32Array.from(wanted, (row) => lengths[row]!),
      tokens,
      marks: this.marks(wanted),
    };
  }

  /** Returns the marks of rows. */
  marks(rows: Uint32Array): BigUint64Array {
    return BigUint64Array.from(rows, (row) => BigInt(this.table.documents[row]!));
  }

  /** Workers and training may make the same rows at the same time: one is stored after the other. */
  async put(results: readonly EmbeddedRows[]): Promise<number> {
    const stored = this.writing.then(() => this.putNow(results));
    this.writing = stored.catch(() => {});
    return await stored;
  }

  private async putNow(results: readonly EmbeddedRows[]): Promise<number> {
    const { version, documents } = this.table;
    const D = version.dimension;
    let stored = 0;
    for (const { version: made, rows, marks, vectors } of results) {
      if (made !== version.id) continue;
      const kept = Array.from(rows.keys()).filter((i) => {
        const row = rows[i]!;
        return this.stored[row] === 0 && marks[i] === BigInt(documents[row]!);
      });
      for (const { first, end } of runsOf(kept.map((i) => rows[i]!))) {
        // Rows ascend, so that a run of rows is one of vectors.
        const from = rows.indexOf(first);
        await this.write(vectors.subarray(from * D, (from + end - first) * D), first);
        this.stored.fill(1, first, end);
        this.left -= end - first;
        stored += end - first;
      }
    }
    return stored;
  }

  async counts(): Promise<ShardCounts> {
    const { id, step } = this.table.version;
    const { done } = this;
    return {
      rows: this.lengths.length,
      stale: this.left,
      versions: done > 0 ? [{ id, step, rows: done }] : [],
    };
  }

  private staleRows(first: number, end: number): number[] {
    const rows: number[] = [];
    for (let row = first; row < end; row++) if (this.stored[row] === 0) rows.push(row);
    return rows;
  }

  private async write(vectors: Float32Array, row: number): Promise<void> {
    const bytes = new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength);
    const position = row * this.table.version.dimension * vectors.BYTES_PER_ELEMENT;
    try {
      for (let done = 0; done < bytes.length; ) {
        const left = bytes.length - done;
        done += (await this.embeddings.write(bytes, done, left, position + done)).bytesWritten;
      }
    } catch (error) {
      throw fileError(error, this.table.embeddingsFile, 'write');
    }
  }
}

async function openFile(file: string, flags: string): Promise<FileHandle> {
  try {
    return await open(file, flags);
  } catch (error) {
    throw fileError(error, file, flags === 'r' ? 'read' : 'write');
  }
}
