import { randomBytes } from 'node:crypto';
import type { Consumer, JsMsg } from '@nats-io/jetstream';
import { type ComputeOptions, defaultThreads } from '../runtime/devices.ts';
import { TokenStore } from '../text/token-store.ts';
import { UndriftError } from '../util/errors.ts';
import { AskError, askShard } from './ask.ts';
import type { Cluster } from './cluster.ts';
import { MOST_TRIES, publishDeadLetter } from './dead-letters.ts';
import { HeldMessage, publishResults } from './delivery.ts';
import { EncoderShelf } from './encoder-shelf.ts';
import { formatRows } from './row-list.ts';
import { decodeTokens } from './row-messages.ts';
import type { RowTokens } from './shard-keeper.ts';
import type { ClusterStreams } from './streams.ts';
import { decodeTask, type Task } from './task.ts';
import { atMost, FAREWELL_MS, pause, reasonOf } from './waiting.ts';
import { WorkerRecord } from './worker-record.ts';

/** Settings of {@link runWorker}. */
export interface WorkerOptions extends ComputeOptions {
  /** Aborting ends the worker: it gives back what it holds. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the worker when there has been no task for so long, in milliseconds. Default: it waits. */
  readonly idleMs?: number | undefined;
  /** Called with a note, for example about a model that is fetched. */
  readonly onNote?: ((note: string) => void) | undefined;
  /** Called after every pass, with the number of rows embedded so far. */
  readonly onRows?: ((rows: number) => void) | undefined;
}

/** What a worker has done. */
export interface WorkerOutcome {
  /** Rows embedded, and taken by the server. */
  readonly rows: number;
  /** Blocks of rows. */
  readonly blocks: number;
  /** Attempts that failed. */
  readonly failures: number;
  /** Tasks given up after five attempts. */
  readonly givenUp: number;
}

/** Task with all that is needed to work on it. */
interface Prepared {
  readonly held: HeldMessage;
  readonly task: Task;
  readonly tokens: RowTokens;
}

/** Share of a block after which the next one is asked for, so that it is there in time and no other worker would have begun it before. */
const ASK_AHEAD = 0.75;
/** Time for which a worker waits for the owner of a shard that does not answer. */
const OWNER_TRIES = 10;
const OWNER_PAUSE_MS = 1000;
const NEXT_MS = 5000;
const RETRY_MS = 200;
/** Pause after a failure of the connection. */
const CONNECTION_MS = 5000;

/**
 * Embeds blocks of rows for the shards of a cluster until it is stopped. It needs no file: models come from the cluster, tokens from the
 * owners of shards.
 *
 * A task is acknowledged when the server has its results. A worker that is killed, or hangs, loses nothing: its tasks are handed to others.
 */
export async function runWorker(
  cluster: Cluster,
  streams: ClusterStreams,
  options: WorkerOptions = {},
): Promise<WorkerOutcome> {
  const worker = new Worker(cluster, streams, options);
  return await worker.run();
}

class Worker {
  private readonly cluster: Cluster;
  private readonly streams: ClusterStreams;
  private readonly options: WorkerOptions;
  private readonly shelf: EncoderShelf;
  private readonly record: WorkerRecord;
  private readonly outcome = { rows: 0, blocks: 0, failures: 0, givenUp: 0 };
  /** Rows of all blocks that were embedded, also of those whose results are on their way. */
  private embedded = 0;
  /** Time at which there was work last. */
  private lastWork = performance.now();
  /** Request for a task that has no answer yet. */
  private asked: { readonly task: Promise<JsMsg | undefined>; readonly ms: number } | undefined;

  constructor(cluster: Cluster, streams: ClusterStreams, options: WorkerOptions) {
    this.cluster = cluster;
    this.streams = streams;
    this.options = options;
    this.shelf = new EncoderShelf(streams, {
      signal: options.signal,
      onFetch: (digest) => this.note(`fetching the model ${digest.slice(0, 12)}`),
    });
    this.record = new WorkerRecord(streams, { threads: options.threads ?? defaultThreads() });
  }

  async run(): Promise<WorkerOutcome> {
    const { stream, names } = this.cluster;
    const { signal } = this.options;
    const consumer = await stream.consumers.get(names.tasks, names.workers);
    await this.record.begin();
    let next: Promise<Prepared | undefined> | undefined;
    let delivered: Promise<void> = Promise.resolve();
    try {
      while (!signal?.aborted && (next || !this.isIdle)) {
        const current = await (next ?? this.take(consumer));
        next = undefined;
        if (!current) continue;
        const vectors = await this.embed(current, () => {
          next ??= this.take(consumer);
        });
        this.lastWork = performance.now();
        await delivered;
        if (vectors) delivered = this.deliver(current, vectors);
      }
    } finally {
      const unfinished = await next;
      if (unfinished) await this.leave(unfinished.held);
      this.askNoMore();
      await delivered;
      await this.shelf.dispose();
      await this.record.end();
      // What was given back is sent.
      await atMost(FAREWELL_MS, this.cluster.connection.flush());
    }
    return { ...this.outcome };
  }

  private get isIdle(): boolean {
    const { idleMs } = this.options;
    return idleMs !== undefined && performance.now() - this.lastWork > idleMs;
  }

  /** Waits for a task and its tokens; undefined if there is none, or nothing to be done about it. */
  private async take(consumer: Consumer): Promise<Prepared | undefined> {
    const message = await this.nextMessage(consumer);
    if (!message) return undefined;
    try {
      return await this.prepare(message);
    } finally {
      this.lastWork = performance.now();
    }
  }

  private async prepare(message: JsMsg): Promise<Prepared | undefined> {
    const held = new HeldMessage(message, this.streams.ackWaitMs);
    let task: Task;
    try {
      task = decodeTask(message.data);
    } catch (error) {
      this.note(`a message that is no task: ${reasonOf(error)}`);
      held.end(reasonOf(error));
      return undefined;
    }
    if (message.info.deliveryCount > MOST_TRIES) {
      await this.giveUp(
        held,
        task,
        `not finished by ${MOST_TRIES} workers, which were killed or stood still`,
      );
      return undefined;
    }
    try {
      const tokens = await this.tokensOf(task);
      const isAborted = this.options.signal?.aborted;
      if (tokens && tokens.rows.length > 0 && !isAborted) return { held, task, tokens };
      // Without its owner, a task is worth nothing: what is still stale is derived again.
      if (tokens?.rows.length === 0 || !isAborted) await held.done();
      else await this.leave(held);
    } catch (error) {
      await this.failed(held, task, error);
    }
    return undefined;
  }

  /**
   * Asks for a task. Nothing is read while a pass of the model runs, so that the answer may come when the wait for it has ended: the next
   * call takes it.
   */
  private async nextMessage(consumer: Consumer): Promise<JsMsg | undefined> {
    const { signal, idleMs } = this.options;
    if (signal?.aborted) return undefined;
    const expires = Math.max(1000, Math.min(NEXT_MS, idleMs ?? NEXT_MS));
    this.asked ??= { task: ask(consumer, expires, signal), ms: performance.now() };
    const { task, ms } = this.asked;
    const stop = new AbortController();
    const waited = pause(expires + NEXT_MS, AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]));
    const answer = await Promise.race([task.then((message) => ({ message })), waited.then(() => undefined)]);
    stop.abort();
    if (answer) this.asked = undefined;
    else if (performance.now() - ms > this.streams.ackWaitMs) this.askNoMore();
    return answer?.message;
  }

  /** Waits for no task any more. One that comes all the same goes back at once. */
  private askNoMore(): void {
    const { ackWaitMs } = this.streams;
    void this.asked?.task
      .then((late) => late && this.leave(new HeldMessage(late, ackWaitMs)))
      .catch(() => {});
    this.asked = undefined;
  }

  /** Asks the owner for the tokens of a task's rows that are still stale; undefined if it does not answer for long. */
  private async tokensOf({ shard, version, rows }: Task): Promise<RowTokens | undefined> {
    const { signal } = this.options;
    const body = Buffer.from(JSON.stringify({ version, rows: formatRows(rows) }));
    for (let tries = 1; tries <= OWNER_TRIES && !signal?.aborted; tries++) {
      try {
        return decodeTokens(await askShard(this.cluster, shard, 'rows', { body, signal }));
      } catch (error) {
        if (!(error instanceof AskError) || error.kind === 'refused') throw error;
        if (tries === 1) this.note(`${reasonOf(error)}, waiting for it`);
        await pause(OWNER_PAUSE_MS, signal);
      }
    }
    return undefined;
  }

  /**
   * Embeds the rows of a task; undefined if that has failed, or the worker is to end.
   *
   * @param onNearEnd  called when most of the block is done
   */
  private async embed(
    { held, task, tokens }: Prepared,
    onNearEnd: () => void,
  ): Promise<Float32Array | undefined> {
    const { signal, device, threads } = this.options;
    const done = this.embedded;
    try {
      const retriever = await this.shelf.get(task.model);
      if (retriever.dimension !== task.dimension) {
        throw new UndriftError(
          `the model has vectors of ${retriever.dimension} numbers, the task says ${task.dimension}`,
        );
      }
      const rows = tokens.lengths.length;
      const vectors = await retriever.encodeTokens('document', TokenStore.of(tokens.lengths, tokens.tokens), {
        ...(device && { device }),
        ...(threads && { threads }),
        onProgress: (progress) => {
          if (signal?.aborted) throw new Stopped();
          this.options.onRows?.(done + progress.done);
          if (progress.done >= ASK_AHEAD * rows) onNearEnd();
        },
      });
      if (!vectors.every(Number.isFinite))
        throw new UndriftError('the model gives numbers that are not finite');
      this.embedded += rows;
      return vectors;
    } catch (error) {
      if (signal?.aborted) await this.leave(held);
      else await this.failed(held, task, error);
      return undefined;
    }
  }

  private async deliver({ held, task, tokens }: Prepared, vectors: Float32Array): Promise<void> {
    const { signal } = this.options;
    const { rows, marks } = tokens;
    let isNoted = false;
    try {
      const results = { version: task.version, rows, marks, vectors };
      await publishResults(this.cluster, task.shard, results, {
        attempt: randomBytes(9).toString('base64url'),
        signal,
        onFull: () => {
          if (!isNoted)
            this.note(`results of ${task.shard} wait: the stream is full until its owner has stored some`);
          isNoted = true;
        },
      });
      await held.done();
      this.outcome.rows += rows.length;
      this.outcome.blocks += 1;
      this.record.add(rows.length, task);
    } catch (error) {
      if (signal?.aborted) await this.leave(held);
      else await this.failed(held, task, error);
    }
  }

  /**
   * Gives back a task that has not failed. After the last attempt, another delivery would be taken for a failure: the task is acknowledged
   * then, and derived from the stamps again.
   */
  private async leave(held: HeldMessage): Promise<void> {
    if (held.message.info.deliveryCount < MOST_TRIES) held.giveBack();
    else await held.done();
  }

  /** Gives a task back for another attempt, or up after the last one. */
  private async failed(held: HeldMessage, task: Task, error: unknown): Promise<void> {
    this.outcome.failures += 1;
    const tries = held.message.info.deliveryCount;
    this.note(`block of ${task.shard} failed (attempt ${tries} of ${MOST_TRIES}): ${reasonOf(error)}`);
    // Other errors are those of the connection, which say nothing about the block.
    if (!(error instanceof UndriftError)) held.giveBack(CONNECTION_MS);
    else if (tries >= MOST_TRIES) await this.giveUp(held, task, reasonOf(error));
    else held.giveBack(tries * RETRY_MS);
  }

  private async giveUp(held: HeldMessage, { shard, version, rows }: Task, reason: string): Promise<void> {
    try {
      await publishDeadLetter(this.cluster, { shard, version, rows, reason });
      held.end(reason);
      this.outcome.givenUp += 1;
      this.note(`block of ${shard} given up: ${reason}`);
    } catch {
      // It comes again, and is given up then.
      held.giveBack(RETRY_MS);
    }
  }

  private note(text: string): void {
    if (!this.options.signal?.aborted) this.options.onNote?.(text);
  }
}

/** Asks the server for a task; undefined if there is none. */
const ask = (
  consumer: Consumer,
  expires: number,
  signal: AbortSignal | undefined,
): Promise<JsMsg | undefined> =>
  consumer.next({ expires }).then(
    (message) => message ?? undefined,
    // The servers elect a leader, or the connection is lost: both pass.
    async () => {
      await pause(RETRY_MS, signal);
      return undefined;
    },
  );

/** Ends an embedding that has begun. */
class Stopped extends Error {}
