import type { Cluster } from './cluster.ts';
import { ShardCoordinator } from './coordinator.ts';
import { clearShard } from './forget-shard.ts';
import { Lease } from './lease.ts';
import { Owner } from './owner.ts';
import type { ClusterOutcome, ClusterRunOptions } from './run-options.ts';
import type { ShardKeeper } from './shard-keeper.ts';
import { type ClusterStreams, ensureStreams } from './streams.ts';
import { pause, reasonOf } from './waiting.ts';

/** Pause between two looks at the shard. */
const LOOK_MS = 300;

/**
 * Lets the workers of a cluster embed the stale rows of a shard: this process owns and coordinates the shard until nothing is stale but
 * blocks that were given up. Repeated after a kill, it goes on.
 *
 * @throws UsageError if another process owns the shard
 * @throws the reason of `options.signal` if it is aborted before the server has answered
 */
export async function runOverCluster(
  keeper: ShardKeeper,
  cluster: Cluster,
  options: ClusterRunOptions = {},
): Promise<ClusterOutcome> {
  const { signal, onNote } = options;
  const streams = await ensureStreams(cluster, { signal });
  const before = await keeper.counts();
  let last = performance.now();
  let done = before.rows - before.stale;
  const owner = await Owner.start(cluster, streams, keeper, {
    signal,
    onNote,
    onStored: (rows) => {
      if (rows > 0) last = performance.now();
      // Results that waited are stored before the owner is there to be asked.
      done += rows;
      options.onProgress?.({
        stage: 'embed',
        done: Math.min(done, before.rows),
        total: before.rows,
        unit: 'rows',
      });
    },
  });
  const shard = new RunShard(cluster, streams, keeper.name, signal);
  let ended: ClusterOutcome['ended'] | undefined;
  try {
    while (!ended) {
      if (signal?.aborted) ended = 'aborted';
      else if (owner.lost.aborted) ended = 'stalled';
      else if (await shard.isDone(onNote)) ended = 'done';
      else if (options.stallMs !== undefined && performance.now() - last > options.stallMs) ended = 'stalled';
      else await pause(LOOK_MS, signal);
    }
  } finally {
    await owner.close();
    await shard.release();
  }
  if (ended === 'done' && owner.stored > 0) await keeper.finish?.();
  // A server that is gone keeps the record, which undrift cluster forget removes.
  if (options.temporary) await clearShard(cluster, streams, keeper.name).catch(() => {});
  const { stale } = await keeper.counts();
  return { ended, stored: owner.stored, stale, givenUp: shard.givenUp };
}

/** Coordination of one shard, which this process has unless another coordinator has it. */
class RunShard {
  private readonly streams: ClusterStreams;
  private readonly name: string;
  private readonly signal: AbortSignal | undefined;
  private readonly coordinator: ShardCoordinator;
  private lease: Lease | undefined;
  private problem = '';

  constructor(cluster: Cluster, streams: ClusterStreams, name: string, signal: AbortSignal | undefined) {
    this.streams = streams;
    this.name = name;
    this.signal = signal;
    this.coordinator = new ShardCoordinator(cluster, streams, name, { signal });
  }

  get givenUp(): number {
    return this.coordinator.givenUp;
  }

  /** Publishes tasks, and tells whether nothing is left to be done. */
  async isDone(onNote: ((note: string) => void) | undefined): Promise<boolean> {
    try {
      if (!this.lease?.isHeld) {
        await this.lease?.release();
        this.lease = await Lease.take(this.streams, `coordinator.${this.name}`, () => {});
      }
      const isDone = this.lease
        ? (await this.coordinator.look()) === 'quiet'
        : await this.coordinator.isQuiet();
      this.problem = '';
      return isDone;
    } catch (error) {
      // The server is gone for a moment.
      const problem = reasonOf(error);
      if (problem !== this.problem && !this.signal?.aborted) onNote?.(problem);
      this.problem = problem;
      return false;
    }
  }

  async release(): Promise<void> {
    await this.lease?.release();
  }
}
