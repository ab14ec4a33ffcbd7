import type { RetrievalData } from '../data/retrieval-data.ts';
import { sharedBest } from '../eval/ranking.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import { evaluateStore, type StoreEvaluation } from '../store/evaluate-store.ts';
import type { Store } from '../store/store.ts';
import type { StoredMigration } from '../store/store-head.ts';
import { StoreSearcher } from '../store/store-searcher.ts';
import type { Progress } from '../util/progress.ts';
import { underWay } from './migrate-store.ts';

/** Settings of {@link migrationReport}. */
export interface MigrationReportOptions extends ComputeOptions {
  /** Metrics to compute. Default `ndcg@10`, `recall@100`. */
  readonly metrics?: readonly string[] | undefined;
  /** Largest number of queries. Default all. */
  readonly limitQueries?: number | undefined;
  /** Called with progress in queries. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Metrics by name. */
export type MetricValues = Readonly<Record<string, number>>;

/** Comparison of a store in migration with what it was. */
export interface MigrationReport {
  /** The migration. */
  readonly migration: StoredMigration;
  /** Number of queries. */
  readonly queries: number;
  /** Share of the passages that the new model has embedded. */
  readonly share: number;
  /** Former model: its queries over its vectors. */
  readonly old: MetricValues;
  /** Store as it is: queries of the new model over its vectors and moved ones. */
  readonly mixed: MetricValues;
  /** New model over its vectors alone, without those that are missing: what the store would give without a corrector. */
  readonly uncorrected: MetricValues;
  /** Mean share of the 10 best passages of the former model that are among the 10 best of the store as it is. */
  readonly overlap: number;
}

const METRICS = ['ndcg@10', 'recall@100'];
const OVERLAP_DEPTH = 10;

/**
 * Measures a migration that is under way on labelled queries.
 *
 * @throws UsageError if no migration is under way, or the store holds none of the judged documents
 */
export async function migrationReport(
  store: Store,
  data: RetrievalData,
  split: string,
  { metrics = METRICS, limitQueries, onProgress, ...compute }: MigrationReportOptions = {},
): Promise<MigrationReport> {
  const migration = underWay(store);
  const measure = async (
    stage: string,
    where: { space?: string; corrected?: boolean },
  ): Promise<StoreEvaluation> => {
    const searcher = new StoreSearcher(store, { ...compute, ...where });
    try {
      return await evaluateStore(store, searcher, data, split, {
        mode: 'dense',
        metrics,
        limitQueries,
        onProgress: (progress) => onProgress?.({ ...progress, stage: `${progress.stage}, ${stage}` }),
      });
    } finally {
      await searcher.dispose();
    }
  };
  const old = await measure('former model', { space: migration.from });
  const mixed = await measure('mixed', {});
  const uncorrected = await measure('without corrector', { corrected: false });
  const { passages, embeddings } = await store.snapshot();
  return {
    migration,
    queries: mixed.queries,
    share: (await embeddings(migration.to).count()) / (await passages.count()),
    old: old.metrics,
    mixed: mixed.metrics,
    uncorrected: uncorrected.metrics,
    overlap: sharedBest(old.run, mixed.run, OVERLAP_DEPTH),
  };
}
