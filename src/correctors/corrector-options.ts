import type { ComputeOptions } from '../runtime/devices.ts';
import { COMMON_RANGES } from '../util/common-options.ts';
import { UsageError } from '../util/errors.ts';
import {
  checkOption,
  checkOptions,
  type GivenOptions,
  type OptionTable,
  type OptionValues,
  optionValues,
  suggestion,
} from '../util/option-table.ts';
import { CORRECTOR_KINDS, type CorrectorKind } from './corrector.ts';

/**
 * Losses of the `mlp` corrector: squared distance, divergence of the queries' distribution over the pairs, or
 * both.
 */
export const CORRECTOR_LOSSES = ['regression', 'kl', 'both'] as const;
/** Loss of the `mlp` corrector; see {@link CORRECTOR_LOSSES}. */
export type CorrectorLoss = (typeof CORRECTOR_LOSSES)[number];

/** Options of a corrector. */
export const PLAN_OPTIONS = {
  /** Dimension D of the stale embeddings. */
  dimension: { type: 'integer', min: 1, required: true, help: 'dimension of the stale embeddings' },
  /** Dimension D' of the fresh embeddings, if another model made them. Default D. */
  toDimension: {
    type: 'integer',
    min: 1,
    help: 'dimension of the fresh embeddings (default: that of the stale ones)',
  },
  /** `mlp`: width of the hidden layers, ≥ 1. Default 2·D. */
  hidden: {
    type: 'integer',
    min: 1,
    max: 1_048_576,
    help: 'mlp: width of the hidden layers (default: twice the dimension)',
  },
  /** `mlp`: number of hidden layers, from 1 to 16. Default 1. */
  depth: { type: 'integer', min: 1, max: 16, default: 1, help: 'mlp: number of hidden layers' },
  /** `low-rank`: rank of the map added to the identity, from 1 to D. Default 16, at most D. */
  rank: { type: 'integer', min: 1, default: 16, help: 'low-rank: rank of the correction' },
  /**
   * `ridge`, `low-rank`, `procrustes`: strength of the regularisation towards the identity, > 0, in unmoved
   * pairs per dimension. Default 1.
   *
   * The regularisation is  ridge · (D/pairs) · (mean eigenvalue of the covariance). With 0.1, a map fitted to
   * D pairs was worse than none on real drift; with thousands of pairs the two values are the same
   * (docs/correctors.md).
   */
  ridge: {
    type: 'number',
    above: 0,
    default: 1,
    help: 'ridge, low-rank, procrustes: strength of the regularisation towards the identity',
  },
  /**
   * `mlp`: number of updates in the whole run, ≥ 1. If given, the age of a row is an input of the network,
   * and a row of age 0 is not changed. Default: ages are not used.
   */
  ages: {
    type: 'integer',
    min: 1,
    help: 'mlp: number of updates in the whole run, if the age of each row is an input',
  },
  /** `mlp`: learning rate of AdamW, > 0. Default 3e-3. */
  learningRate: {
    type: 'number',
    above: 0,
    default: 0.003,
    help: 'mlp: learning rate of AdamW',
  },
  /** `mlp`: loss. Default `both`. */
  loss: {
    type: 'choice',
    choices: CORRECTOR_LOSSES,
    default: 'both',
    help: 'mlp: squared distance, divergence of the distribution of queries, or both',
  },
  /** `mlp`: weight of the divergence in `both`, ≥ 0. Default 1. */
  klWeight: { type: 'number', min: 0, default: 1, help: 'mlp: weight of the divergence in loss both' },
  /** Closed forms: refit every n updates, n ≥ 1. Default 20. */
  refitEvery: {
    type: 'integer',
    min: 1,
    default: 20,
    help: 'correctors other than mlp: updates between refits',
  },
  /** Closed forms: number of latest pairs to fit to, ≥ 1. Default 8192. */
  reservoir: {
    type: 'integer',
    min: 1,
    default: 8192,
    help: 'correctors other than mlp: number of latest pairs to fit to',
  },
  /** Seed of the initial values. Default 0. */
  seed: { ...COMMON_RANGES.seed, help: 'seed of the initial values' },
} as const satisfies OptionTable;

/** Settings of a corrector. */
export interface CorrectorOptions extends GivenOptions<typeof PLAN_OPTIONS> {
  /** Dimension D of the stale embeddings. */
  dimension: number;
  /** Device and threads of the programs. */
  compute?: ComputeOptions | undefined;
}

/** Options that are no values. */
export const CALLER_OPTIONS = ['compute'] as const satisfies readonly (keyof CorrectorOptions)[];

/** Options of a corrector with defaults filled in. */
export interface CorrectorPlan extends OptionValues<typeof PLAN_OPTIONS> {
  /** Dimension D' of the fresh embeddings. */
  readonly toDimension: number;
  /** `mlp`: width of the hidden layers. */
  readonly hidden: number;
  /** Device and threads of the programs. */
  readonly compute: ComputeOptions;
}

/**
 * Fills in the defaults and checks the options.
 *
 * @throws UsageError for an unknown option, a value out of range, or sizes that this kind cannot serve
 */
export function correctorPlan(kind: CorrectorKind, options: CorrectorOptions): CorrectorPlan {
  if (!CORRECTOR_KINDS.includes(kind)) {
    throw new UsageError(`unknown corrector "${kind}"${suggestion(kind, CORRECTOR_KINDS)}`, {
      help: `use one of ${CORRECTOR_KINDS.join(', ')}`,
    });
  }
  checkOptions(PLAN_OPTIONS, options, CALLER_OPTIONS);
  const { dimension } = options;
  checkOption('dimension', PLAN_OPTIONS.dimension, dimension);
  const values = optionValues(PLAN_OPTIONS, { ...options });
  const plan: CorrectorPlan = {
    ...values,
    toDimension: values.toDimension ?? dimension,
    hidden: values.hidden ?? 2 * dimension,
    rank: options.rank ?? Math.min(values.rank, dimension),
    compute: options.compute ?? {},
  };
  if (plan.rank > dimension) {
    throw new UsageError(`rank should be at most the dimension, ${dimension}, found ${plan.rank}`);
  }
  if (plan.toDimension !== dimension && EQUAL_SIZES.includes(kind)) {
    throw new UsageError(
      `corrector ${kind}: embeddings of ${dimension} numbers cannot become ones of ${plan.toDimension}`,
      {
        help: 'use mlp, ridge or procrustes between models of different dimension',
      },
    );
  }
  return plan;
}

/** Kinds that need D = D', because they add to the stale embedding. */
const EQUAL_SIZES: readonly CorrectorKind[] = ['identity', 'mean-shift', 'low-rank'];
