import { createRetriever, type NewRetrieverOptions } from '../src/models/retriever/create-retriever.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { normal, rngKey } from '../src/util/rng.ts';

/** Texts of several lengths. One of them is longer than the small models below can read. */
export const TEXTS = [
  'Returns the arc tangent of a number.',
  'map(callback, thisArg): calls a function for each element and returns the results',
  'x',
  '',
  'reads a whole file, opens it before, closes it after, and returns bytes or a string of the file in the encoding given',
];

const PHRASES = [
  'reads',
  'a file',
  'opens',
  'whole',
  'array',
  'of bytes',
  'returns',
  'encoding',
  'number',
  'calls',
];

/** Joins phrases that the small models know, by their numbers modulo 10. */
export const phraseText = (numbers: readonly number[]): string =>
  numbers.map((n) => PHRASES[n % 10]).join(' ');

let tokenizer: Tokenizer | undefined;

/** Makes a retriever small enough for tests. Every weight differs from its initial value. */
export function smallRetriever(
  options: Partial<NewRetrieverOptions> & Pick<NewRetrieverOptions, 'kind'>,
): Retriever {
  tokenizer ??= Tokenizer.fromJson(
    trainVocabulary([...TEXTS, ...TEXTS], {
      model: 'wordpiece',
      vocabSize: 120,
      minFrequency: 1,
      alphabetLimit: 60,
    }),
  );
  const retriever = createRetriever({
    tokenizer,
    hidden: 32,
    ...(options.kind === 'transformer' && { layers: 2, heads: 2, intermediate: 48 }),
    maxQueryTokens: 12,
    maxDocTokens: 20,
    seed: 3,
    ...options,
  });
  for (const [name, { data }] of Object.entries(retriever.weights)) {
    const noise = new Float32Array(data.length);
    normal(rngKey(5, 0, name), noise);
    for (let i = 0; i < noise.length; i++) (data as Float32Array)[i]! += 0.2 * noise[i]!;
  }
  return retriever;
}

/** Embeds `TEXTS` as queries and as documents. */
export async function embeddings(
  retriever: Retriever,
): Promise<{ query: Float32Array; document: Float32Array }> {
  return {
    query: await retriever.encode('query', TEXTS),
    document: await retriever.encode('document', TEXTS),
  };
}

/** Returns the largest absolute difference of two arrays; NaN if their lengths differ. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}
