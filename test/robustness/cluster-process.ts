/**
 * A process of a cluster for drills. Its role is the first argument; it is told what to do by messages, and tells what it notes.
 *
 *     cluster-process.ts worker|owner|coordinator|trainer ADDRESS
 */
import { type Cluster, connectCluster } from '../../src/cluster/cluster.ts';
import { runOverCluster } from '../../src/cluster/cluster-run.ts';
import { runCoordinator } from '../../src/cluster/coordinator.ts';
import { Owner } from '../../src/cluster/owner.ts';
import type { ShardKeeper } from '../../src/cluster/shard-keeper.ts';
import { storeShard } from '../../src/cluster/store-shard.ts';
import { type ClusterStreams, ensureStreams } from '../../src/cluster/streams.ts';
import { runWorker } from '../../src/cluster/worker.ts';
import { Store } from '../../src/store/store.ts';
import { ACK_WAIT_MS, LEASE_MS, TASK_MS, TASK_ROWS } from './cluster-drill-settings.ts';

/** Shard of a drill. */
export interface DrillShard {
  readonly name: string;
  /** Folder of its store. */
  readonly folder: string;
}

/** What a process of a drill is told: to own a shard, or to have it embedded; to give it up. */
export type Order = { readonly own: DrillShard } | { readonly release: string };

/** What it tells. */
export type Told =
  | { readonly told: 'ready' }
  /** Rows were stored durably. */
  | { readonly told: 'stored'; readonly name: string; readonly rows: number }
  /** The shard was given up, or nothing is stale. */
  | { readonly told: 'ended'; readonly name: string }
  | { readonly told: 'note'; readonly text: string };

const [role, address] = process.argv.slice(2) as [string, string];
const tell = (line: Told) => process.send?.(line);
const onNote = (text: string) => void tell({ told: 'note', text });

/** Keeper of a store whose tasks are smaller, so that a drill has many of them. */
function smallTasks(keeper: ShardKeeper): ShardKeeper {
  // Tasks end at fixed rows, so that one that is handed out again has the same bits.
  const parts = (rows: Uint32Array) => {
    const tasks = new Map<number, number[]>();
    for (const row of rows) {
      const task = Math.floor(row / TASK_ROWS);
      tasks.set(task, [...(tasks.get(task) ?? []), row]);
    }
    return [...tasks.values()].map((some) => Uint32Array.from(some));
  };
  return {
    name: keeper.name,
    wanted: () => keeper.wanted(),
    async stale({ after, blocks }) {
      // The block that the last task was a part of has parts that follow it.
      const found = await keeper.stale({
        after: Math.floor(Math.max(after, 0) / 1024) * 1024 - 1,
        blocks: blocks + 1,
      });
      return found
        .flatMap(parts)
        .filter((rows) => rows[0]! > after)
        .slice(0, blocks);
    },
    tokens: (rows) => keeper.tokens(rows),
    put: (results) => keeper.put(results),
    counts: () => keeper.counts(),
    ...(keeper.finish && { finish: () => keeper.finish!() }),
  };
}

const open = async ({ name, folder }: DrillShard): Promise<ShardKeeper> =>
  smallTasks(storeShard(await Store.open(folder), { name }));

const owners = new Map<string, Owner>();

async function own(cluster: Cluster, streams: ClusterStreams, shard: DrillShard): Promise<void> {
  const { name } = shard;
  const onStored = (rows: number) => void tell({ told: 'stored', name, rows });
  const owner = await Owner.start(cluster, streams, await open(shard), { onNote, onStored, waitMs: 60_000 });
  owners.set(name, owner);
  owner.lost.addEventListener('abort', () => owners.delete(name));
}

/** Owns and coordinates a shard until nothing is stale, as `undrift index --cluster` does. */
async function runOver(cluster: Cluster, shard: DrillShard): Promise<void> {
  const { name } = shard;
  let last = 0;
  await runOverCluster(await open(shard), cluster, {
    onNote,
    onProgress: ({ done }) => {
      tell({ told: 'stored', name, rows: done - last });
      last = done;
    },
  });
  tell({ told: 'ended', name });
}

async function release(name: string): Promise<void> {
  await owners.get(name)?.close();
  owners.delete(name);
  tell({ told: 'ended', name });
}

const cluster = await connectCluster(address, { onNote, timeoutMs: 30_000 });
const streams = await ensureStreams(cluster, { ackWaitMs: ACK_WAIT_MS, leaseMs: LEASE_MS });
process.on('message', (order: Order) => {
  const work =
    'release' in order
      ? release(order.release)
      : role === 'trainer'
        ? runOver(cluster, order.own)
        : own(cluster, streams, order.own);
  work.catch((error: Error) => {
    tell({ told: 'note', text: `${role} ended: ${error.stack}` });
    process.exit(1);
  });
});
// Nobody is left to tell what to do.
process.on('disconnect', () => process.exit(0));
tell({ told: 'ready' });
if (role === 'worker') {
  const wait = new Int32Array(new SharedArrayBuffer(4));
  await runWorker(cluster, streams, {
    threads: 1,
    onNote,
    onRows: () => void Atomics.wait(wait, 0, 0, TASK_MS),
  });
} else if (role === 'coordinator') {
  await runCoordinator(cluster, streams, { periodMs: 100, outstanding: 8, onNote });
}
