import type { OptionTable } from '../util/option-table.ts';

/** Constants of BM25. */
export const BM25_OPTIONS = {
  /** Saturation of the term frequency, ≥ 0. Default 0.9, as in Anserini and Pyserini. */
  k1: {
    type: 'number',
    default: 0.9,
    min: 0,
    help: 'BM25: saturation of the term frequency',
    group: 'BM25',
  },
  /** Strength of the length normalisation, in [0, 1]. Default 0.4. */
  b: {
    type: 'number',
    default: 0.4,
    min: 0,
    max: 1,
    help: 'BM25: strength of the length normalisation',
    group: 'BM25',
  },
} as const satisfies OptionTable;
