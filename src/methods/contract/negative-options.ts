import { RULE_OPTIONS } from '../../mining/mining-options.ts';
import type { OptionTable } from '../../util/option-table.ts';

export const SAMPLER_KINDS = ['softmax', 'top', 'rank-range', 'uniform'] as const;

/** Options by which methods choose negatives from candidates that are ranked or scored. Each method takes some of them. */
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
  /** Rank at which the range of negatives ends; it is not part of the range. */
  rankTo: {
    ...RULE_OPTIONS.rankTo,
    default: 200,
    help: 'rank before which the range of negatives ends; for --sampler rank-range and for mining',
    group: 'Method',
  },
  /** Least distance between the similarities of positive and negative: nearer candidates are left out. 0 for none. */
  absoluteMargin: {
    ...RULE_OPTIONS.absoluteMargin,
    default: 0,
    help: 'leave out candidates whose similarity is less than this below that of the positive; 0 to keep all',
    group: 'Method',
  },
  /** The least distance as a share of the positive's similarity. 0 for none. */
  relativeMargin: {
    ...RULE_OPTIONS.relativeMargin,
    default: 0,
    help: "the same margin as a share of the positive's similarity; 0 to keep all",
    group: 'Method',
  },
} as const satisfies OptionTable;
