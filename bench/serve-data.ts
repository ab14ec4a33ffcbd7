import { createRetriever } from '../src/models/retriever/create-retriever.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { indexPassages } from '../src/store/index-passages.ts';
import { buildApproximateIndex } from '../src/store/maintain.ts';
import { Store } from '../src/store/store.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { rngKey, uniform } from '../src/util/rng.ts';

const WORDS = Array.from({ length: 20_000 }, (_, i) => `w${i.toString(36)}`);

/** Draws words by Zipf's law. */
export function makeText(seed: number, length: number): string {
  const drawn = new Float32Array(length);
  uniform(rngKey(1, seed, 'bench/serve'), drawn);
  return Array.from(drawn, (u) => WORDS[Math.floor(WORDS.length ** u) - 1]).join(' ');
}

/** Makes passages of 40 to 79 words. */
export function* makePassages(count: number) {
  for (let i = 0; i < count; i++) yield { id: `p${i}`, text: makeText(i, 40 + (i % 40)) };
}

/** Makes an encoder of random weights: a static one of 384 dimensions, or a transformer of two layers and 128 dimensions. */
export function makeEncoder(kind: 'static' | 'transformer'): Retriever {
  const texts = Array.from({ length: 2000 }, (_, i) => makeText(i, 50));
  const tokenizer = Tokenizer.fromJson(trainVocabulary(texts, { model: 'wordpiece', vocabSize: 8000 }));
  const lengths = { maxQueryTokens: 32, maxDocTokens: 128, seed: 1 };
  return kind === 'static'
    ? createRetriever({ kind, tokenizer, hidden: 384, ...lengths })
    : createRetriever({ kind, tokenizer, hidden: 128, layers: 2, heads: 2, intermediate: 512, ...lengths });
}

/** Times of making a store. */
export interface Built {
  /** Passages tokenised, embedded and stored in a second. */
  readonly passagesPerSecond: number;
  /** Time of building the index for approximate search, in seconds. */
  readonly approximateSeconds: number;
}

/** Makes a store of passages with an index for approximate search. */
export async function buildStore(
  folder: string,
  retriever: Retriever,
  count: number,
  report: (text: string) => void,
): Promise<Built> {
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  const startMs = performance.now();
  let nextMs = startMs;
  await indexPassages(store, retriever, makePassages(count), {
    model: 'bench',
    onProgress: ({ done }) => {
      if (performance.now() < nextMs) return;
      nextMs = performance.now() + 5000;
      report(`indexing: ${done} of ${count} passages`);
    },
  });
  const indexedMs = performance.now();
  report('building the index for approximate search');
  await buildApproximateIndex(store, store.head.current!, 'ivf');
  await store.close();
  return {
    passagesPerSecond: (1000 * count) / (indexedMs - startMs),
    approximateSeconds: (performance.now() - indexedMs) / 1000,
  };
}
