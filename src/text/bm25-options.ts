import type { OptionTable } from '../util/option-table.ts';

/** Options of index terms. */
export const TERM_OPTIONS = {
  /**
   * Language of the texts. Default `any`: scripts are recognised by themselves, and a language is needed only
   * for Turkish and Azerbaijani, whose I is the capital of ı.
   */
  language: {
    type: 'choice',
    choices: ['any', 'en', 'zh', 'ja', 'ko', 'th', 'tr', 'az'],
    default: 'any',
    help: 'bm25, tfidf: language of the texts; scripts are recognised by themselves, tr and az lower I to ı',
    group: 'BM25 and TF-IDF',
  },
  /** Reduce English words to their stems (Porter 1980). Default false. */
  stem: {
    type: 'switch',
    default: false,
    help: 'bm25, tfidf: reduce English words to their stems (Porter)',
    group: 'BM25 and TF-IDF',
  },
  /** Leave out the 33 English stop words of Lucene. Default false. */
  stopWords: {
    type: 'switch',
    default: false,
    help: 'bm25, tfidf: leave out English stop words (the 33 of Lucene)',
    group: 'BM25 and TF-IDF',
  },
} as const satisfies OptionTable;

/** Options of BM25: its constants and its terms. */
export const BM25_OPTIONS = {
  /** Saturation of the term frequency, ≥ 0. Default 0.9, as in Anserini and Pyserini. */
  k1: {
    type: 'number',
    default: 0.9,
    min: 0,
    help: 'bm25: saturation of the term frequency',
    group: 'BM25 and TF-IDF',
  },
  /** Strength of the length normalisation, in [0, 1]. Default 0.4. */
  b: {
    type: 'number',
    default: 0.4,
    min: 0,
    max: 1,
    help: 'bm25: strength of the length normalisation',
    group: 'BM25 and TF-IDF',
  },
  ...TERM_OPTIONS,
} as const satisfies OptionTable;
