import { ScoreTable } from '../src/cache/score-table.ts';
import { normal, randomInts, rngKey } from '../src/util/rng.ts';

/** Number of rows that are made, inserted or refreshed together. */
export const PIECE_ROWS = 16_384;

/** Makes random rows of unit length, f32[rows, dimension], that depend on `purpose`. */
export function unitRows(rows: number, dimension: number, purpose: string): Float32Array<ArrayBuffer> {
  const values = new Float32Array(rows * dimension);
  normal(rngKey(1, 0, purpose), values);
  normalise(values, dimension);
  return values;
}

/** Scales each row to unit length, in place. */
export function normalise(values: Float32Array, dimension: number): void {
  for (let start = 0; start < values.length; start += dimension) {
    let square = 0;
    for (let i = start; i < start + dimension; i++) square += values[i]! ** 2;
    const factor = 1 / Math.sqrt(square);
    for (let i = start; i < start + dimension; i++) values[i]! *= factor;
  }
}

/** Divides `rows` rows into pieces [first, end). */
export function* pieces(rows: number): Iterable<{ first: number; end: number }> {
  for (let first = 0; first < rows; first += PIECE_ROWS)
    yield { first, end: Math.min(rows, first + PIECE_ROWS) };
}

/** Returns the integers first, …, end − 1. */
export const range = (first: number, end: number): Int32Array<ArrayBuffer> =>
  Int32Array.from({ length: end - first }, (_, i) => first + i);

/** Fills a table with documents 0, 1, … of random directions. */
export function fillTable(table: ScoreTable): void {
  for (const { first, end } of pieces(table.rows)) {
    const embeddings = unitRows(end - first, table.dimension, `table/${first}`);
    table.insert(range(first, end), embeddings, { version: 0 });
  }
}

/** Makes a table filled with documents of random directions. */
export function randomTable(options: {
  rows: number;
  dimension: number;
  storage: 'f32' | 'f16';
}): ScoreTable {
  const table = new ScoreTable({ ...options, documents: 2 * options.rows });
  fillTable(table);
  return table;
}

/** Makes a table of documents on √rows topics: the sum of a topic's direction and of one of their own, which is a little longer. */
export function topicTable(options: { rows: number; dimension: number }): ScoreTable {
  const { rows, dimension: D } = options;
  const table = new ScoreTable({ ...options, documents: 2 * rows });
  const topics = Math.round(Math.sqrt(rows));
  const directions = unitRows(topics, D, 'topics');
  for (const { first, end } of pieces(rows)) {
    const embeddings = unitRows(end - first, D, `table/${first}`);
    const topicOf = new Int32Array(end - first);
    randomInts(rngKey(1, first, 'topic-of'), topics, topicOf);
    for (const [i, topic] of topicOf.entries()) {
      for (let d = 0; d < D; d++) embeddings[i * D + d]! += 0.9 * directions[topic * D + d]!;
    }
    normalise(embeddings, D);
    table.insert(range(first, end), embeddings, { version: 0 });
  }
  return table;
}
