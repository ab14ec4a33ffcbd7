import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { BM25_OPTIONS } from '../text/bm25-options.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Option for the number of queries of a split. */
export const LIMIT_QUERIES = {
  type: 'integer',
  min: 1,
  help: 'largest number of queries to use, evenly spaced over the split',
} as const;

/** Options of a retrieval by any ranker. */
export const RANKING_OPTIONS = {
  /** Documents to return for each query. Default 100. */
  topK: COMMON_RANGES.topK,
  /**
   * Drop a document with the same id as the query, as BEIR's evaluation does. Default false.
   *
   * In ArguAna and Quora every query is itself a document. In other data equal ids are a coincidence of two
   * numberings, and dropping would hide true answers.
   */
  dropSameId: {
    type: 'switch',
    default: false,
    help: "drop a document whose id is the query's, as BEIR does (ArguAna, Quora)",
  },
} as const satisfies OptionTable;

/** Options of a retrieval by a retriever. */
export const DENSE_OPTIONS = { ...RANKING_OPTIONS, ...COMPUTE_OPTIONS } as const satisfies OptionTable;

/** Options of a retrieval by shared words. */
export const LEXICAL_OPTIONS = { ...RANKING_OPTIONS, ...BM25_OPTIONS } as const satisfies OptionTable;

/** Options of reading stored vectors. */
export const VECTOR_OPTIONS = {
  /**
   * Accept vectors without a manifest, whose model and texts nothing proves. Shapes are still checked, and a
   * manifest that is present is checked as always. Default false.
   */
  trustVectors: {
    type: 'switch',
    default: false,
    help: 'accept stored vectors without a manifest, such as those of another program; only their shape is checked',
  },
} as const satisfies OptionTable;

/** Option of an evaluation of a model. */
export const BASELINE_OPTIONS = {
  /** Measure BM25 on the same queries, as a baseline. Default true, up to a million documents. */
  baseline: {
    type: 'switch',
    negative: true,
    default: true,
    help: 'do not measure BM25 on the same queries',
    group: 'Evaluation',
  },
} as const satisfies OptionTable;

/** Options of an evaluation on a split. */
export const SPLIT_OPTIONS = {
  /** Metrics to compute, such as `ndcg@10`. */
  metrics: { type: 'list', help: 'metrics to compute' },
  /** Maximum number of queries to use, evenly spaced over the split. Default all. */
  limitQueries: LIMIT_QUERIES,
  /**
   * Treatment of queries without results. `zero` (default): their metrics are 0. `skip`: they are left out of
   * the mean.
   */
  missingQueries: {
    type: 'choice',
    choices: ['zero', 'skip'],
    default: 'zero',
    help: 'count queries without results as zero, or leave them out',
  },
} as const satisfies OptionTable;
