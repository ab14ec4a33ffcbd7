import { COMMON_RANGES } from '../util/common-options.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Rules on ranks and scores for negatives of a query. Ranks and scores are those of the ranker. */
export const RULE_OPTIONS = {
  /** First rank that may be a negative; 0 is the best. Default 0. */
  rankFrom: {
    type: 'integer',
    default: 0,
    min: 0,
    help: 'first rank to take, counted from 0',
    group: 'Choice',
    aliases: ['range_min'],
  },
  /** Rank before which candidates end. Default 100. */
  rankTo: {
    type: 'integer',
    default: 100,
    min: 1,
    help: 'end of the ranks to take; this rank itself is not taken',
    group: 'Choice',
    aliases: ['range_max'],
  },
  /** Drop a document with score s if s + absoluteMargin > s⁺. Default no margin. */
  absoluteMargin: {
    type: 'number',
    min: 0,
    help: 'drop a document whose score is above the lowest score of a positive minus this margin',
    group: 'Choice',
    aliases: ['absolute_margin'],
  },
  /** Drop a document with score s if s > s⁺ − |s⁺| · relativeMargin. Default no margin. */
  relativeMargin: {
    type: 'number',
    min: 0,
    max: 1,
    help: 'the same with a margin of this share of the score of the positive',
    group: 'Choice',
    aliases: ['relative_margin'],
  },
  /** Drop documents with a higher score. Default no limit. */
  maxScore: {
    type: 'number',
    help: 'drop a document that scores above this',
    group: 'Choice',
    aliases: ['max_score'],
  },
  /** Drop documents with a lower score. Default no limit. */
  minScore: {
    type: 'number',
    help: 'drop a document that scores below this',
    group: 'Choice',
    aliases: ['min_score'],
  },
} as const satisfies OptionTable;

/** Options of `mineNegatives`. */
export const MINING_OPTIONS = {
  /** Negatives wanted for each query. Default 5. */
  negatives: {
    type: 'integer',
    default: 5,
    min: 1,
    max: 10_000,
    help: 'negatives for each query',
    aliases: ['num_negatives', 'numNegatives'],
  },
  /**
   * Choice among the documents that the rules leave. `top` (default): the best ones. `random`: as many at
   * random, every set equally likely. `all`: all of them; a query with at least `negatives` does not count as
   * short.
   */
  strategy: {
    type: 'choice',
    choices: ['top', 'random', 'all'],
    default: 'top',
    help: 'take the best of the remaining candidates, or random ones',
    group: 'Choice',
    aliases: ['sampling_strategy'],
  },
  ...RULE_OPTIONS,
  /**
   * Seed of the random choice. The choice for a query depends only on the seed and on the number of the
   * query. Default 0.
   */
  seed: {
    ...COMMON_RANGES.seed,
    help: 'seed of --strategy random',
    group: 'Choice',
  },
} as const satisfies OptionTable;

/** Options of a check of mined documents by a cross-encoder; see `crossEncoderCheck`. */
export const CHECK_OPTIONS = {
  /** Cross-encoder that checks each mined document: a folder, a run, or a name on the hub. Default none. */
  checkWith: {
    type: 'text',
    value: 'model',
    nonEmpty: true,
    help: 'cross-encoder that checks each negative: one that scores above the positives minus --check-margin is left out',
    group: 'Choice',
  },
  /** Drop a document whose score by the cross-encoder is above the lowest one of a positive minus this margin, ≥ 0. Default 0. */
  checkMargin: {
    type: 'number',
    min: 0,
    default: 0,
    help: 'margin of --check-with, in the scores of the cross-encoder',
    group: 'Choice',
  },
} as const satisfies OptionTable;

/** Options of `pairLines`. */
export const PAIR_OPTIONS = {
  /** Positives to write: `all` of a query (default), or only the `first`. */
  positives: {
    type: 'choice',
    choices: ['all', 'first'],
    default: 'all',
    help: 'positives written for each query; none of them is ever a negative',
  },
} as const satisfies OptionTable;

/** Options of `minableQueries`. */
export const MINABLE_OPTIONS = {
  /** Whether the document with a query's id is the query itself (ArguAna, Quora). Default false. */
  dropSameId: {
    type: 'switch',
    default: false,
    help: "drop a document whose id is the query's: it is the query itself (ArguAna, Quora)",
    group: 'Choice',
  },
} as const satisfies OptionTable;
