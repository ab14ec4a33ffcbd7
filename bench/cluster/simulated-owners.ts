import type { ClusterState, Event, Shard } from './simulated-state.ts';

/** Owners of a simulated cluster: they store results. */
export class SimulatedOwners {
  /** Times at which thousandths of the blocks were stored. */
  readonly times: number[] = [];
  /** Blocks that have the version. */
  storedBlocks = 0;
  private readonly state: ClusterState;

  constructor(state: ClusterState) {
    this.state = state;
  }

  /** The owner takes results that wait, and stores them in one commit. */
  storeNext(shard: Shard): void {
    const { commitBlocks, commitSeconds, ownerPutRate, blockRows } = this.state.settings;
    if (shard.isStoring || shard.waiting.size === 0) return;
    const blocks: number[] = [];
    while (blocks.length < commitBlocks && shard.waiting.size > 0) blocks.push(shard.waiting.shift()!);
    shard.isStoring = true;
    const there = this.state.send(blocks.length * this.state.blockBytes);
    const done = shard.storing.ask(there, commitSeconds + (blocks.length * blockRows) / ownerPutRate);
    const event = { kind: 'stored', shard: shard.number, blocks, life: shard.life } as const;
    this.state.events.add(done, event);
  }

  /** A commit is done, unless the owner was killed before. */
  store({ shard: s, blocks, life }: Extract<Event, { kind: 'stored' }>): void {
    const shard = this.state.shards[s]!;
    if (life !== shard.life) {
      // The owner was killed before the commit. The server hands the results out again.
      this.state.events.add(this.state.now + this.state.settings.ackSeconds, {
        kind: 'result again',
        shard: s,
        blocks,
      });
      return;
    }
    for (const block of blocks) {
      if (this.state.stored[block]) this.state.results.dropped++;
      else {
        this.state.stored[block] = 1;
        this.storedBlocks++;
        this.state.results.applied++;
        this.mark();
      }
    }
    shard.results -= blocks.length;
    this.state.resultBytes -= blocks.length * this.state.blockBytes;
    shard.isStoring = false;
    this.storeNext(shard);
  }

  /** The server hands results out again. */
  again(shard: Shard, blocks: readonly number[]): void {
    this.state.tasks.redelivered += blocks.length;
    for (const block of blocks) shard.waiting.push(block);
    this.storeNext(shard);
  }

  /** Keeps the times at which thousandths of the blocks were stored. */
  private mark(): void {
    while (this.times.length < Math.floor((1000 * this.storedBlocks) / this.state.blocks))
      this.times.push(this.state.now);
  }

  /** An owner is killed, and comes back. */
  crash(shard: Shard): void {
    shard.life++;
    shard.isStoring = false;
    shard.upAt = this.state.now + this.state.settings.ownerCrash.seconds;
    for (const part of [shard.reading, shard.storing]) part.stopUntil(shard.upAt);
    this.storeNext(shard);
  }
}
