import type { CorrectorKind } from '../../src/correctors/corrector.ts';
import type { TrainOptions } from '../../src/train/settings.ts';

/** Config file of `snapshots.ts`. Paths are relative to the file. */
export interface SnapshotConfig {
  /** Name of the experiment. */
  readonly name: string;
  /** Folder of the data set. */
  readonly data: string;
  /** Folder of the training run. */
  readonly run: string;
  /** Result file. */
  readonly result: string;
  /** Options of the training run. A `model` that begins with a dot is a path relative to the file. */
  readonly train: Omit<TrainOptions, 'data' | 'out'>;
  /** Step of the stale embeddings; 0 for the weights that training starts from. */
  readonly first: number;
  /** Later steps, which give the fresh embeddings. */
  readonly snapshots: readonly number[];
  /** Split of the queries. */
  readonly split: string;
  /** Number of queries, evenly spaced over the split. */
  readonly queries: number;
  /** Kinds of corrector to fit. */
  readonly correctors: readonly CorrectorKind[];
  /** Strength of the regularisation of `procrustes`, `ridge` and `low-rank`. */
  readonly ridge: number;
  /** Numbers of pairs in a fit. */
  readonly samples: readonly number[];
  /** Grid of parameters and sample sizes, at two ages. */
  readonly regimes: {
    readonly snapshots: Readonly<Record<string, number>>;
    /** Widths of the hidden layer of `mlp`. */
    readonly widths: readonly number[];
    /** Further strengths of `ridge`. */
    readonly ridges: readonly number[];
    readonly samples: readonly number[];
  };
}

/** Error of a distribution over all N documents. Means over the queries. */
export interface DistributionError {
  /** KL(P ‖ P̃) in nats. */
  readonly kl: number;
  /**
   * Share of the ten best documents under fresh scores that are also among the ten best under the other
   * scores.
   */
  readonly recall: number;
}

/** Error of uncorrected stale embeddings at one snapshot. */
export interface SnapshotFact extends DistributionError {
  /** Training step of the fresh embeddings. */
  readonly step: number;
  /** mean ‖b − g‖² */
  readonly distance: number;
}

/** Fitted corrector with its error. */
export interface Fitted extends DistributionError {
  /** Training step of the fresh embeddings. */
  readonly step: number;
  /** Kind of the corrector. */
  readonly corrector: CorrectorKind;
  /** Width of `mlp`, if it differs from the default. */
  readonly hidden?: number;
  /** Strength of `ridge`, if it differs from that of the config. */
  readonly ridge?: number;
  /** Number of parameters. */
  readonly parameters: number;
  /** Number of pairs in the fit. */
  readonly sample: number;
  /** mean ‖h(b) − g‖² over documents outside the fit. */
  readonly error: number;
}

/** Result file of `snapshots.ts`. */
export interface SnapshotResults {
  readonly name: string;
  readonly machine: string;
  readonly config: SnapshotConfig;
  readonly documents: number;
  readonly queries: number;
  readonly dimension: number;
  readonly inverseTemperature: number;
  /** Errors of the uncorrected stale embeddings, by snapshot. */
  readonly stale: SnapshotFact[];
  /** Correctors by snapshot and sample size. */
  readonly fitted: Fitted[];
  /** Correctors of each regime, by its name. */
  readonly regimes: Readonly<Record<string, Fitted[]>>;
}
