import { expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { loadCorpus } from './documents.ts';
import { loadData } from './load.ts';

it('the passages of a file of pairs are a corpus, with the ids of the data set', async () => {
  const pairs = '{"query":"a","positive":"b","negative":["c"]}\n{"question":"d","answer":"e"}\n';
  const path = `${tempFiles({ 'pairs.jsonl': pairs })}/pairs.jsonl`;
  const corpus = await loadCorpus(path);
  expect([...corpus.texts()]).toEqual(['b', 'c', 'e']);
  const data = await loadData(path);
  expect(data.corpus.id(2)).toBe(corpus.id(2));
});
