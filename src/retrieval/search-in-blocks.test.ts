import { expect, it } from 'vitest';
import { phraseText, smallRetriever } from '../../test/small-models.ts';
import { Corpus } from '../data/corpus.ts';
import { ExactIndex } from '../search/exact-search.ts';
import { encodeCorpus } from './encode-corpus.ts';
import { idOrder } from './id-order.ts';
import { searchInBlocks } from './search-in-blocks.ts';

it.each([1, 7, 20, 64])('blocks of %i documents give the best of all', async (blockRows) => {
  const retriever = smallRetriever({ kind: 'static' });
  // Texts occur several times, so that scores are equal within a block and between blocks.
  const corpus = await Corpus.from(
    Array.from({ length: 50 }, (_, i) => ({ id: `d${(i * 7) % 50}`, text: phraseText([i % 9, i % 4]) })),
  );
  const compute = { threads: 1 };
  const queries = await retriever.encode('query', [phraseText([1, 2]), phraseText([5])], compute);
  const embeddings = await encodeCorpus(retriever, 'document', corpus, compute);
  const exact = ExactIndex.create(embeddings, retriever.dimension, compute);
  const whole = await exact.search(queries, 12, { ties: idOrder(corpus) });
  const seen: number[] = [];
  const found = await searchInBlocks(retriever, corpus, queries, {
    ...compute,
    k: 12,
    blockRows,
    onProgress: ({ done, total }) => {
      seen.push(done);
      expect(total).toBe(50);
    },
  });
  // The products of a block are rounded by its size: only texts of the same words, whose scores are equal, may change places.
  const texts = (rows: Iterable<number>) =>
    Array.from(rows, (row) => corpus.text(row).split(' ').sort().join(' '));
  expect(texts(found.flatMap(({ rows }) => [...rows]))).toEqual(texts(whole.rows));
  for (const [i, score] of found.flatMap(({ scores }) => [...scores]).entries())
    expect(score).toBeCloseTo(whole.scores[i]!, 5);
  if (blockRows >= corpus.size) expect(found.flatMap(({ rows }) => [...rows])).toEqual([...whole.rows]);
  expect(Math.max(...seen)).toBe(50);
  const tokens = retriever.tokenize('document', 50, (row) => corpus.text(row));
  const again = await searchInBlocks(retriever, corpus, queries, { ...compute, k: 12, blockRows, tokens });
  expect(again).toEqual(found);
  await exact.dispose();
  await retriever.dispose();
});
