import type { KV, KvEntry } from '@nats-io/kv';
import { isObject } from '../util/json-objects.ts';
import {
  isProcessIdentity,
  type ProcessIdentity,
  processState,
  thisProcess,
} from '../util/process-identity.ts';
import type { ClusterStreams } from './streams.ts';
import { parseMessage } from './task.ts';
import { atMost, FAREWELL_MS } from './waiting.ts';

/** Renewals in the life of a lease. */
const RENEWALS = 3;

/**
 * Right that one process of the cluster has at a time. It ends unless it is renewed, so that another process takes over when its holder
 * is gone.
 */
export class Lease {
  private readonly live: KV;
  private readonly key: string;
  private readonly leaseMs: number;
  private revision: number;
  private timer: NodeJS.Timeout | undefined;
  /** Time of the last renewal that succeeded. */
  private renewed = performance.now();
  private lost = false;
  private isRenewing = false;

  private constructor(streams: ClusterStreams, key: string, revision: number, onLost: () => void) {
    this.live = streams.live;
    this.key = key;
    this.leaseMs = streams.leaseMs;
    this.revision = revision;
    this.timer = setInterval(() => void this.renew(onLost), streams.leaseMs / RENEWALS);
    this.timer.unref();
  }

  /**
   * Takes a lease that is free, or whose holder was a process of this machine that has ended.
   *
   * @param onLost  called when another process has it
   * @returns  undefined if another process has it
   */
  static async take(streams: ClusterStreams, key: string, onLost: () => void): Promise<Lease | undefined> {
    const value = JSON.stringify(thisProcess());
    const held = await streams.live.get(key);
    try {
      const isFree = held === null || held.operation !== 'PUT';
      if (!isFree && !hasEnded(held)) return undefined;
      const revision = isFree
        ? await streams.live.create(key, value)
        : await streams.live.update(key, value, held.revision);
      return new Lease(streams, key, revision, onLost);
    } catch (error) {
      // Another process was quicker.
      if (isConflict(error)) return undefined;
      throw error;
    }
  }

  /** Whether this process still has the lease, as far as it can know. */
  get isHeld(): boolean {
    return !this.lost && performance.now() - this.renewed < this.leaseMs;
  }

  /** Gives the lease back. */
  async release(): Promise<void> {
    clearInterval(this.timer);
    this.timer = undefined;
    if (this.lost) return;
    this.lost = true;
    // A server that is gone forgets the lease by itself.
    await atMost(FAREWELL_MS, this.live.delete(this.key, { previousSeq: this.revision }));
  }

  private async renew(onLost: () => void): Promise<void> {
    // A renewal whose answer is late may have succeeded: a second one beside it would look like a conflict.
    if (this.isRenewing) return;
    this.isRenewing = true;
    try {
      this.revision = await this.live.update(this.key, JSON.stringify(thisProcess()), this.revision);
      this.renewed = performance.now();
    } catch (error) {
      if (this.lost || !isConflict(error)) return;
      if (await this.retaken()) return;
      this.lost = true;
      clearInterval(this.timer);
      onLost();
    } finally {
      this.isRenewing = false;
    }
  }

  /**
   * Takes the lease again that has ended while this process or the server stood still.
   *
   * @returns  false if another process has it; true if this one has, or nobody can tell yet
   */
  private async retaken(): Promise<boolean> {
    try {
      const held = await this.live.get(this.key);
      const isTaken = held?.operation === 'PUT';
      if (isTaken && !isOwnProcess(held)) return false;
      // A renewal of which the answer was lost has another revision, too.
      this.revision = isTaken
        ? held.revision
        : await this.live.create(this.key, JSON.stringify(thisProcess()));
      this.renewed = performance.now();
    } catch {
      // The next renewal finds out.
    }
    return true;
  }
}

/** Tells whether an error says that another process was quicker. */
function isConflict(error: unknown): boolean {
  return error instanceof Error && /wrong last sequence|key exists/i.test(error.message);
}

/** Reads which process has written an entry; undefined if it does not say. */
export function holderOf(entry: KvEntry): ProcessIdentity | undefined {
  try {
    const value = parseMessage(entry.value);
    return isObject(value) && isProcessIdentity(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function hasEnded(entry: KvEntry): boolean {
  const holder = holderOf(entry);
  return holder !== undefined && processState(holder) === 'ended';
}

function isOwnProcess(entry: KvEntry): boolean {
  const [holder, own] = [holderOf(entry), thisProcess()];
  return holder?.pid === own.pid && holder.machine === own.machine && holder.mark === own.mark;
}
