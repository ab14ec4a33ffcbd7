import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamManager, StreamConfig } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import type { ObjectStore } from '@nats-io/obj';
import { RuntimeError, UndriftError } from '../util/errors.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterNames } from './cluster-names.ts';
import { unlessAborted } from './waiting.ts';

/** Settings of {@link ensureStreams}. Tests shorten the times. */
export interface StreamOptions {
  /** Time after which a task or a result that nobody has worked on goes to another, in milliseconds. Default 60,000. */
  readonly ackWaitMs?: number | undefined;
  /** Time after which a lease and the record of a worker end that are not renewed, in milliseconds. Default 15,000. */
  readonly leaseMs?: number | undefined;
  /** Room for results that wait for their owners, in bytes. Default 268,435,456. */
  readonly resultBytes?: number | undefined;
  /** Ends the wait for a server that does not answer or has no leader yet. */
  readonly signal?: AbortSignal | undefined;
}

/** Time after which work is handed out again. */
export const ACK_WAIT_MS = 60_000;
const LEAST_WAIT_MS = 1000;
/** Life of a lease. */
export const LEASE_MS = 15_000;

/** Room for results that wait for their owners. Workers wait when there is none. */
export const RESULT_BYTES = 1 << 28;
/** Age at which tasks and results are dropped, such as late ones of a shard that is no more. What was lost is still stale. */
const MOST_AGE_MS = 24 * 3_600_000;
/** Most dead letters that are kept. */
const DEAD_LETTERS = 10_000;
/** Most tasks and results that are being worked on. */
const PENDING = 65_536;

/** Attempts to make a stream: servers that have just started have no leader yet. */
const TRIES = 40;
const PAUSE_MS = 500;

/** Streams and buckets of a cluster, ready for use. */
export interface ClusterStreams {
  readonly manager: JetStreamManager;
  readonly names: ClusterNames;
  /** What stays: records of shards. */
  readonly control: KV;
  /** What ends unless it is renewed: leases and records of workers. */
  readonly live: KV;
  readonly models: ObjectStore;
  readonly ackWaitMs: number;
  readonly leaseMs: number;
}

/**
 * Makes the streams and buckets of a cluster that are missing. Those that exist stay as they are; a stream is never made anew under its
 * name.
 *
 * @throws RuntimeError if the server refuses
 * @throws the reason of `options.signal` once it is aborted
 */
export async function ensureStreams(cluster: Cluster, options: StreamOptions = {}): Promise<ClusterStreams> {
  const { ackWaitMs = ACK_WAIT_MS, leaseMs = LEASE_MS, resultBytes = RESULT_BYTES, signal } = options;
  const { names, nats, stream, replicas } = cluster;
  const { RetentionPolicy, DiscardPolicy, StorageType } = nats.jetstream;
  const common = { storage: StorageType.File, num_replicas: replicas };
  const queue = {
    ...common,
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    max_age: nats.transport.nanos(MOST_AGE_MS),
  };
  const ensure = async (): Promise<ClusterStreams> => {
    await makeStream(cluster, { ...queue, name: names.tasks, subjects: [names.taskSubject()] });
    await makeStream(cluster, {
      ...queue,
      name: names.results,
      subjects: [names.resultSubject()],
      max_bytes: resultBytes,
    });
    await makeStream(cluster, {
      ...common,
      name: names.dead,
      subjects: [names.deadSubject()],
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      max_msgs: DEAD_LETTERS,
    });
    const waitMs = await makeConsumer(cluster, names.tasks, names.workers, names.taskSubject(), ackWaitMs);
    const keys = new nats.kv.Kvm(stream);
    const bucket = { ...{ history: 1, storage: StorageType.File, replicas }, allow_direct: false };
    const live = await keys.create(names.live, { ...bucket, ttl: leaseMs });
    return {
      manager: cluster.manager,
      names,
      live,
      control: await keys.create(names.control, bucket),
      models: await new nats.obj.Objm(stream).create(names.models, {
        storage: nats.obj.StorageType.File,
        replicas,
      }),
      ackWaitMs: waitMs,
      leaseMs: (await live.status()).ttl,
    };
  };
  return await patiently(cluster, ensure, signal);
}

/**
 * Lists the keys of a bucket that begin with a prefix, which ends in a dot. Keys that were deleted may be among them. The client's own
 * function makes a consumer for every list, which stays on the server for minutes.
 */
export async function keysOf({ manager }: ClusterStreams, bucket: string, prefix: string): Promise<string[]> {
  const subjects = `$KV.${bucket}.`;
  const { state } = await manager.streams.info(`KV_${bucket}`, { subjects_filter: `${subjects}${prefix}>` });
  return Object.keys(state.subjects ?? {})
    .map((subject) => subject.slice(subjects.length))
    .sort();
}

/** Makes the consumer of a shard's owner on the stream of results, and returns the time after which it hands results out again. */
export const ensureOwnerConsumer = (
  cluster: Cluster,
  shard: string,
  { ackWaitMs }: ClusterStreams,
): Promise<number> => {
  const { names } = cluster;
  const filter = names.resultSubject(shard);
  // What a killed owner has taken comes to the next one soon.
  const waitMs = Math.max(LEAST_WAIT_MS, ackWaitMs / 4);
  return patiently(cluster, () =>
    makeConsumer(cluster, names.results, names.ownerConsumer(shard), filter, waitMs),
  );
};

/** Makes a consumer that is missing, and returns the time after which it hands messages out again, in milliseconds. */
async function makeConsumer(
  { manager, nats }: Cluster,
  stream: string,
  name: string,
  filter: string,
  ackWaitMs: number,
): Promise<number> {
  const { JetStreamApiError, JetStreamApiCodes, AckPolicy } = nats.jetstream;
  const { nanos, millis } = nats.transport;
  try {
    return millis((await manager.consumers.info(stream, name)).config.ack_wait ?? nanos(ackWaitMs));
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.ConsumerNotFound)
      throw error;
  }
  await manager.consumers.add(stream, {
    durable_name: name,
    filter_subject: filter,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ackWaitMs),
    max_deliver: -1,
    max_ack_pending: PENDING,
  });
  return ackWaitMs;
}

async function makeStream(
  { manager, nats }: Cluster,
  config: Partial<StreamConfig> & { name: string },
): Promise<void> {
  const { JetStreamApiError, JetStreamApiCodes } = nats.jetstream;
  try {
    await manager.streams.info(config.name);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.StreamNotFound) throw error;
    await manager.streams.add(config);
  }
}

/** Tries again while the servers elect a leader. */
async function patiently<T>(cluster: Cluster, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await unlessAborted(work(), signal);
    } catch (cause) {
      if (cause instanceof UndriftError || signal?.aborted) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      if (
        tries === TRIES ||
        /permission|insufficient (storage|memory)/i.test(reason) ||
        cluster.connection.isClosed()
      ) {
        throw new RuntimeError(
          `${cluster.address.shown}: the streams of the cluster cannot be made: ${reason}`,
          {
            help: 'the user needs the rights of JetStream, and the server room for 1 GB; a cluster of servers needs three of them',
            cause,
          },
        );
      }
      await sleep(PAUSE_MS);
    }
  }
}
