import type { CorrectorKind } from '../../src/correctors/corrector.ts';
import type { TrainOptions } from '../../src/train/settings.ts';

/** What `snapshots.ts` is told. Paths are relative to the file. */
export interface SnapshotConfig {
  readonly name: string;
  readonly data: string;
  /** Folder of the training run. */
  readonly run: string;
  readonly result: string;
  readonly train: Omit<TrainOptions, 'data' | 'out'>;
  /** Step whose embeddings are kept: the stale ones. */
  readonly first: number;
  /** Later steps, whose embeddings are the fresh ones. */
  readonly snapshots: readonly number[];
  readonly split: string;
  /** Queries of the split, evenly spaced. */
  readonly queries: number;
  readonly correctors: readonly CorrectorKind[];
  /** Strength of the regularisation of `procrustes`, `ridge` and `low-rank`. */
  readonly ridge: number;
  /** Pairs that they are fitted to. */
  readonly samples: readonly number[];
  /** Parameters against sample size, at two ages. */
  readonly regimes: {
    readonly snapshots: Readonly<Record<string, number>>;
    /** Of the hidden layer of `mlp`. */
    readonly widths: readonly number[];
    /** Other strengths of `ridge`. */
    readonly ridges: readonly number[];
    readonly samples: readonly number[];
  };
}

/** Means over the queries, over all N documents. */
export interface DistributionError {
  /** KL(P ‖ P̃) in nats. */
  readonly kl: number;
  /** Share of the ten documents that score best, fresh, which are among the ten best of the other scores. */
  readonly recall: number;
}

export interface SnapshotFact extends DistributionError {
  readonly step: number;
  /** mean ‖b − g‖² */
  readonly distance: number;
}

/** A corrector that was fitted, and what it is worth. */
export interface Fitted extends DistributionError {
  readonly step: number;
  readonly corrector: CorrectorKind;
  /** What is not as everywhere else: width of `mlp`, strength of `ridge`. */
  readonly hidden?: number;
  readonly ridge?: number;
  readonly parameters: number;
  readonly sample: number;
  /** mean ‖h(b) − g‖² over documents that were not fitted to. */
  readonly error: number;
}

export interface SnapshotResults {
  readonly name: string;
  readonly machine: string;
  readonly config: SnapshotConfig;
  readonly documents: number;
  readonly queries: number;
  readonly dimension: number;
  readonly inverseTemperature: number;
  /** Of the snapshots, stale embeddings as they are. */
  readonly stale: SnapshotFact[];
  readonly fitted: Fitted[];
  /** By the name of the regime. */
  readonly regimes: Readonly<Record<string, Fitted[]>>;
}
