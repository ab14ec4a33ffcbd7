import type { HostTensor } from '../runtime/host-tensor.ts';

/** Names of the correctors, one file each. */
export const CORRECTOR_KINDS = ['identity', 'mean-shift', 'procrustes', 'ridge', 'low-rank', 'mlp'] as const;
/** Kind of corrector: how stale embeddings are mapped to current ones. */
export type CorrectorKind = (typeof CORRECTOR_KINDS)[number];

/** Pairs of embeddings of the same texts, from earlier and from current weights. */
export interface EmbeddingPairs {
  /** f32[pairs, D]: cached embeddings. */
  readonly stale: Float32Array;
  /**
   * f32[pairs, D']: embeddings made with the current weights. They are the teacher: no gradient flows to the
   * model that made them.
   */
  readonly fresh: Float32Array;
  /** i32[pairs]: steps since each stale embedding was made. Required by correctors with `usesAges`. */
  readonly ages?: Int32Array;
}

/** Pairs and queries that a corrector learns from in a training step. */
export interface CorrectorBatch extends EmbeddingPairs {
  /** f32[B, D'] · 1/τ: queries whose distribution over the pairs a corrector may match. They get no gradient. */
  readonly queries?: Float32Array;
}

/**
 * Corrector: a learned map h with parameters Ψ from stale embeddings to the current ones (Monath et al., ICML
 * 2024):
 *
 *     h(b; Ψ) ≈ g(y; Θ_now)      b = g(y; Θ_then), both of unit norm
 *
 * A new corrector is the identity, so a run starts as with an uncorrected table. A corrector sees only the
 * stale embedding: documents with similar stale embeddings keep similar ones.
 */
export interface Corrector {
  /** Kind of corrector. */
  readonly kind: CorrectorKind;
  /** Number of parameters. */
  readonly parameters: number;
  /** Floating-point operations to correct one row. */
  readonly flopsPerRow: number;
  /** Whether `correct` and `learn` need ages. */
  readonly usesAges: boolean;
  /**
   * Corrects embeddings: f32[rows, D'] of unit norm.
   *
   * @param rows  f32 or f16 [rows, D]
   * @param options.ages  i32[rows], required if `usesAges`
   * @param options.into  f32[rows, D'] to write to; default a new array
   * @throws ShapeError when sizes do not fit together
   * @throws UsageError when a row is not finite
   */
  correct(
    rows: HostTensor,
    options?: { ages?: Int32Array; into?: Float32Array<ArrayBuffer> },
  ): Promise<Float32Array<ArrayBuffer>>;
  /**
   * Learns from a batch of pairs, alone or together with earlier pairs.
   *
   * @param step  number of the update, from 1; together with the seed it keys all randomness
   * @returns metrics to log, by name
   */
  learn(batch: CorrectorBatch, step: number): Promise<Readonly<Record<string, number>>>;
  /** Returns the state for a checkpoint: parameters, optimizer state and stored pairs. Empty if there is none. */
  state(): Readonly<Record<string, HostTensor>>;
  /** Restores a state that `state` returned. */
  restore(state: Readonly<Record<string, HostTensor>>): Promise<void>;
  /** Frees the compiled programs. */
  dispose(): Promise<void>;
}
