import { CORRECTOR_KINDS } from '../correctors/corrector.ts';
import { LIMIT_QUERIES } from '../retrieval/retrieval-options.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Names of the vectors that a correction can move; see {@link Direction}. */
export const DIRECTIONS = ['documents', 'queries'] as const;
/**
 * Direction of a correction. `documents`: map stored vectors of the old model to the space of the new one.
 * `queries`: map query vectors of the new model to the old space and leave stored vectors unchanged.
 */
export type Direction = (typeof DIRECTIONS)[number];

/** Options of `measureCorrection`. */
export const CORRECTION_OPTIONS = {
  /** Kinds of corrector to measure. Default all that the models' dimensions allow. */
  correctors: {
    type: 'list',
    choices: CORRECTOR_KINDS,
    help: `correctors to fit: ${CORRECTOR_KINDS.join(', ')} (default: all that the dimensions allow)`,
    aliases: ['corrector', 'kinds'],
  },
  /** Directions to measure. Default `documents`. */
  directions: {
    type: 'list',
    choices: DIRECTIONS,
    default: ['documents'],
    help: 'vectors to map: old documents to the new space, or new queries to the old space',
    aliases: ['direction'],
  },
  /** Number of documents to fit to; fewer if not enough documents answer no query. Default 2000. */
  sample: {
    type: 'integer',
    default: 2000,
    min: 2,
    help: 'number of documents to fit to; none is relevant to a query of the split',
  },
  /** Split whose queries measure the result. Correctors are never fitted to queries. Default `test`. */
  split: { type: 'text', value: 'name', default: 'test', help: 'queries of this split' },
  /** Maximum number of queries to use, evenly spaced. Default all. */
  limitQueries: LIMIT_QUERIES,
  /** Cutoffs k of the metrics. Default 10 and 100. */
  topK: {
    type: 'numbers',
    whole: true,
    min: 1,
    max: 100_000,
    default: [10, 100],
    help: 'cutoffs of recall and overlap',
  },
  /** Seed of the sample and of the correctors. Default 0. */
  seed: { ...COMMON_RANGES.seed, help: 'seed of the sample and of the correctors' },
  ...COMPUTE_OPTIONS,
} as const satisfies OptionTable;
