import { UsageError } from '../util/errors.ts';
import type { Cluster } from './cluster.ts';
import { countDeadLetters, removeDeadLetters } from './dead-letters.ts';
import { Lease } from './lease.ts';
import { checkShard, removeShard } from './shard-record.ts';
import type { ClusterStreams } from './streams.ts';

/**
 * Removes a shard that has no owner from a cluster: its record, its tasks and results under way, and its blocks given up. Its store stays
 * as it is, and an owner that starts makes the shard anew.
 *
 * @throws UsageError if the cluster has no such shard, or its owner runs
 */
export async function forgetShard(cluster: Cluster, streams: ClusterStreams, name: string): Promise<void> {
  // That of a refresh has no record any more, but what was given up of it stays.
  if (!(await countDeadLetters(cluster)).has(name)) await checkShard(cluster, streams, name);
  const lease = await Lease.take(streams, `owner.${name}`, () => {});
  if (!lease)
    throw new UsageError(`the shard ${name} has an owner that runs`, { help: 'end the owner before' });
  try {
    await clearShard(cluster, streams, name);
    await removeDeadLetters(cluster, name);
  } finally {
    await lease.release();
  }
}

/** Removes the record of a shard and what is under way for it, whoever owns it. What was given up stays. */
export async function clearShard(cluster: Cluster, streams: ClusterStreams, name: string): Promise<void> {
  const { manager, names } = cluster;
  await Promise.all([
    removeShard(streams, name),
    manager.streams.purge(names.tasks, { filter: names.taskSubject(name) }),
    manager.streams.purge(names.results, { filter: names.resultSubject(name) }),
    // An owner that has never begun has no consumer.
    manager.consumers.delete(names.results, names.ownerConsumer(name)).catch(() => false),
  ]);
}
