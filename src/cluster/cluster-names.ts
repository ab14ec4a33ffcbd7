/** Names of all that a cluster has on a server: streams, subjects, buckets and consumers. */
export interface ClusterNames {
  /** Stream of tasks: a block of rows to embed. A task leaves it when its results are in the stream of results. */
  readonly tasks: string;
  /** Stream of results: embeddings. They leave it when they are durable in their shard. */
  readonly results: string;
  /** Stream of dead letters: tasks and results that were given up. */
  readonly dead: string;
  /** Bucket of keys and values that stay: records of shards. */
  readonly control: string;
  /** Bucket of keys and values that end by themselves: leases and records of workers. */
  readonly live: string;
  /** Bucket of objects: models. */
  readonly models: string;
  /** Consumer of all workers on the stream of tasks. */
  readonly workers: string;
  /** Subject of a shard's tasks; of all shards without a name. */
  taskSubject(shard?: string): string;
  /** Subject of a shard's results. */
  resultSubject(shard?: string): string;
  /** Subject of a shard's dead letters. */
  deadSubject(shard?: string): string;
  /** Subject of requests to the owner of a shard. Kinds are `rows`, `stale`, `counts` and what the owner offers besides. */
  askSubject(shard: string, kind: string): string;
  /** Consumer of a shard's owner on the stream of results. */
  ownerConsumer(shard: string): string;
}

/** Makes the names of a cluster from its name space. */
export const clusterNames = (name: string): ClusterNames => ({
  tasks: `${name}_TASKS`,
  results: `${name}_RESULTS`,
  dead: `${name}_DEAD`,
  control: `${name}_ctl`,
  live: `${name}_live`,
  models: `${name}_models`,
  workers: 'workers',
  taskSubject: (shard = '>') => `${name}.tasks.${shard}`,
  resultSubject: (shard = '>') => `${name}.results.${shard}`,
  deadSubject: (shard = '>') => `${name}.dead.${shard}`,
  askSubject: (shard, kind) => `${name}.ask.${shard}.${kind}`,
  ownerConsumer: (shard) => `owner-${shard}`,
});
