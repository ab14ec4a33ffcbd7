import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCrossEncoder } from '../models/cross-encoder/load-cross-encoder.ts';
import { indexPassages } from './index-passages.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';

const compute = { threads: 1 };
const FIXTURE = fileURLToPath(new URL('../models/cross-encoder/fixtures/bert', import.meta.url));

it('hits are in the order of a cross-encoder, those beyond its depth behind them', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const store = await Store.open(join(tempFiles(), 'store'), {
    create: { language: 'any', stem: false, stopWords: false },
  });
  const passages = Array.from({ length: 30 }, (_, i) => ({
    id: `d${i}`,
    title: i % 3 === 0 ? 'red house' : '',
    text: `the cat ${phraseText([i, 7])} ${'sat on the mat '.repeat(i % 4)}`,
  }));
  await indexPassages(store, retriever, passages, compute);
  const crossEncoder = await loadCrossEncoder(FIXTURE);
  const searcher = new StoreSearcher(store, compute);
  const query = phraseText([7]);
  const options = { mode: 'bm25', topK: 12 } as const;
  const plain = await searcher.search(query, options);

  const rerank = { crossEncoder, depth: 8, ...compute };
  const hits = await searcher.search(query, { ...options, rerank });
  const first = plain.slice(0, 8);
  const scores = await crossEncoder.score(
    first.map(({ title, text }) => [query, title === '' ? text : `${title} ${text}`] as const),
    compute,
  );
  const expected = [...first.keys()].sort((a, b) => scores[b]! - scores[a]!).map((i) => first[i]!.id);
  expect(hits.slice(0, 8).map(({ id }) => id)).toEqual(expected);
  expect(hits.slice(0, 8).map(({ id }) => id)).not.toEqual(first.map(({ id }) => id));
  expect(hits.slice(8).map(({ id }) => id)).toEqual(plain.slice(8).map(({ id }) => id));
  expect(hits.map(({ rank }) => rank)).toEqual(plain.map(({ rank }) => rank));
  for (let i = 1; i < hits.length; i++) expect(hits[i]!.score).toBeLessThanOrEqual(hits[i - 1]!.score);

  // A deeper reranking finds passages that the search alone ranks behind.
  const best = await searcher.search(query, { ...options, topK: 1, rerank: { ...rerank, depth: 30 } });
  const all = await searcher.search(query, { ...options, topK: 30, rerank: { ...rerank, depth: 30 } });
  expect(best).toEqual(all.slice(0, 1));
  await searcher.dispose();
  await crossEncoder.dispose();
  await retriever.dispose();
  await store.close();
});
