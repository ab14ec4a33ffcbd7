import { type ClusterState, MESSAGE_SECONDS, type Shard } from './simulated-state.ts';
import type { SimulatedWorkers } from './simulated-workers.ts';

/**
 * Coordinator of a simulated cluster. It looks at one shard after the other, and publishes one task after the other, each when the former
 * is durable.
 */
export class SimulatedCoordinator {
  readonly counts = { messages: 0, sweeps: 0, listSeconds: 0, busySeconds: 0 };
  /** Shards of which a block is stale. */
  openShards: number;
  private readonly state: ClusterState;
  private readonly workers: SimulatedWorkers;
  /** When it is there again, if it was killed. */
  private upAt = 0;

  constructor(state: ClusterState, workers: SimulatedWorkers) {
    this.state = state;
    this.workers = workers;
    this.openShards = state.shards.length;
  }

  /** Looks at a shard, and then at the next one. */
  look(number: number): void {
    const { state } = this;
    const { now, settings, shards } = state;
    const seconds = now < Math.max(this.upAt, state.serverUpAt) ? 0 : this.lookAt(shards[number]!);
    this.counts.busySeconds += seconds;
    const isLast = number === shards.length - 1;
    const pause = isLast ? settings.coordinatorSeconds : 0;
    state.events.add(now + seconds + pause, { kind: 'look', shard: isLast ? 0 : number + 1 });
  }

  /** It is killed. The one that takes over goes on at the last task of each shard, if there is one. */
  crash(): void {
    const { now, settings, shards } = this.state;
    this.upAt = now + settings.coordinatorCrash.seconds;
    for (const shard of shards) if (shard.tasks === 0) shard.cursor = -1;
  }

  /** Publishes tasks where there is room, sweeps where all is quiet. Returns the time that it takes. */
  private lookAt(shard: Shard): number {
    if (shard.isDone) return 0;
    const { shardTasks, boundResults, taskSeconds } = this.state.settings;
    const { tasks, results, cursor, end, first } = shard;
    // Counts of the shard's tasks and results in the streams.
    this.counts.messages += 4;
    const seconds = 4 * MESSAGE_SECONDS;
    let isSweep = false;
    if (cursor === -1 || cursor === end) {
      if (tasks > 0 || results > 0) return seconds;
      isSweep = true;
      shard.cursor = first;
      this.counts.sweeps++;
    }
    const room = shardTasks - tasks - (boundResults ? results : 0);
    if (room <= 0) return seconds;
    const listed = shard.cursor === first ? this.list(shard) : 0;
    const found = this.publish(shard, room);
    this.counts.messages += 2 + 2 * found;
    if (isSweep && found === 0) {
      shard.isDone = true;
      this.openShards--;
    }
    return seconds + listed + 2 * MESSAGE_SECONDS + found * taskSeconds;
  }

  /** The owner looks at all stamps of its shard. Returns the time until it answers. */
  private list({ first, end, reading }: Shard): number {
    const { now, settings } = this.state;
    const seconds = ((end - first) * settings.blockRows) / settings.ownerListRate;
    this.counts.listSeconds += seconds;
    return reading.ask(now, seconds) - now;
  }

  /** Publishes tasks for stale blocks from the cursor on. Returns their number. */
  private publish(shard: Shard, room: number): number {
    const { state, workers } = this;
    const { stored, dead, random, settings } = state;
    let found = 0;
    for (; shard.cursor < shard.end && found < room; shard.cursor++) {
      const block = shard.cursor;
      if (stored[block] || dead[block]) continue;
      found++;
      state.tasks.published++;
      if (random.uniform() < settings.lostTasks) {
        state.tasks.lost++;
        continue;
      }
      shard.tasks++;
      state.queue.push({ block, deliveries: 0, isDone: false });
    }
    workers.handOut();
    return found;
  }
}
