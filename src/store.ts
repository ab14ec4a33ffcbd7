/**
 * Passages and their vectors in a folder: indexing, search by vectors, by words and by both. Needs the optional peers
 * `@lancedb/lancedb` and `apache-arrow`.
 *
 *     import { indexPassages, Store, StoreSearcher } from 'undrift/store';
 *
 * @module undrift/store
 */
export { type BackfillOptions, backfill } from './migration/backfill.ts';
export type { ChosenCorrector, MigrationOptions } from './migration/choose-corrector.ts';
export type { Compared } from './migration/compared-rankers.ts';
export type { Direction } from './migration/correction-options.ts';
export {
  LazyRefresh,
  type REFRESH_OPTIONS,
  type RefreshOptions,
  type RefreshRun,
  type RefreshStatus,
} from './migration/lazy-refresh.ts';
export {
  cutOver,
  rollBack,
  type StartedMigration,
  type StartOptions,
  startMigration,
} from './migration/migrate-store.ts';
export {
  type ComparedSearches,
  type MetricValues,
  type MigrationReport,
  type MigrationReportOptions,
  migrationReport,
  type ReportedThresholds,
  type ThresholdPair,
} from './migration/migration-report.ts';
export {
  type MigrationPlan,
  type PlannedThresholds,
  type PlanOptions,
  planMigration,
} from './migration/plan-migration.ts';
export { type EmbeddedPart, type ModelUse, type RowKeeper, storeKeeper } from './migration/row-keeper.ts';
export {
  type RefitOptions,
  type RefittedThreshold,
  refitThreshold,
  type ScoredResults,
  type ThresholdProperty,
} from './migration/score-threshold.ts';
export { type FusedRows, fuseRanks, fuseScores, type RankedRows } from './search/fusion.ts';
export { type Canaries, type CanaryCheck, checkCanaries, readCanaries } from './store/canaries.ts';
export type { EmbeddingRows, PassageRow } from './store/columns.ts';
export type {
  ApproximateKind,
  ApproximateOptions,
  EmbeddingTable,
  RowVersions,
  ScoredRows,
} from './store/embedding-table.ts';
export {
  type FieldCondition,
  type FilterValue,
  type MetadataFilter,
  parseCondition,
} from './store/filter.ts';
export { type IndexCounts, type IndexOptions, indexPassages } from './store/index-passages.ts';
export { buildApproximateIndex, removePassages } from './store/maintain.ts';
export type { PassageInput } from './store/passage-input.ts';
export type { PassageTable, ShownRow, StoredPassage, TermMatch } from './store/passage-table.ts';
export type { EmbeddedQueries } from './store/query-adapter.ts';
export type { MetPassage, RefreshRate, RefreshRecord } from './store/refresh-file.ts';
export type { StoreRerank } from './store/rerank-search.ts';
export type { AgeQuantiles, Staleness, VersionShare } from './store/staleness.ts';
export { Store, type StoreDraft, type StoreOptions, type StoreSnapshot } from './store/store.ts';
export type { HeadFile } from './store/store-head.ts';
export {
  ADAPTERS,
  type Adapter,
  type StoredBridge,
  type StoredMigration,
  type StoredSpace,
  type StoredTerms,
  type StoreHead,
} from './store/store-head.ts';
export type { StoreFiles, StorePlace, WriterLock } from './store/store-place.ts';
export {
  type SearcherOptions,
  type SearchMode,
  type StoreHit,
  StoreSearcher,
  type StoreSearchOptions,
} from './store/store-searcher.ts';
export {
  type MigrationProgress,
  type RefreshProgress,
  type SpaceStatus,
  type StoreStatus,
  storeStatus,
} from './store/store-status.ts';
