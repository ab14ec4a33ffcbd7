import type { RowLists } from '../../data/examples.ts';
import { findModel } from '../../models/folder/find-model.ts';
import { loadRetriever } from '../../models/folder/model-folder.ts';
import { embeddingSpaceId } from '../../models/retriever/embedding-space.ts';
import type { Retriever, Side } from '../../models/retriever/retriever.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { UndriftError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { positionsIn } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';

/** Texts embedded together. */
const BLOCK = 32;

/**
 * Embeddings of the training texts by a guide model. Each text is embedded at most once, when a batch first needs it, and kept.
 *
 * Texts are embedded in blocks with fixed members: the bits of a vector do not depend on which batch needs it first, and a
 * resumed run sees the same vectors. Memory: 4 bytes for each number of the texts embedded so far.
 */
export class GuideEmbeddings {
  private readonly context: MethodContext;
  private readonly guide: Retriever;
  private readonly sides: Readonly<Record<Side, SideTexts>>;

  private constructor(context: MethodContext, guide: Retriever) {
    const { queryRows, positives, negatives } = context.examples;
    this.context = context;
    this.guide = guide;
    this.sides = {
      query: new SideTexts(queryRows, context.queries.rows, guide.dimension),
      document: new SideTexts(allRows(positives, negatives), context.documents.rows, guide.dimension),
    };
  }

  /**
   * Loads the guide.
   *
   * @param folder  folder of the guide: a model or a run
   * @throws UsageError where there is no model
   */
  static async load(context: MethodContext, folder: string): Promise<GuideEmbeddings> {
    const { onNote } = context;
    const found = await findModel(folder, [], { option: 'guide' });
    const guide = await loadRetriever(found, {
      ...(onNote && {
        onNote: (note: string, marked = note) => onNote(`guide: ${note}`, `guide: ${marked}`),
      }),
    });
    return new GuideEmbeddings(context, guide);
  }

  /**
   * Returns the guide's embeddings of texts, f32[rows, D of the guide]. They have length one only where the guide normalises.
   *
   * @param rows  rows of the side's corpus, all of them training texts
   */
  async of(side: Side, rows: Int32Array): Promise<HostTensor> {
    const texts = this.sides[side];
    for (const block of texts.missing(rows)) await this.embed(side, block);
    const { dimension } = this.guide;
    const out = new Float32Array(rows.length * dimension);
    for (const [i, row] of rows.entries()) out.set(texts.vector(row), i * dimension);
    return hostTensor('f32', [rows.length, dimension], out);
  }

  /** Returns, for a checkpoint, which texts the ledger has counted, and the embedding space of the guide. */
  state(): Readonly<Record<string, HostTensor>> {
    const bytes = (data: Uint8Array<ArrayBuffer>) => hostTensor('u8', [data.length], data);
    return {
      'guide/query': bytes(this.sides.query.counted),
      'guide/document': bytes(this.sides.document.counted),
      'guide/space': bytes(Uint8Array.from(Buffer.from(embeddingSpaceId(this.guide)))),
    };
  }

  /**
   * Restores the counts of a checkpoint.
   *
   * @throws UndriftError where the run had another guide, or other data
   */
  restore(state: Readonly<Record<string, HostTensor>>): void {
    const space = state['guide/space'];
    const id = embeddingSpaceId(this.guide);
    if (!space || Buffer.from(space.data as Uint8Array).toString() !== id) {
      throw new UndriftError('the guide is not the one that the run was started with', {
        help: `put the same model into the folder of ${option('guide')}, or start the run anew with ${option('overwrite', true)}`,
      });
    }
    for (const side of ['query', 'document'] as const) {
      const stored = state[`guide/${side}`];
      if (stored?.data.length !== this.sides[side].counted.length) {
        throw new UndriftError('the checkpoint is that of a run on other data', {
          help: `start the run anew with ${option('overwrite', true)}`,
        });
      }
      this.sides[side].counted.set(stored.data as Uint8Array);
    }
  }

  /** Frees the guide. */
  async dispose(): Promise<void> {
    await this.guide.dispose();
  }

  private async embed(side: Side, block: number): Promise<void> {
    const { compute, ledger, texts } = this.context;
    const own = this.sides[side];
    const rows = own.rowsOf(block);
    const strings = Array.from(rows, side === 'query' ? texts.query : texts.document);
    own.fill(block, await this.guide.encode(side, strings, compute));
    // The ledger of a resumed run has counted texts that were embedded before the stop.
    if (own.counted[block] === 0) {
      if (side === 'query') ledger.queries(rows.length);
      else ledger.documents('guide', rows.length);
      own.counted[block] = 1;
    }
    ledger.cache(this.sides.query.bytes + this.sides.document.bytes);
  }
}

const allRows = (...lists: (RowLists | undefined)[]): Int32Array =>
  Int32Array.from(lists.flatMap((list) => (list ? [...list.rows] : [])));

/** Training texts of one side, in blocks. */
class SideTexts {
  /** Rows of the texts, ascending, each once. */
  private readonly used: Int32Array;
  /** Place in `used` of each row. */
  private readonly placeOf: Int32Array;
  /** f32[block, D]: vectors of the blocks embedded so far. */
  private readonly blocks: (Float32Array | undefined)[];
  private readonly dimension: number;
  /** 1 for each block that the ledger has counted. */
  readonly counted: Uint8Array<ArrayBuffer>;
  bytes = 0;

  constructor(rows: Int32Array, corpusRows: number, dimension: number) {
    const isUsed = new Uint8Array(corpusRows);
    for (const row of rows) isUsed[row] = 1;
    this.used = Int32Array.from({ length: corpusRows }, (_, row) => row).filter((row) => isUsed[row] === 1);
    this.placeOf = positionsIn(this.used, corpusRows);
    this.dimension = dimension;
    const blocks = Math.ceil(this.used.length / BLOCK);
    this.blocks = new Array(blocks);
    this.counted = new Uint8Array(blocks);
  }

  /** Returns the blocks of these rows that are still to be embedded, each once. */
  missing(rows: Int32Array): Set<number> {
    const missing = new Set<number>();
    for (const row of rows) {
      const block = Math.floor(this.placeOf[row]! / BLOCK);
      if (block < 0) throw new UndriftError(`row ${row} is no training text`);
      if (!this.blocks[block]) missing.add(block);
    }
    return missing;
  }

  rowsOf(block: number): Int32Array {
    return this.used.subarray(block * BLOCK, (block + 1) * BLOCK);
  }

  fill(block: number, vectors: Float32Array): void {
    this.blocks[block] = vectors;
    this.bytes += vectors.byteLength;
  }

  vector(row: number): Float32Array {
    const place = this.placeOf[row]!;
    const at = (place % BLOCK) * this.dimension;
    return this.blocks[Math.floor(place / BLOCK)]!.subarray(at, at + this.dimension);
  }
}
