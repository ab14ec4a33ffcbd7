import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Cluster, connectCluster } from '../cluster/cluster.ts';
import { CONNECTION_OPTIONS } from '../cluster/cluster-address.ts';
import { clusterStatus, openStreams } from '../cluster/cluster-status.ts';
import { runCoordinator } from '../cluster/coordinator.ts';
import { removeDeadLetters } from '../cluster/dead-letters.ts';
import { shardOf } from '../cluster/embed-store.ts';
import { forgetShard } from '../cluster/forget-shard.ts';
import { Owner } from '../cluster/owner.ts';
import { checkShard } from '../cluster/shard-record.ts';
import { ShardSearch } from '../cluster/shard-search.ts';
import { type StoreShard, storeShard } from '../cluster/store-shard.ts';
import { ensureStreams } from '../cluster/streams.ts';
import { runWorker } from '../cluster/worker.ts';
import { COMPUTE_OPTIONS } from '../runtime/compute-options.ts';
import { Store } from '../store/store.ts';
import { STORE_OPTION } from '../store/store-options.ts';
import { RuntimeError, UsageError } from '../util/errors.ts';
import { count, formatDuration, plural } from '../util/format.ts';
import type { OptionTable } from '../util/option-table.ts';
import { defineCommand } from './command.ts';
import { formatClusterStatus } from './format-cluster.ts';
import type { Io } from './io.ts';
import { untilStopped } from './serve.ts';
import { computeOptions } from './shared-options.ts';

const NATS_OPTIONS = {
  nats: {
    type: 'text',
    value: 'address',
    nonEmpty: true,
    help: 'cluster: nats://host:4222/NAME, or tls://; else the variable UNDRIFT_NATS_URL names it',
  },
  ...CONNECTION_OPTIONS,
} as const satisfies OptionTable;

/** Longest pass of a model, about: nothing is read meanwhile. */
const WORKER_PING_MS = 60_000;

interface NatsValues {
  readonly nats: string | undefined;
  readonly natsCreds: string | undefined;
  readonly natsCa: string | undefined;
  readonly natsReplicas: number | undefined;
}

async function connected(options: NatsValues, io: Io, pingMs?: number): Promise<Cluster> {
  const address = options.nats ?? process.env.UNDRIFT_NATS_URL;
  if (!address) {
    throw new UsageError('--nats is missing', {
      help: 'give the address of the cluster: --nats nats://host:4222, or set UNDRIFT_NATS_URL',
    });
  }
  return await connectCluster(address, {
    ...{ ...options, pingMs, signal: io.signal },
    onNote: (note) => io.log(`note: ${note}`),
  });
}

/** The command `undrift cluster worker`: embeds rows for the shards of a cluster. */
export const workerCommand = defineCommand({
  description:
    'A worker needs the address of the cluster and nothing else: models and texts come from there. Models are kept in the cache folder ' +
    '(UNDRIFT_CACHE). Any number of workers may come and go at any time. Ctrl-C gives back what the worker holds, and ends it.',
  options: {
    ...NATS_OPTIONS,
    idle: {
      type: 'number',
      min: 0,
      value: 'seconds',
      help: 'end when there has been no work for so long (default: wait for work)',
    },
    ...COMPUTE_OPTIONS,
  },
  stopsGracefully: true,
  examples: [
    '--nats nats://gpu-head:4222',
    '--nats tls://nats.example.org/docs --nats-creds worker.creds --threads 4',
  ],
  async run(options, io) {
    const cluster = await connected(options, io, WORKER_PING_MS);
    const began = { ms: performance.now(), cpu: process.cpuUsage() };
    try {
      const streams = await ensureStreams(cluster, { signal: io.signal });
      io.log(`worker of ${cluster.address.shown} (Ctrl-C ends)`);
      const outcome = await runWorker(cluster, streams, {
        ...computeOptions(options),
        signal: io.signal,
        idleMs: options.idle === undefined ? undefined : 1000 * options.idle,
        onNote: (note) => io.log(`note: ${note}`),
        onRows: (rows) => io.progress('embed', rows, { unit: 'rows' }),
      });
      io.finishProgress();
      const seconds = (performance.now() - began.ms) / 1000;
      const { user, system } = process.cpuUsage(began.cpu);
      return {
        json: { ...outcome, seconds, cpuSeconds: (user + system) / 1e6 },
        text: `${plural(outcome.rows, 'row')} in ${plural(outcome.blocks, 'block')}, ${formatDuration(1000 * seconds)}\n`,
      };
    } finally {
      await cluster.close();
    }
  },
});

/** The command `undrift cluster owner`: owns stores as shards of a cluster. */
export const ownerCommand = defineCommand({
  description:
    'The owner is the only process that writes its shards: it tells what is stale, stores what workers have embedded, and answers searches. A shard has ' +
    'one owner. Killed at any time, it goes on where it was. Ctrl-C stores what has arrived, and ends it.',
  options: {
    ...NATS_OPTIONS,
    store: {
      ...STORE_OPTION.store,
      required: true,
      help: 'store that is a shard, or folder of several stores that --shards names',
    },
    shards: {
      type: 'list',
      help: 'name of the shard (default: that of the folder); or names of the stores in the folder',
    },
    warm: {
      type: 'switch',
      default: false,
      help: 'load models and vectors at the start, so that the first search need not wait for them',
    },
    ...COMPUTE_OPTIONS,
  },
  stopsGracefully: true,
  examples: [
    '--nats nats://head:4222 --store stores/docs',
    '--nats nats://head:4222 --store stores --shards docs-1,docs-2',
  ],
  async run(options, io) {
    const note = (text: string) => io.log(`note: ${text}`);
    const places = shardPlaces(options.store, options.shards);
    const cluster = await connected(options, io);
    const owned: OwnedShard[] = [];
    try {
      const streams = await ensureStreams(cluster, { signal: io.signal });
      for (const { name, folder } of places) {
        const store = await Store.open(folder, { onNote: note });
        const search = new ShardSearch(store, { ...computeOptions(options), shards: places.length });
        const shard: OwnedShard = { keeper: storeShard(store, { name }), store, search };
        owned.push(shard);
        if (options.warm) await search.warm();
        shard.owner = await Owner.start(cluster, streams, shard.keeper, {
          ...{ signal: io.signal, onNote: note },
          answers: search.answers,
        });
        io.log(`owner of the shard ${name} in ${cluster.address.shown} (Ctrl-C ends)`);
      }
      await untilStopped(AbortSignal.any([io.signal, ...owned.flatMap(({ owner }) => owner?.lost ?? [])]));
      if (!io.signal.aborted) {
        throw new RuntimeError('another process has become the owner of a shard', {
          help: 'this process stood still for long; end the other one before you start this one again',
        });
      }
    } finally {
      for (const { keeper, store, search, owner } of owned) {
        await owner?.close();
        await search.dispose();
        await keeper.dispose();
        await store.close();
      }
      await cluster.close();
    }
    const shards = owned.map(({ keeper, owner }) => ({ name: keeper.name, stored: owner?.stored ?? 0 }));
    return {
      json: { shards },
      text: shards.map(({ name, stored }) => `${name}: ${plural(stored, 'row')} stored\n`).join(''),
    };
  },
});

/** Shard that the command owns, with its store. */
interface OwnedShard {
  readonly keeper: StoreShard;
  readonly store: Store;
  readonly search: ShardSearch;
  owner?: Owner;
}

/** Finds the shards of a folder: a store, or a folder of stores. */
function shardPlaces(
  location: string,
  shards: readonly string[] | undefined,
): { readonly name: string; readonly folder: string }[] {
  const isOne = /^[a-z0-9+.-]+:\/\//i.test(location) || existsSync(join(location, 'store.json'));
  if (!isOne && shards) return shards.map((name) => ({ name, folder: join(location, name) }));
  if (isOne && shards && shards.length > 1) {
    throw new UsageError(`${location} is one store, but --shards names ${count(shards.length)} shards`, {
      help: 'name the folder that holds the stores, or give one name',
    });
  }
  return [{ name: shards?.[0] ?? shardOf(location), folder: location }];
}

/** The command `undrift cluster coordinate`: hands out what is stale. */
export const coordinateCommand = defineCommand({
  description:
    'The coordinator derives tasks from the stamps of the rows, and keeps nothing itself: killed and started anywhere, it goes on. Several ' +
    'may run; each shard is coordinated by one of them. Blocks that five workers have failed on are given up, and shown by undrift cluster ' +
    'status.',
  options: {
    ...NATS_OPTIONS,
    outstanding: {
      type: 'integer',
      min: 1,
      max: 100_000,
      defaultHelp: '64, or 3 for each worker',
      help: 'tasks of a shard that are handed out at once',
    },
    untilDone: {
      type: 'switch',
      default: false,
      help: 'end when no row of any shard is stale but those given up; exit code 1 if there are such',
    },
    retry: {
      type: 'list',
      help: 'hand out again what was given up of these shards',
    },
  },
  stopsGracefully: true,
  examples: ['--nats nats://head:4222', '--nats nats://head:4222 --retry docs --until-done'],
  async run(options, io) {
    const cluster = await connected(options, io);
    try {
      const streams = await ensureStreams(cluster, { signal: io.signal });
      for (const shard of options.retry ?? []) {
        await checkShard(cluster, streams, shard);
        const blocks = await removeDeadLetters(cluster, shard);
        io.log(
          `${plural(blocks, 'block')} of ${shard} that ${blocks === 1 ? 'was' : 'were'} given up may be tried again`,
        );
      }
      io.log(`coordinator of ${cluster.address.shown} (Ctrl-C ends)`);
      const { isDone, givenUp } = await runCoordinator(cluster, streams, {
        signal: io.signal,
        outstanding: options.outstanding,
        untilDone: options.untilDone,
        onNote: (note) => io.log(`note: ${note}`),
      });
      const isWhole = isDone && givenUp === 0;
      return {
        json: { done: isDone, givenUp },
        text: isDone ? `done${givenUp > 0 ? `, but ${plural(givenUp, 'row')} given up` : ''}\n` : 'stopped\n',
        ...(options.untilDone && !isWhole && { exitCode: 1 as const }),
      };
    } finally {
      await cluster.close();
    }
  },
});

const { natsReplicas: _, ...STATUS_OPTIONS } = NATS_OPTIONS;

/** The command `undrift cluster status`: describes a cluster. */
export const clusterStatusCommand = defineCommand({
  description: 'Shows the share of each version, rates, workers, the time left, and what was given up.',
  options: STATUS_OPTIONS,
  examples: ['--nats nats://head:4222', '--nats nats://head:4222/docs --json'],
  async run(options, io) {
    const cluster = await connected({ ...options, natsReplicas: undefined }, io);
    try {
      const status = await clusterStatus(cluster, await openStreams(cluster));
      return { json: { ...status }, text: formatClusterStatus(status) };
    } finally {
      await cluster.close();
    }
  },
});

/** The command `undrift cluster forget`: removes a shard whose owner has gone for good. */
export const forgetCommand = defineCommand({
  description:
    'Removes a shard without an owner from the cluster: its record, what is under way for it, and its blocks given up. Searches no longer ' +
    'miss it. Its store stays as it is. A training run that was killed and is never resumed leaves such a shard, named train-….',
  arguments: [
    { name: 'shard', help: 'name of the shard, as undrift cluster status shows it', required: true },
  ],
  options: STATUS_OPTIONS,
  examples: ['--nats nats://head:4222 old-docs'],
  async run(options, io, [shard]) {
    const cluster = await connected({ ...options, natsReplicas: undefined }, io);
    try {
      await forgetShard(cluster, await openStreams(cluster), shard!);
      return {
        json: { forgotten: shard },
        text: `${cluster.address.shown} has forgotten the shard ${shard}\n`,
      };
    } finally {
      await cluster.close();
    }
  },
});
