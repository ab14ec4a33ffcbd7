/**
 * Embedding and searching on several machines, over NATS JetStream. Needs the optional peers `@nats-io/transport-node`, `@nats-io/jetstream`,
 * `@nats-io/kv` and `@nats-io/obj`.
 *
 *     import { connectCluster, ensureStreams, runWorker } from 'undrift/cluster';
 *
 * @module undrift/cluster
 */
export type { Answer } from './cluster/ask.ts';
export { type Cluster, type ConnectOptions, connectCluster } from './cluster/cluster.ts';
export type { ClusterAddress, CONNECTION_OPTIONS, ConnectionSettings } from './cluster/cluster-address.ts';
export { type ClusterEmbedderOptions, clusterEmbedder } from './cluster/cluster-embedder.ts';
export type { ClusterNames } from './cluster/cluster-names.ts';
export type { CLUSTER_OPTIONS, ClusterPlace, GivenCluster } from './cluster/cluster-options.ts';
export { runOverCluster } from './cluster/cluster-run.ts';
export {
  type ClusterFound,
  type ClusterHit,
  ClusterSearcher,
  type ClusterSearcherOptions,
  type MissingShard,
} from './cluster/cluster-search.ts';
export {
  type ClusterStatus,
  clusterStatus,
  openStreams,
  type ShardStatus,
} from './cluster/cluster-status.ts';
export { type CoordinatorOptions, type CoordinatorOutcome, runCoordinator } from './cluster/coordinator.ts';
export { type EmbedStoreOptions, embedStore } from './cluster/embed-store.ts';
export { forgetShard } from './cluster/forget-shard.ts';
export type { Nats } from './cluster/nats.ts';
export { Owner, type OwnerOptions } from './cluster/owner.ts';
export type { ClusterOutcome, ClusterRunOptions } from './cluster/run-options.ts';
export type {
  EmbeddedRows,
  RowTokens,
  ShardCounts,
  ShardKeeper,
  WantedVersion,
} from './cluster/shard-keeper.ts';
export type { ShardRecord } from './cluster/shard-record.ts';
export { ShardSearch } from './cluster/shard-search.ts';
export { StoreShard, type StoreShardOptions, storeShard } from './cluster/store-shard.ts';
export { type ClusterStreams, ensureStreams, type StreamOptions } from './cluster/streams.ts';
export { runWorker, type WorkerOptions, type WorkerOutcome } from './cluster/worker.ts';
export type { WorkerFacts } from './cluster/worker-record.ts';
export type {
  EmbedderSettings,
  EmbedJob,
  OpenEmbedder,
  RowEmbedder,
} from './models/background/row-embedder.ts';
