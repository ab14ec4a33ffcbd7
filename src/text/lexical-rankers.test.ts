import { expect, it } from 'vitest';
import { buildLexical, describeLexical, isLexical, LEXICAL_RANKERS } from './lexical-rankers.ts';

it.each(LEXICAL_RANKERS)('%s is built by its name, and takes options of terms', (ranker) => {
  const docs = ['a cat', 'two cats sat', 'the dog'];
  const index = buildLexical(ranker, docs.length, (row) => docs[row]!, { stem: true, stopWords: true });
  expect([...index.search('cat', 5).rows]).toEqual([0, 1]);
  expect(index.search('the', 5).rows.length).toBe(0);
  expect(() => buildLexical(ranker, 0, String, { language: 'xx' as 'en' })).toThrow(
    'language should be one of',
  );
});

it('options of BM25 alone are refused by TF-IDF', () => {
  expect(() => buildLexical('tfidf', 0, String, { b: 0.75 })).toThrow(
    'b is for BM25: TF-IDF has no such constant',
  );
  buildLexical('tfidf', 0, String, { b: 0.4, k1: undefined });
});

it('rankers are described with what was chosen', () => {
  expect(describeLexical('bm25', { k1: 1.2, stem: true })).toBe('BM25 (k1 1.2, b 0.4, stems)');
  expect(describeLexical('tfidf', { language: 'tr' })).toBe('TF-IDF (language tr)');
  expect([isLexical('tfidf'), isLexical('toString'), isLexical('runs/a')]).toEqual([true, false, false]);
});
