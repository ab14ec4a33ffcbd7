import type { CorrectorKind } from '../../src/correctors/corrector.ts';

/** Search over a corpus in which a share of the documents has been embedded by the new model. */
export interface MigrationPoint {
  readonly seed: number;
  /** Share of the documents that the new model has embedded, from 0 to 1. */
  readonly share: number;
  /** Value of the metric. */
  readonly quality: number;
  /** Share of the 10 best documents after a full re-embedding that are found among the 10 best. */
  readonly overlap: number;
}

/** Search after the documents that other queries have met were embedded by the new model, and all others moved. */
export interface LazyRefresh {
  readonly seed: number;
  /** Share of the documents that were met. */
  readonly share: number;
  /** Metric with all documents moved. */
  readonly before: number;
  /** Metric with the documents that were met embedded by the new model. */
  readonly met: number;
  /** Metric with as many documents, drawn at random, embedded by the new model. */
  readonly random: number;
  /** Metric after a full re-embedding. */
  readonly full: number;
}

/** Migration from one model to another on one data set. */
export interface MigrationEntry {
  readonly name: string;
  readonly data: string;
  readonly documents: number;
  readonly queries: number;
  /** Documents that both models embed, to fit the corrector to. */
  readonly sample: number;
  /** Metric of the old model alone. */
  readonly old: number;
  /** Metric of the new model after a full re-embedding. */
  readonly full: number;
  /** Overlap of the old model's 10 best with those of a full re-embedding. */
  readonly overlapOld: number;
  /** Kind of corrector that each seed has chosen. */
  readonly kinds: readonly CorrectorKind[];
  /** Mean squared error of the corrector on held-out documents, by seed. */
  readonly heldOutError: readonly number[];
  /** The same without corrector; null if the sizes of the vectors differ. */
  readonly staleError: number | null;
  /** Other documents moved by the corrector. */
  readonly corrected: readonly MigrationPoint[];
  /** All documents moved, by correctors fitted to smaller samples. */
  readonly samples: readonly (MigrationPoint & { readonly sample: number; readonly kind: CorrectorKind })[];
  /** Effect of the order of the backfill. */
  readonly lazy: readonly LazyRefresh[];
  /** Other documents as the old model has embedded them; empty if the sizes differ. */
  readonly stale: readonly MigrationPoint[];
  /** Other documents left out. */
  readonly missing: readonly MigrationPoint[];
}

/** Content of bench/results/corrector/migration.json. */
export interface MigrationResults {
  readonly machine: unknown;
  readonly metric: string;
  readonly entries: readonly MigrationEntry[];
}
