import type { HostTensor } from '../runtime/host-tensor.ts';

export const CORRECTOR_KINDS = ['identity', 'mean-shift', 'procrustes', 'ridge', 'low-rank', 'mlp'] as const;
/** How stale embeddings are moved to where they would be now; one file each. */
export type CorrectorKind = (typeof CORRECTOR_KINDS)[number];

/** The same texts embedded twice. */
export interface EmbeddingPairs {
  /** f32[pairs, D]: as they are cached. */
  readonly stale: Float32Array;
  /** f32[pairs, D']: with the weights as they are now. The teacher: no gradient goes to whatever made them. */
  readonly fresh: Float32Array;
  /** i32[pairs]: steps since the stale one was made; needed by correctors that take ages. */
  readonly ages?: Int32Array;
}

/** What a corrector learns from in a training step. */
export interface CorrectorBatch extends EmbeddingPairs {
  /** f32[B, D'] · 1/τ: queries whose distribution over the pairs a corrector may match. No gradient goes to them. */
  readonly queries?: Float32Array;
}

/**
 * A map from stale embeddings to where they would be now (Monath et al., ICML 2024):
 *
 *     h(b; Ψ) ≈ g(y; Θ_now)      b = g(y; Θ_then), both of unit norm
 *
 * At first it is the identity, so that a run begins as one with an uncorrected table. It can use nothing but what the stale
 * embedding still holds: documents that were alike then stay alike.
 */
export interface Corrector {
  readonly kind: CorrectorKind;
  /** Numbers that learning sets. */
  readonly parameters: number;
  /** Operations to correct a row. */
  readonly flopsPerRow: number;
  /** Whether `correct` and `learn` need ages. */
  readonly usesAges: boolean;
  /**
   * f32[rows, D'] of unit norm.
   * @param rows  f32 or f16 [rows, D]
   * @param options.ages  i32[rows]
   * @param options.into  f32[rows, D'] to write to, where a new array is not wanted
   */
  correct(
    rows: HostTensor,
    options?: { ages?: Int32Array; into?: Float32Array<ArrayBuffer> },
  ): Promise<Float32Array<ArrayBuffer>>;
  /**
   * Learns from what a step has embedded anew, by itself or together with earlier pairs.
   * @param step  number of the update, from 1: with the seed it keys all randomness
   * @returns  figures worth logging, by name
   */
  learn(batch: CorrectorBatch, step: number): Promise<Readonly<Record<string, number>>>;
  /** For a checkpoint: parameters, optimizer state, pairs that are kept. Empty where there is nothing. */
  state(): Readonly<Record<string, HostTensor>>;
  restore(state: Readonly<Record<string, HostTensor>>): Promise<void>;
  dispose(): Promise<void>;
}
