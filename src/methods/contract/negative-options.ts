import { RULE_OPTIONS } from '../../mining/mining-options.ts';
import type { OptionTable } from '../../util/option-table.ts';

/** Distributions from which negatives are drawn, by their scores in the cache. */
export const SAMPLER_KINDS = ['softmax', 'top', 'rank-range', 'uniform'] as const;

/** Options that choose negatives from ranked or scored candidates. Each method takes some of them. */
export const NEGATIVE_OPTIONS = {
  /** How negatives are drawn by their scores in the cache. */
  sampler: {
    type: 'choice',
    choices: SAMPLER_KINDS,
    default: 'softmax',
    help: 'distribution from which negatives are drawn, by their scores in the cache',
    group: 'Method',
  },
  /** Negatives for each query, k. */
  samples: {
    type: 'integer',
    min: 1,
    max: 4096,
    default: 1,
    help: 'negatives drawn for each query',
    group: 'Method',
    aliases: ['numNegatives', 'num_negatives', 'negativesPerQuery'],
  },
  /** Further negatives for each query, drawn uniformly from the cache. */
  uniformSamples: {
    type: 'integer',
    min: 0,
    max: 4096,
    default: 0,
    help: 'further negatives for each query, drawn uniformly from the cache',
    group: 'Method',
  },
  /** First rank that negatives are taken from; 0 is the best. */
  rankFrom: {
    ...RULE_OPTIONS.rankFrom,
    help: 'first rank that negatives are taken from, 0 for the best; for --sampler rank-range and for mining',
    group: 'Method',
  },
  /** Rank before which the range of negatives ends. */
  rankTo: {
    ...RULE_OPTIONS.rankTo,
    default: 200,
    help: 'rank before which the range of negatives ends; for --sampler rank-range and for mining',
    group: 'Method',
  },
  /** Margin between the similarities of positive and negative, ≥ 0. Candidates within the margin are left out; 0 keeps all. */
  absoluteMargin: {
    ...RULE_OPTIONS.absoluteMargin,
    default: 0,
    help: 'leave out candidates whose similarity is less than this below that of the positive; 0 to keep all',
    group: 'Method',
  },
  /** Margin as a share of the positive's similarity, 0 to 1. Candidates within the margin are left out; 0 keeps all. */
  relativeMargin: {
    ...RULE_OPTIONS.relativeMargin,
    default: 0,
    help: "the same margin as a share of the positive's similarity; 0 to keep all",
    group: 'Method',
  },
} as const satisfies OptionTable;
