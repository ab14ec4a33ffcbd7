import type { ComputeOptions } from '../runtime/devices.ts';
import { UsageError } from '../util/errors.ts';
import { CORRECTOR_KINDS, type CorrectorKind } from './corrector.ts';

/** What the `mlp` corrector is trained on: the squared distance, the distribution of queries over the pairs, or both. */
export const CORRECTOR_LOSSES = ['regression', 'kl', 'both'] as const;
export type CorrectorLoss = (typeof CORRECTOR_LOSSES)[number];

export interface CorrectorOptions {
  /** D, of stale embeddings. */
  dimension: number;
  /** D', of fresh ones, where the model has changed altogether. Default D. */
  toDimension?: number;
  /** `mlp`: width of hidden layers. Default 2·D. */
  hidden?: number;
  /** `mlp`: hidden layers. Default 1. */
  depth?: number;
  /** `low-rank`: rank of what is added to the identity. Default 16, at most D. */
  rank?: number;
  /**
   * `ridge`, `low-rank`, `procrustes`: how much evidence it takes to leave the identity, as pairs per dimension that have not moved. The
   * regularisation is  ridge · (D/pairs) · (mean eigenvalue of the covariance). Default 1: with 0.1 a map fitted to D pairs
   * was worse than none on real drift, with thousands the two are the same (docs/correctors.md).
   */
  ridge?: number;
  /** `mlp`: updates of the whole run. Where given, the age of a row is an input, and a row of age 0 stays as it is. */
  ages?: number;
  /** `mlp`: of AdamW. Default 3e-3. */
  learningRate?: number;
  /** `mlp`. Default `both`. */
  loss?: CorrectorLoss;
  /** `mlp`: factor of the divergence in `both`. Default 1. */
  klWeight?: number;
  /** Closed forms are fitted anew at every n-th update. Default 20. */
  refitEvery?: number;
  /** Closed forms are fitted to this many pairs, the latest. Default 8192. */
  reservoir?: number;
  /** Of initial values. Default 0. */
  seed?: number;
  compute?: ComputeOptions;
}

/** Options with defaults filled in. */
export interface CorrectorPlan extends Required<Omit<CorrectorOptions, 'ages'>> {
  readonly ages?: number;
}

/** @throws UsageError for a number that is out of range, or sizes that this kind cannot serve */
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

/** Kinds that leave an embedding where it is, or nearly so. */
const EQUAL_SIZES: readonly CorrectorKind[] = ['identity', 'mean-shift', 'low-rank'];
