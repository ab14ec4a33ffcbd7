import { askShard } from './ask.ts';
import type { Cluster } from './cluster.ts';
import { readDeadLetters } from './dead-letters.ts';
import { Lease } from './lease.ts';
import type { StaleAnswer } from './owner.ts';
import { formatRows, parseRows } from './row-list.ts';
import { readShards } from './shard-record.ts';
import type { ClusterStreams } from './streams.ts';
import { decodeTask, encodeTask, parseMessage } from './task.ts';
import { pause, reasonOf } from './waiting.ts';
import { countWorkers } from './worker-record.ts';

/** Settings of a coordinator. */
export interface CoordinatorOptions {
  /** Aborting ends it. */
  readonly signal?: AbortSignal | undefined;
  /** Tasks of a shard that are handed out at once. Default 64, and from 22 workers on three for each. */
  readonly outstanding?: number | undefined;
  /** Ends when all shards are quiet. Default: it waits for more. */
  readonly untilDone?: boolean | undefined;
  /** Pause between two looks at a shard, in milliseconds. Default 500. */
  readonly periodMs?: number | undefined;
  /** Called with a note. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** State of a shard as its coordinator sees it. `quiet`: nothing is stale but what was given up, and nothing is under way. */
export type ShardState = 'working' | 'quiet';

const LEAST_OUTSTANDING = 64;
const FOR_EACH_WORKER = 3;
/** Looks at a shard between two counts of the workers. */
const COUNT_LOOKS = 20;
const PERIOD_MS = 500;
/** Looks at a shard without stale rows, of which one in so many asks again. */
const QUIET_LOOKS = 4;
const ASK_MS = 60_000;
/** Time for which the other shards wait for one whose owner does not answer. */
const MOST_LOOK_MS = 2000;

/**
 * Derives tasks of one shard from the stamps of its rows. It keeps nothing on the disk: what it knows is in the streams and in the shard.
 *
 * Rows are handed out in their order, up to a bound. At their end, it waits until no task and no result is left, and asks from the
 * beginning what is still stale: whatever was lost is handed out again then, and nothing that is merely under way.
 */
export class ShardCoordinator {
  private readonly cluster: Cluster;
  private readonly streams: ClusterStreams;
  private readonly shard: string;
  private readonly fixed: number | undefined;
  private readonly signal: AbortSignal | undefined;
  private outstanding = LEAST_OUTSTANDING;
  private looks = 0;
  private version: string | undefined;
  /** First row of the last block handed out; undefined between two passes over the rows. */
  private after: number | undefined;
  /** Whether the pass over the rows has found nothing to hand out, and was begun when nothing was under way. */
  private isClean = false;
  private quietLooks = 0;
  /** Rows given up that this pass has met. */
  givenUp = 0;

  constructor(
    cluster: Cluster,
    streams: ClusterStreams,
    shard: string,
    { outstanding, signal }: Pick<CoordinatorOptions, 'outstanding' | 'signal'> = {},
  ) {
    this.cluster = cluster;
    this.streams = streams;
    this.shard = shard;
    this.fixed = outstanding;
    this.signal = signal;
  }

  /** Looks once, and publishes what there is room for. */
  async look(): Promise<ShardState> {
    if (this.version === undefined) await this.goOn();
    const { tasks, results } = await this.underWay();
    if (this.after === undefined) {
      if (tasks > 0 || results > 0) return 'working';
      if (this.quietLooks > 0 && this.quietLooks < QUIET_LOOKS) {
        this.quietLooks += 1;
        return 'quiet';
      }
      this.after = -1;
      this.isClean = true;
      this.givenUp = 0;
    }
    const room = (await this.bound()) - tasks;
    if (room <= 0) return 'working';
    const answer = await this.askStale(this.after, room);
    if (this.version !== undefined && answer.version !== this.version) {
      // Rows before this one may be stale in the new version. Tasks of the former one are skipped by the workers.
      this.version = answer.version;
      this.after = -1;
      this.isClean = false;
      return 'working';
    }
    this.version = answer.version;
    if (answer.blocks.length > 0) {
      await this.publish(answer);
      return 'working';
    }
    this.after = undefined;
    this.quietLooks = this.isClean ? 1 : 0;
    return this.isClean ? 'quiet' : 'working';
  }

  /** Tells whether the shard is quiet, without publishing: for those who leave this to another coordinator. */
  async isQuiet(): Promise<boolean> {
    const { tasks, results } = await this.underWay();
    if (tasks > 0 || results > 0) return false;
    const dead = await this.deadBlocks((await this.askStale(-1, 1)).version);
    const { blocks } = await this.askStale(-1, dead.size + 1);
    const givenUp = blocks.filter((rows) => dead.has(rows));
    this.givenUp = givenUp.reduce((sum, rows) => sum + parseRows(rows).length, 0);
    return givenUp.length === blocks.length;
  }

  /** Number of tasks that are handed out at once. */
  private async bound(): Promise<number> {
    if (this.fixed !== undefined) return this.fixed;
    if (this.looks++ % COUNT_LOOKS === 0) {
      this.outstanding = Math.max(LEAST_OUTSTANDING, FOR_EACH_WORKER * (await countWorkers(this.streams)));
    }
    return this.outstanding;
  }

  private async publish({ version, model, dimension, blocks }: StaleAnswer): Promise<void> {
    const { cluster, shard } = this;
    const { stream, names } = cluster;
    const dead = await this.deadBlocks(version);
    for (const text of blocks) {
      const rows = parseRows(text);
      if (dead.has(text)) this.givenUp += rows.length;
      else {
        this.isClean = false;
        await stream.publish(
          names.taskSubject(shard),
          encodeTask({ shard, version, model, dimension, rows }),
        );
      }
      this.after = rows[0]!;
    }
    this.quietLooks = 0;
  }

  private async askStale(after: number, blocks: number): Promise<StaleAnswer> {
    const body = Buffer.from(JSON.stringify({ after, blocks }));
    // The first request of a version waits until its model is published.
    const answer = parseMessage(
      await askShard(this.cluster, this.shard, 'stale', { body, timeoutMs: ASK_MS, signal: this.signal }),
    );
    return answer as unknown as StaleAnswer;
  }

  /** Finds where a coordinator before this one has come to: at the last task that is under way. */
  private async goOn(): Promise<void> {
    const { cluster, shard } = this;
    const { manager, names } = cluster;
    const last = await manager.streams
      .getMessage(names.tasks, { last_by_subj: names.taskSubject(shard) })
      .catch(() => null);
    if (last === null) return;
    try {
      const task = decodeTask(last.data);
      this.version = task.version;
      this.after = task.rows[0]!;
    } catch {
      // A sweep follows when it has gone.
    }
  }

  /** Counts tasks first: the results of a task are in their stream before it is acknowledged. */
  private async underWay(): Promise<{ tasks: number; results: number }> {
    const { cluster, shard } = this;
    const { manager, names } = cluster;
    const counted = async (stream: string, subject: string) => {
      const { state } = await manager.streams.info(stream, { subjects_filter: subject });
      return state.subjects?.[subject] ?? 0;
    };
    const tasks = await counted(names.tasks, names.taskSubject(shard));
    return { tasks, results: tasks > 0 ? 1 : await counted(names.results, names.resultSubject(shard)) };
  }

  private async deadBlocks(version: string): Promise<Set<string>> {
    const letters = await readDeadLetters(this.cluster, this.shard);
    return new Set(
      letters.filter((letter) => letter.version === version).map(({ rows }) => formatRows(rows)),
    );
  }
}

/** Outcome of {@link runCoordinator}. */
export interface CoordinatorOutcome {
  /** Whether no row was stale at the end but those given up. */
  readonly isDone: boolean;
  /** Rows given up. */
  readonly givenUp: number;
}

/**
 * Coordinates all shards of a cluster until it is stopped. Several may run: each shard is coordinated by the one that has its lease.
 */
export async function runCoordinator(
  cluster: Cluster,
  streams: ClusterStreams,
  options: CoordinatorOptions = {},
): Promise<CoordinatorOutcome> {
  const { signal, periodMs = PERIOD_MS, untilDone = false } = options;
  const shards = new CoordinatedShards(cluster, streams, options);
  let isDone = false;
  while (!signal?.aborted && !(isDone && untilDone)) {
    isDone = await shards.look();
    if (!isDone || !untilDone) await pause(periodMs, signal);
  }
  await shards.release();
  return { isDone, givenUp: shards.givenUp };
}

/** Shards that one process coordinates. */
class CoordinatedShards {
  private readonly cluster: Cluster;
  private readonly streams: ClusterStreams;
  private readonly options: CoordinatorOptions;
  private readonly leases = new Map<string, Lease>();
  private readonly coordinators = new Map<string, ShardCoordinator>();
  /** Looks that have begun. */
  private readonly looking = new Map<string, Promise<boolean>>();
  /** Last problem of each shard; that of the cluster has no name. */
  private readonly problems = new Map<string, string>();

  constructor(cluster: Cluster, streams: ClusterStreams, options: CoordinatorOptions) {
    this.cluster = cluster;
    this.streams = streams;
    this.options = options;
  }

  /** Rows of all shards that were given up. */
  get givenUp(): number {
    return [...this.coordinators.values()].reduce((sum, { givenUp }) => sum + givenUp, 0);
  }

  /** Looks at all shards once, and tells whether there are some and all are quiet. */
  async look(): Promise<boolean> {
    try {
      // Those with the oldest vectors come first.
      const records = (await readShards(this.streams)).sort((a, b) => oldestStep(a) - oldestStep(b));
      this.problems.delete('');
      await this.forgetOthers(new Set(records.map(({ name }) => name)));
      let quiet = 0;
      for (const { name } of records) {
        if (this.options.signal?.aborted) return false;
        if (await this.lookAt(name)) quiet += 1;
      }
      return records.length > 0 && quiet === records.length;
    } catch (error) {
      this.note('', error);
      return false;
    }
  }

  async release(): Promise<void> {
    await Promise.all(this.looking.values());
    await Promise.all([...this.leases.values()].map((lease) => lease.release()));
  }

  /** Forgets shards that are no more, such as those of refreshes. */
  private async forgetOthers(names: ReadonlySet<string>): Promise<void> {
    for (const name of this.coordinators.keys()) {
      if (names.has(name)) continue;
      this.coordinators.delete(name);
      this.problems.delete(name);
      const lease = this.leases.get(name);
      this.leases.delete(name);
      await lease?.release();
    }
  }

  /** Looks at a shard, and tells whether it is quiet. A look that takes long goes on beside those at the others. */
  private async lookAt(name: string): Promise<boolean> {
    const look = this.looking.get(name) ?? this.lookNow(name).finally(() => this.looking.delete(name));
    this.looking.set(name, look);
    const stop = new AbortController();
    const isQuiet = await Promise.race([look, pause(MOST_LOOK_MS, stop.signal).then(() => false)]);
    stop.abort();
    return isQuiet;
  }

  private async lookNow(name: string): Promise<boolean> {
    try {
      const isOwn = await this.hasLease(name);
      const coordinator =
        this.coordinators.get(name) ?? new ShardCoordinator(this.cluster, this.streams, name, this.options);
      this.coordinators.set(name, coordinator);
      const isQuiet = isOwn
        ? (await coordinator.look()) === 'quiet'
        : this.options.untilDone === true && (await coordinator.isQuiet());
      this.problems.delete(name);
      return isQuiet;
    } catch (error) {
      this.note(name, error);
      return false;
    }
  }

  private async hasLease(name: string): Promise<boolean> {
    const held = this.leases.get(name);
    if (held?.isHeld) return true;
    await held?.release();
    this.leases.delete(name);
    // What another coordinator has handed out meanwhile is not known.
    if (held) this.coordinators.delete(name);
    const lease = await Lease.take(this.streams, `coordinator.${name}`, () => {});
    if (lease) this.leases.set(name, lease);
    return lease !== undefined;
  }

  /** Tells a problem once, until there is another. */
  private note(name: string, error: unknown): void {
    const problem = reasonOf(error);
    const { signal, onNote } = this.options;
    if (this.problems.get(name) !== problem && !signal?.aborted) onNote?.(problem);
    this.problems.set(name, problem);
  }
}

const oldestStep = ({ versions }: { readonly versions: readonly { readonly step: number }[] }): number =>
  Math.min(...versions.map(({ step }) => step), Number.POSITIVE_INFINITY);
