import type { Table as ArrowTable, Schema } from 'apache-arrow';
import type { Lance } from './lance.ts';

/** Passage as it is stored. */
export interface PassageRow {
  /** Number of the passage in the store; never used again. */
  readonly pid: number;
  /** Id that the user knows it by, unique. */
  readonly id: string;
  /** Title, empty if there is none. */
  readonly title: string;
  /** Text without the title. */
  readonly text: string;
  /** Further fields as JSON; null if there are none. */
  readonly metadata: string | null;
  /** Digest of title, text and metadata. */
  readonly digest: string;
  /** Index terms, separated by spaces. */
  readonly terms: string;
}

/** Columns of the table of passages. */
export function passageSchema({ arrow }: Lance): Schema {
  const { Field, Int32, Schema, Utf8 } = arrow;
  const json = new Map([['ARROW:extension:name', 'arrow.json']]);
  return new Schema([
    new Field('pid', new Int32(), false),
    new Field('id', new Utf8(), false),
    new Field('title', new Utf8(), false),
    new Field('text', new Utf8(), false),
    new Field('metadata', new Utf8(), true, json),
    new Field('digest', new Utf8(), false),
    new Field('terms', new Utf8(), false),
  ]);
}

/** Converts passages to columns. */
export function passageColumns(lance: Lance, rows: readonly PassageRow[]): ArrowTable {
  const { Table, Utf8, vectorFromArray } = lance.arrow;
  const texts = (name: Exclude<keyof PassageRow, 'pid'>) =>
    vectorFromArray(
      rows.map((row) => row[name]),
      new Utf8(),
    );
  return new Table(passageSchema(lance), {
    pid: vectorFromArray(Int32Array.from(rows, ({ pid }) => pid)),
    id: texts('id'),
    title: texts('title'),
    text: texts('text'),
    metadata: texts('metadata'),
    digest: texts('digest'),
    terms: texts('terms'),
  });
}

/** Embeddings of some passages. */
export interface EmbeddingRows {
  /** Numbers of the passages. */
  readonly pids: Int32Array;
  /** f32[rows, D], row-major. */
  readonly vectors: Float32Array;
  /** Training steps of the encoder that made each row. */
  readonly steps: Int32Array;
  /** Time at which each row was made, in milliseconds since 1970. */
  readonly times: Float64Array;
}

/**
 * Stamps embeddings that one encoder has just made.
 *
 * @param step  training steps of the encoder
 */
export const stampNow = (pids: Int32Array, vectors: Float32Array, step: number): EmbeddingRows => ({
  pids,
  vectors,
  steps: new Int32Array(pids.length).fill(step),
  times: new Float64Array(pids.length).fill(Date.now()),
});

/** Columns of a table of embeddings. */
export function embeddingSchema({ arrow }: Lance, dimension: number): Schema {
  const { Field, FixedSizeList, Float32, Float64, Int32, Schema } = arrow;
  return new Schema([
    new Field('pid', new Int32(), false),
    new Field('vector', new FixedSizeList(dimension, new Field('item', new Float32(), true)), false),
    new Field('step', new Int32(), false),
    new Field('time', new Float64(), false),
    new Field('version', new Int32(), false),
  ]);
}

/**
 * Converts embeddings to columns; the numbers are not copied.
 *
 * @param versions  version of the table that each row is written for. A row of equal number and version is equal in all versions of
 *   the table, so that a reader of an earlier one knows what has changed.
 */
export function embeddingColumns(lance: Lance, rows: EmbeddingRows, versions: Int32Array): ArrowTable {
  const { Field, FixedSizeList, Float32, Float64, Int32, makeData, RecordBatch, Struct, Table } = lance.arrow;
  const { pids, vectors, steps, times } = rows;
  const length = pids.length;
  const dimension = vectors.length / Math.max(1, length);
  const child = makeData({ type: new Float32(), data: vectors, length: vectors.length, nullCount: 0 });
  const list = new FixedSizeList(dimension, new Field('item', new Float32(), true));
  const schema = embeddingSchema(lance, dimension);
  const children = [
    makeData({ type: new Int32(), data: pids, length, nullCount: 0 }),
    makeData({ type: list, length, nullCount: 0, child }),
    makeData({ type: new Int32(), data: steps, length, nullCount: 0 }),
    makeData({ type: new Float64(), data: times, length, nullCount: 0 }),
    makeData({ type: new Int32(), data: versions, length, nullCount: 0 }),
  ];
  const data = makeData({ type: new Struct(schema.fields), length, nullCount: 0, children });
  return new Table([new RecordBatch(schema, data)]);
}
