import type { ComputeOptions } from '../runtime/devices.ts';
import { UsageError } from '../util/errors.ts';
import { CORRECTOR_KINDS, type CorrectorKind } from './corrector.ts';

/**
 * Losses of the `mlp` corrector: squared distance, divergence of the queries' distribution over the pairs, or
 * both.
 */
export const CORRECTOR_LOSSES = ['regression', 'kl', 'both'] as const;
/** Loss of the `mlp` corrector; see {@link CORRECTOR_LOSSES}. */
export type CorrectorLoss = (typeof CORRECTOR_LOSSES)[number];

/** Settings of a corrector. */
export interface CorrectorOptions {
  /** Dimension D of the stale embeddings. */
  dimension: number;
  /** Dimension D' of the fresh embeddings, if another model made them. Default D. */
  toDimension?: number;
  /** `mlp`: width of the hidden layers, ≥ 1. Default 2·D. */
  hidden?: number;
  /** `mlp`: number of hidden layers, ≥ 1. Default 1. */
  depth?: number;
  /** `low-rank`: rank of the map added to the identity, from 1 to D. Default 16, at most D. */
  rank?: number;
  /**
   * `ridge`, `low-rank`, `procrustes`: strength of the regularisation towards the identity, > 0, in unmoved
   * pairs per dimension. Default 1.
   *
   * The regularisation is  ridge · (D/pairs) · (mean eigenvalue of the covariance). With 0.1, a map fitted to
   * D pairs was worse than none on real drift; with thousands of pairs the two values are the same
   * (docs/correctors.md).
   */
  ridge?: number;
  /**
   * `mlp`: number of updates in the whole run, ≥ 1. If given, the age of a row is an input of the network,
   * and a row of age 0 is not changed. Default: ages are not used.
   */
  ages?: number;
  /** `mlp`: learning rate of AdamW, > 0. Default 3e-3. */
  learningRate?: number;
  /** `mlp`: loss. Default `both`. */
  loss?: CorrectorLoss;
  /** `mlp`: weight of the divergence in `both`, ≥ 0. Default 1. */
  klWeight?: number;
  /** Closed forms: refit every n updates, n ≥ 1. Default 20. */
  refitEvery?: number;
  /** Closed forms: number of latest pairs to fit to, ≥ 1. Default 8192. */
  reservoir?: number;
  /** Seed of the initial values. Default 0. */
  seed?: number;
  /** Device and threads of the programs. */
  compute?: ComputeOptions;
}

/** Options of a corrector with defaults filled in. */
export interface CorrectorPlan extends Required<Omit<CorrectorOptions, 'ages'>> {
  /** Number of updates in the whole run; undefined if ages are not used. */
  readonly ages?: number;
}

/**
 * Fills in the defaults and checks the options.
 *
 * @throws UsageError for a number that is out of range, or sizes that this kind cannot serve
 */
export function correctorPlan(kind: CorrectorKind, options: CorrectorOptions): CorrectorPlan {
  if (!CORRECTOR_KINDS.includes(kind)) {
    throw new UsageError(`unknown corrector "${kind}"`, { help: `use one of ${CORRECTOR_KINDS.join(', ')}` });
  }
  const { dimension } = options;
  const plan: CorrectorPlan = {
    ...options,
    toDimension: options.toDimension ?? dimension,
    hidden: options.hidden ?? 2 * dimension,
    depth: options.depth ?? 1,
    rank: options.rank ?? Math.min(16, dimension),
    ridge: options.ridge ?? 1,
    learningRate: options.learningRate ?? 3e-3,
    loss: options.loss ?? 'both',
    klWeight: options.klWeight ?? 1,
    refitEvery: options.refitEvery ?? 20,
    reservoir: options.reservoir ?? 8192,
    seed: options.seed ?? 0,
    compute: options.compute ?? {},
  };
  const bad = (name: keyof CorrectorOptions, expected: string) =>
    new UsageError(`corrector ${kind}: ${name} must be ${expected}, got ${plan[name]}`);
  for (const name of WHOLE) {
    const value = plan[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw bad(name, 'a whole number from 1');
  }
  for (const name of ['ridge', 'learningRate'] as const) {
    if (!(plan[name] > 0 && plan[name] < Infinity)) throw bad(name, 'above 0');
  }
  if (!(plan.klWeight >= 0 && plan.klWeight < Infinity)) throw bad('klWeight', 'at least 0');
  if (!CORRECTOR_LOSSES.includes(plan.loss)) throw bad('loss', `one of ${CORRECTOR_LOSSES.join(', ')}`);
  if (plan.rank > dimension) throw bad('rank', `at most the dimension, ${dimension}`);
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

const WHOLE = [
  'dimension',
  'toDimension',
  'hidden',
  'depth',
  'rank',
  'refitEvery',
  'reservoir',
  'ages',
] as const;

/** Kinds that need D = D', because they add to the stale embedding. */
const EQUAL_SIZES: readonly CorrectorKind[] = ['identity', 'mean-shift', 'low-rank'];
