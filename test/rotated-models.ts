import { createRetriever } from '../src/models/retriever/create-retriever.ts';
import { Retriever } from '../src/models/retriever/retriever.ts';
import { hostTensor } from '../src/runtime/host-tensor.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { normal, permutation, rngKey } from '../src/util/rng.ts';

const WORDS = 30;
const DOCUMENTS = 600;
const TEST_QUERIES = 20;

const words = (i: number): string[] =>
  [...permutation(rngKey(8, i, 'words'), WORDS).subarray(0, 4)].map((word) => `word${word}`);
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/**
 * Makes a BEIR folder `set/` of documents with four words, and queries with two of their words. Document 100
 * has no text.
 */
export function rotatedData(): Record<string, string> {
  const judged = (from: number, to: number) =>
    `query-id\tcorpus-id\tscore\n${Array.from({ length: to - from }, (_, i) => `q${from + i}\td${from + i}\t1\n`).join('')}`;
  const rows = Array.from({ length: DOCUMENTS }, (_, i) => i);
  return {
    'set/corpus.jsonl': lines(rows.map((i) => ({ _id: `d${i}`, text: i === 100 ? '' : words(i).join(' ') }))),
    'set/queries.jsonl': lines(
      rows.slice(0, 40).map((i) => ({ _id: `q${i}`, text: words(i).slice(0, 2).join(' ') })),
    ),
    'set/qrels/train.tsv': judged(TEST_QUERIES, 40),
    'set/qrels/test.tsv': judged(0, TEST_QUERIES),
  };
}

/**
 * Makes two static encoders whose spaces differ by a rotation. The token vectors of the second are those of
 * the first, multiplied by a matrix [D, D'] with orthonormal rows. Only correctors that are rotations recover
 * everything.
 */
export function rotatedModels(sizes: { dimension?: number; toDimension?: number } = {}): {
  from: Retriever;
  to: Retriever;
} {
  const { dimension = 16, toDimension = dimension } = sizes;
  const texts = Array.from({ length: WORDS }, (_, i) => `word${i} word${i}`);
  const tokenizer = Tokenizer.fromJson(
    trainVocabulary(texts, { model: 'wordpiece', vocabSize: 200, minFrequency: 1, alphabetLimit: 60 }),
  );
  const make = (hidden: number) =>
    createRetriever({ kind: 'static', tokenizer, hidden, seed: 3, maxQueryTokens: 16, maxDocTokens: 16 });
  const from = make(dimension);
  const model = make(toDimension);
  const rotation = orthonormalRows(dimension, toDimension);
  const weights = Object.fromEntries(
    Object.entries(from.weights).map(([name, tensor]) => {
      const [rows = 0, columns] = tensor.dims;
      if (columns !== dimension) return [name, tensor];
      const turned = times(tensor.data as Float32Array, rotation, {
        rows,
        inner: dimension,
        columns: toDimension,
      });
      return [name, hostTensor('f32', [rows, toDimension], turned)];
    }),
  );
  return { from, to: new Retriever(model.config, tokenizer, { weights, trainedSteps: 5 }) };
}

/** Multiplies [rows, inner] by [inner, columns]. */
function times(
  a: Float32Array,
  b: Float32Array,
  { rows, inner, columns }: { rows: number; inner: number; columns: number },
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a[i * inner + k]! * b[k * columns + j]!;
      out[i * columns + j] = sum;
    }
  }
  return out;
}

/** Makes random orthonormal rows, f32[rows, columns], by Gram-Schmidt. */
function orthonormalRows(rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  normal(rngKey(7, 0, 'rotation'), out);
  for (let i = 0; i < rows; i++) {
    const row = out.subarray(i * columns, (i + 1) * columns);
    for (let j = 0; j < i; j++) {
      const other = out.subarray(j * columns, (j + 1) * columns);
      const dot = row.reduce((sum, x, k) => sum + x * other[k]!, 0);
      for (let k = 0; k < columns; k++) row[k]! -= dot * other[k]!;
    }
    const norm = Math.hypot(...row);
    for (let k = 0; k < columns; k++) row[k]! /= norm;
  }
  return out;
}
