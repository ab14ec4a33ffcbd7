import { join } from 'node:path';
import { expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { tempFiles } from '../../test/temp-files.ts';
import { loadData } from '../data/load.ts';
import { evaluateRetriever } from '../retrieval/evaluate-retriever.ts';
import { evaluateStore, tuneDenseWeight } from './evaluate-store.ts';
import { indexPassages } from './index-passages.ts';
import { Store } from './store.ts';
import { StoreSearcher } from './store-searcher.ts';

const compute = { threads: 1 };
const text = (i: number) => phraseText([i, i * 7, i * 13, i >> 2]);
const lines = (records: object[]) => `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;
const range = Array.from({ length: 60 }, (_, i) => i);
const folder = tempFiles({
  'corpus.jsonl': lines(range.map((i) => ({ _id: `d${i}`, text: text(i) }))),
  'queries.jsonl': lines(range.map((i) => ({ _id: `q${i}`, text: phraseText([i * 7]) }))),
  'qrels/dev.tsv': `query-id\tcorpus-id\tscore\n${range
    .slice(0, 30)
    .map((i) => `q${i}\td${i}\t1\n`)
    .join('')}`,
  'qrels/test.tsv': `query-id\tcorpus-id\tscore\n${range
    .slice(30)
    .map((i) => `q${i}\td${i}\t1\n`)
    .join('')}`,
});

it('a search in a store is measured as one without, and its fusion is tuned on another split', async () => {
  const retriever = smallRetriever({ kind: 'static' });
  const store = await Store.open(join(tempFiles(), 'store'), {
    create: { language: 'any', stem: false, stopWords: false },
  });
  await indexPassages(
    store,
    retriever,
    range.map((i) => ({ id: `d${i}`, text: text(i) })),
    compute,
  );
  const data = await loadData(folder);
  const searcher = new StoreSearcher(store, compute);
  const metrics = ['ndcg@10', 'recall@20'];
  const found = await evaluateStore(store, searcher, data, 'test', { metrics, mode: 'dense' });
  const expected = await evaluateRetriever(retriever, data, 'test', { metrics, ...compute });
  expect(found.metrics['recall@20']).toBeCloseTo(expected.metrics['recall@20']!, 2);
  expect(found.metrics['ndcg@10']).toBeCloseTo(expected.metrics['ndcg@10']!, 2);

  const tuned = await tuneDenseWeight(store, searcher, data, 'dev', { metric: 'ndcg@10' });
  expect(tuned.tried).toHaveLength(11);
  expect(tuned.value).toBe(Math.max(...tuned.tried.map(({ value }) => value)));
  const { denseWeight } = tuned;
  const dev = await evaluateStore(store, searcher, data, 'dev', {
    metrics: ['ndcg@10'],
    denseWeight,
    candidates: 100,
  });
  expect(dev.metrics['ndcg@10']).toBeCloseTo(tuned.value, 6);

  const other = await loadData(
    tempFiles({
      'corpus.jsonl': lines([{ _id: 'x', text: 'x' }]),
      'queries.jsonl': lines([{ _id: 'q', text: 'q' }]),
      'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq\tx\t1\n',
    }),
  );
  await expect(evaluateStore(store, searcher, other, 'test', { metrics })).rejects.toThrow(
    /holds none of the documents/,
  );
});
