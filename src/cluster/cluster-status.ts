import { UsageError } from '../util/errors.ts';
import type { Cluster } from './cluster.ts';
import { countDeadLetters, readDeadLetters } from './dead-letters.ts';
import { holderOf } from './lease.ts';
import { formatRows } from './row-list.ts';
import { readShards, type ShardRecord } from './shard-record.ts';
import { type ClusterStreams, ensureStreams, type StreamOptions } from './streams.ts';
import { unlessAborted } from './waiting.ts';
import { readWorkers, type WorkerFacts } from './worker-record.ts';

/** State of one shard. */
export interface ShardStatus extends ShardRecord {
  /** Whether its owner runs. Without one, the other facts are those that it last told. */
  readonly hasOwner: boolean;
  /** Machine and process of its coordinator; empty if there is none. */
  readonly coordinator: string;
  /** Tasks that wait or are worked on. */
  readonly tasks: number;
  /** Messages with results that wait for the owner. */
  readonly results: number;
  /** Blocks that were given up. */
  readonly deadLetters: number;
  /** Workers whose last task was of this shard. */
  readonly workers: number;
  /** Time left at its rate, in seconds; 0 if nothing is stale, null if nothing is stored at present. */
  readonly secondsLeft: number | null;
}

/** State of a cluster. */
export interface ClusterStatus {
  /** Address, without user and password. */
  readonly address: string;
  /** Version of the server. */
  readonly server: string;
  /** Rows of all shards. */
  readonly rows: number;
  /** Rows that are not of the wanted version of their shard. */
  readonly stale: number;
  /** Rows stored per second over the last minute. */
  readonly rowsPerSecond: number;
  /** Time left at this rate, in seconds; 0 if nothing is stale, null if nothing is stored at present. */
  readonly secondsLeft: number | null;
  readonly shards: readonly ShardStatus[];
  readonly workers: readonly WorkerFacts[];
  /** Last blocks that were given up, at most ten; the newest last. */
  readonly deadLetters: readonly {
    readonly shard: string;
    readonly version: string;
    readonly rows: string;
    readonly reason: string;
    readonly by: string;
    readonly time: number;
  }[];
}

/** Dead letters that are shown. */
const SHOWN_LETTERS = 10;

/**
 * Opens the streams of a cluster that exists.
 *
 * @throws UsageError if there is none of this name
 * @throws the reason of `options.signal` once it is aborted
 */
export async function openStreams(
  cluster: Cluster,
  options: Pick<StreamOptions, 'signal'> = {},
): Promise<ClusterStreams> {
  const { manager, names, nats, address } = cluster;
  const { JetStreamApiError, JetStreamApiCodes } = nats.jetstream;
  try {
    await unlessAborted(manager.streams.info(names.tasks), options.signal);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) {
      throw new UsageError(
        `${address.shown}: there is no cluster of the name ${address.name} on this server`,
        {
          help: 'start an owner or a worker, or give the name that they have at the end of the address',
        },
      );
    }
    throw error;
  }
  return await ensureStreams(cluster, options);
}

/** Describes a cluster. */
export async function clusterStatus(cluster: Cluster, streams: ClusterStreams): Promise<ClusterStatus> {
  const { manager, names, address, connection } = cluster;
  const counted = async (stream: string, filter: string) =>
    (await manager.streams.info(stream, { subjects_filter: filter })).state.subjects ?? {};
  const [records, workers, tasks, results, dead] = await Promise.all([
    readShards(streams),
    readWorkers(streams),
    counted(names.tasks, names.taskSubject()),
    counted(names.results, names.resultSubject()),
    countDeadLetters(cluster),
  ]);
  const shards = await Promise.all(
    records.map(async (record): Promise<ShardStatus> => {
      const { name } = record;
      const holder = async (key: string) => {
        const entry = await streams.live.get(key);
        return entry?.operation === 'PUT' ? holderOf(entry) : undefined;
      };
      const [owner, coordinator] = [await holder(`owner.${name}`), await holder(`coordinator.${name}`)];
      const rowsPerSecond = owner === undefined ? 0 : record.rowsPerSecond;
      return {
        ...{ ...record, rowsPerSecond },
        hasOwner: owner !== undefined,
        workers: workers.filter(({ shard }) => shard === name).length,
        secondsLeft: secondsLeft(record.stale, rowsPerSecond),
        coordinator: coordinator ? `${coordinator.host} ${coordinator.pid}` : '',
        tasks: tasks[names.taskSubject(name)] ?? 0,
        results: results[names.resultSubject(name)] ?? 0,
        deadLetters: dead.get(name) ?? 0,
      };
    }),
  );
  const sum = (of: (shard: ShardStatus) => number) => shards.reduce((total, shard) => total + of(shard), 0);
  const [rows, stale, rowsPerSecond] = [
    sum((each) => each.rows),
    sum((each) => each.stale),
    sum((each) => each.rowsPerSecond),
  ];
  const letters = dead.size === 0 ? [] : await readDeadLetters(cluster);
  return {
    address: address.shown,
    server: connection.info?.version ?? '',
    ...{ rows, stale, rowsPerSecond, shards, workers },
    secondsLeft: secondsLeft(stale, rowsPerSecond),
    deadLetters: letters
      .slice(-SHOWN_LETTERS)
      .map((letter) => ({ ...letter, rows: formatRows(letter.rows) })),
  };
}

/** Time until nothing is stale, in seconds; null if nothing is stored at present. */
const secondsLeft = (stale: number, rowsPerSecond: number): number | null =>
  stale === 0 ? 0 : rowsPerSecond > 0 ? stale / rowsPerSecond : null;
