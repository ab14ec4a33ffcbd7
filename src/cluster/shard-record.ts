import { UsageError } from '../util/errors.ts';
import { isObject } from '../util/json-objects.ts';
import type { Cluster } from './cluster.ts';
import { NAME_PATTERN } from './cluster-address.ts';
import type { ShardCounts } from './shard-keeper.ts';
import { type ClusterStreams, keysOf } from './streams.ts';
import { parseMessage } from './task.ts';

/** What the owner of a shard tells about it. The record stays when the owner is gone. */
export interface ShardRecord extends ShardCounts {
  readonly name: string;
  /** Wanted version; empty while there is none. */
  readonly version: string;
  /** Training steps of the wanted version. */
  readonly step: number;
  /** Embedding size D; 0 while no version is wanted. */
  readonly dimension: number;
  /** Digest of the published model of the wanted version; empty before it is needed. */
  readonly model: string;
  /** Rows stored per second, over the last minute. */
  readonly rowsPerSecond: number;
  /** Rows stored since the owner began. */
  readonly stored: number;
  /** What keeps the owner from storing, such as a full disk; empty if nothing does. */
  readonly problem: string;
  /** Kinds of requests that the owner answers besides those of every owner, such as those of searches. */
  readonly answers: readonly string[];
  /** Machine and process of the owner. */
  readonly owner: string;
}

const PREFIX = 'shard.';

/** Writes the record of a shard. */
export async function writeShard({ control }: ClusterStreams, record: ShardRecord): Promise<void> {
  await control.put(PREFIX + record.name, JSON.stringify(record));
}

/** Removes the record of a shard that is no more. */
export async function removeShard({ manager, names }: ClusterStreams, name: string): Promise<void> {
  // The bucket would keep a mark for each name that was removed, and each refresh of a training run has its own.
  const filter = `$KV.${names.control}.${PREFIX}${name}`;
  await manager.streams.purge(`KV_${names.control}`, { filter });
}

/** Reads the record of a shard; undefined if there is none. */
export async function readShard({ control }: ClusterStreams, name: string): Promise<ShardRecord | undefined> {
  const entry = await control.get(PREFIX + name);
  return entry?.operation === 'PUT' ? parseShard(name, entry.value) : undefined;
}

/** @throws UsageError if a cluster has no record of a shard */
export async function checkShard({ address }: Cluster, streams: ClusterStreams, name: string): Promise<void> {
  if (NAME_PATTERN.test(name) && (await readShard(streams, name))) return;
  throw new UsageError(`${address.shown} has no shard ${name}`, {
    help: 'undrift cluster status lists the shards',
  });
}

/** Reads the records of all shards, by name. */
export async function readShards(streams: ClusterStreams): Promise<ShardRecord[]> {
  const keys = await keysOf(streams, streams.names.control, PREFIX);
  const found = await Promise.all(keys.map((key) => readShard(streams, key.slice(PREFIX.length))));
  return found.flatMap((record) => record ?? []);
}

function parseShard(name: string, data: Uint8Array): ShardRecord | undefined {
  try {
    const json = parseMessage(data);
    const text = (key: string) => String(json[key] ?? '');
    const number = (key: string) => Number(json[key] ?? 0);
    const versions = (Array.isArray(json.versions) ? json.versions : []).filter(isObject);
    return {
      name,
      ...{ version: text('version'), model: text('model'), problem: text('problem'), owner: text('owner') },
      ...{
        step: number('step'),
        dimension: number('dimension'),
        rows: number('rows'),
        stale: number('stale'),
      },
      ...{ rowsPerSecond: number('rowsPerSecond'), stored: number('stored') },
      answers: (Array.isArray(json.answers) ? json.answers : []).map(String),
      versions: versions.map(({ id, step, rows }) => ({
        ...{ id: String(id), step: Number(step), rows: Number(rows) },
      })),
    };
  } catch {
    return undefined;
  }
}
