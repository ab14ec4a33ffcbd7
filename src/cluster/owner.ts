import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import type { Subscription } from '@nats-io/transport-node';
import { RuntimeError, UsageError } from '../util/errors.ts';
import { thisProcess } from '../util/process-identity.ts';
import { type Answer, answerRequests, header } from './ask.ts';
import type { Cluster } from './cluster.ts';
import { publishDeadLetter } from './dead-letters.ts';
import { acknowledge } from './delivery.ts';
import { type GatheredBlock, GatheredResults } from './gathered-results.ts';
import { Lease } from './lease.ts';
import { publishModel } from './model-store.ts';
import { Rate } from './rate.ts';
import { formatRows, parseRows } from './row-list.ts';
import { decodeResults, encodeTokens } from './row-messages.ts';
import type { EmbeddedRows, ShardCounts, ShardKeeper, WantedVersion } from './shard-keeper.ts';
import { readShard, readShards, type ShardRecord, writeShard } from './shard-record.ts';
import { type ClusterStreams, ensureOwnerConsumer } from './streams.ts';
import { parseMessage } from './task.ts';
import { atMost, FAREWELL_MS, pause, persist, reasonOf } from './waiting.ts';

/** Settings of an {@link Owner}. */
export interface OwnerOptions {
  /** Requests that the owner answers besides, by kind, such as `search`. */
  readonly answers?: Readonly<Record<string, Answer>> | undefined;
  /** Time to wait until a former owner has gone, in milliseconds. Default: that of a lease, twice. */
  readonly waitMs?: number | undefined;
  /** Aborting ends the wait for a former owner. */
  readonly signal?: AbortSignal | undefined;
  /** Called when rows are stored. */
  readonly onStored?: ((rows: number) => void) | undefined;
  /** Called with a note, for example about a full disk. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** Rows that are stored in one commit, about. */
const COMMIT_ROWS = 8192;
/** Time for which a block waits for others, to be stored with them. */
const COMMIT_MS = 250;
/** Pause after results could not be stored. */
const RETRY_MS = 5000;
/** Results that are asked for before the former ones are stored. */
const AHEAD = 16;
/** Pause between two records of the shard, and the least ratio of it to the time that one takes. */
const RECORD_MS = 2000;
const RECORD_PAUSES = 20;
const LONGEST_LEASE_WAIT = 2;

/**
 * Single writer of a shard. It answers what is stale and what rows consist of, and stores results: durable first, acknowledged then.
 * Results that are late, doubled or of another version are dropped by the guard of the keeper.
 */
export class Owner {
  private readonly cluster: Cluster;
  private readonly streams: ClusterStreams;
  private readonly keeper: ShardKeeper;
  private readonly options: OwnerOptions;
  private readonly gathered = new GatheredResults();
  private readonly rate = new Rate();
  private readonly stop = new AbortController();
  private lease: Lease | undefined;
  private requests: Subscription | undefined;
  private messages: ConsumerMessages | undefined;
  private ackWaitMs = 0;
  /** Blocks that wait to be stored. */
  private ready: GatheredBlock[] = [];
  private storing: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private published: PublishedModel | undefined;
  private problem = '';
  private recording: Promise<void> = Promise.resolve();
  private working: Promise<void> = Promise.resolve();
  /** Kinds of requests that this owner or one before it answers: a search then knows what it lacks. */
  private kinds: readonly string[] = [];
  /** Rows stored since the beginning. */
  stored = 0;

  private constructor(cluster: Cluster, streams: ClusterStreams, keeper: ShardKeeper, options: OwnerOptions) {
    this.cluster = cluster;
    this.streams = streams;
    this.keeper = keeper;
    this.options = options;
  }

  /**
   * Becomes the owner of a shard, when a former one has gone.
   *
   * @throws UsageError if another process owns the shard
   */
  static async start(
    cluster: Cluster,
    streams: ClusterStreams,
    keeper: ShardKeeper,
    options: OwnerOptions = {},
  ): Promise<Owner> {
    const owner = new Owner(cluster, streams, keeper, options);
    await owner.takeLease();
    try {
      await owner.begin();
    } catch (error) {
      await owner.close();
      throw error;
    }
    return owner;
  }

  /** Aborted when another process has become the owner, because this one stood still for long. */
  get lost(): AbortSignal {
    return this.stop.signal;
  }

  /** Stores what has arrived, and gives the shard up. */
  async close(): Promise<void> {
    clearTimeout(this.timer);
    this.requests?.unsubscribe();
    if (this.messages) await atMost(FAREWELL_MS, this.messages.close());
    await atMost(FAREWELL_MS, this.working);
    await this.store();
    this.stop.abort();
    await this.recording;
    if (this.lease?.isHeld) await atMost(FAREWELL_MS, this.record());
    await this.lease?.release();
  }

  private async takeLease(): Promise<void> {
    const { options, keeper, streams } = this;
    const { waitMs = LONGEST_LEASE_WAIT * streams.leaseMs, signal } = options;
    const startMs = performance.now();
    let isNoted = false;
    const onLost = () => {
      options.onNote?.(`another process has become the owner of the shard ${keeper.name}`);
      this.requests?.unsubscribe();
      void this.messages?.close();
      this.stop.abort();
    };
    for (;;) {
      const take = () => Lease.take(streams, `owner.${keeper.name}`, onLost);
      this.lease = await persist(take, signal).catch((error) => {
        if (!signal?.aborted) throw error;
        return undefined;
      });
      if (this.lease) return;
      if (signal?.aborted) throw new RuntimeError('stopped while waiting for a former owner');
      if (performance.now() - startMs >= waitMs) {
        throw new UsageError(`the shard ${keeper.name} has an owner that runs`, {
          help: 'a shard is written by one process: end the other one, or give this shard another name by --shards',
        });
      }
      if (!isNoted) options.onNote?.(`waiting for the former owner of the shard ${keeper.name}`);
      isNoted = true;
      await pause(RETRY_MS / 10, signal);
    }
  }

  private async begin(): Promise<void> {
    const { cluster, keeper, streams, options } = this;
    const { names, stream } = cluster;
    this.ackWaitMs = await ensureOwnerConsumer(cluster, keeper.name, streams);
    const consumer = await persist(() =>
      stream.consumers.get(names.results, names.ownerConsumer(keeper.name)),
    );
    this.messages = await consumer.consume({ max_messages: AHEAD });
    this.working = this.consume(this.messages);
    this.requests = answerRequests(cluster, keeper.name, {
      ...options.answers,
      rows: (body) => this.answerRows(body),
      stale: (body) => this.answerStale(body),
      counts: async () => Buffer.from(JSON.stringify(await keeper.counts())),
    });
    const former = await persist(() => readShard(streams, keeper.name));
    this.kinds = [...new Set([...(former?.answers ?? []), ...Object.keys(options.answers ?? {})])];
    await persist(() => this.record());
    this.recording = this.keepRecord();
  }

  /** Takes results until the end. A whole block is stored with others after a moment. */
  private async consume(messages: ConsumerMessages): Promise<void> {
    for await (const message of messages) {
      const block = this.take(message);
      if (block) {
        this.ready.push(block);
        const rows = this.ready.reduce((sum, { results }) => sum + results.rows.length, 0);
        if (rows >= COMMIT_ROWS) await this.store();
        else this.timer ??= setTimeout(() => void this.store(), COMMIT_MS);
      }
      const abandoned = this.gathered.takeAbandoned(2 * this.streams.ackWaitMs);
      for (const part of abandoned) void acknowledge(part);
    }
  }

  private take(message: JsMsg): GatheredBlock | undefined {
    try {
      return this.gathered.add(
        decodeResults((name) => header(message, name), message.data),
        message,
      );
    } catch (error) {
      // Acknowledged, because it would come again as it is. Its rows are still stale, and are handed out again.
      const reason = reasonOf(error);
      this.options.onNote?.(`${this.keeper.name}: ${reason}`);
      const letter = { shard: this.keeper.name, version: '', rows: new Uint32Array(0), reason };
      void publishDeadLetter(this.cluster, letter)
        .then(() => message.term(reason))
        .catch(() => {});
      return undefined;
    }
  }

  /** Stores all blocks that are whole, one commit after another. */
  private async store(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    while (this.storing) await this.storing;
    if (this.ready.length === 0) return;
    this.storing = this.storeReady(this.ready.splice(0));
    try {
      await this.storing;
    } finally {
      this.storing = undefined;
    }
  }

  private async storeReady(blocks: readonly GatheredBlock[]): Promise<void> {
    const messages = blocks.flatMap((block) => block.messages);
    // While the disk is full, the results stay ours.
    const timer = setInterval(() => {
      for (const message of messages) message.working();
    }, this.ackWaitMs / 3);
    try {
      while (!this.stop.signal.aborted) {
        try {
          const rows = await this.keeper.put(await this.fitting(blocks));
          this.problem = '';
          this.stored += rows;
          this.rate.add(rows);
          this.options.onStored?.(rows);
          await Promise.all(messages.map(acknowledge));
          return;
        } catch (error) {
          if (this.problem === '')
            this.options.onNote?.(`${this.keeper.name} cannot store: ${reasonOf(error)}`);
          this.problem = reasonOf(error);
          // At the end, results that cannot be stored stay in the stream.
          if (this.requests?.isClosed()) return;
          await pause(RETRY_MS, this.stop.signal);
        }
      }
    } finally {
      clearInterval(timer);
    }
  }

  /** Leaves out results of a version that is not wanted any more, or of another size. */
  private async fitting(blocks: readonly GatheredBlock[]): Promise<EmbeddedRows[]> {
    const wanted = await this.keeper.wanted();
    return blocks.flatMap(({ results }) => {
      const { version, rows, vectors } = results;
      return version === wanted?.id && vectors.length === rows.length * wanted.dimension ? results : [];
    });
  }

  private async answerRows(body: Uint8Array): Promise<Uint8Array> {
    const { version, rows } = parseMessage(body);
    const wanted = await this.keeper.wanted();
    const numbers = wanted?.id === version ? parseRows(rows) : new Uint32Array(0);
    return encodeTokens(await this.keeper.tokens(numbers));
  }

  private async answerStale(body: Uint8Array): Promise<Uint8Array> {
    const { after, blocks } = parseMessage(body);
    const wanted = await this.keeper.wanted();
    const stale = wanted ? await this.keeper.stale({ after: Number(after), blocks: Number(blocks) }) : [];
    const model = wanted && stale.length > 0 ? await this.publish(wanted) : '';
    const answer: StaleAnswer = {
      version: wanted?.id ?? '',
      dimension: wanted?.dimension ?? 0,
      model,
      blocks: stale.map(formatRows),
    };
    return Buffer.from(JSON.stringify(answer));
  }

  /** Publishes the model of a version once, and returns its digest. */
  private async publish(wanted: WantedVersion): Promise<string> {
    if (this.published?.version !== wanted.id) {
      const { signal } = this.stop;
      const digest = persist(async () => {
        const others = (await readShards(this.streams)).flatMap(({ model }) => model || []);
        return await publishModel(this.cluster, this.streams, wanted.folder, { wanted: others, signal });
      }, signal);
      const published: PublishedModel = { version: wanted.id, digest, known: '' };
      this.published = published;
      digest.then(
        (known) => {
          published.known = known;
        },
        // The next request tries again.
        () => {
          if (this.published === published) this.published = undefined;
        },
      );
    }
    return await this.published.digest;
  }

  private async keepRecord(): Promise<void> {
    let pauseMs = RECORD_MS;
    while (!this.stop.signal.aborted) {
      await pause(pauseMs, this.stop.signal);
      if (this.stop.signal.aborted) return;
      const startMs = performance.now();
      await this.record().catch(() => {});
      // Counting the rows of a large shard takes its time.
      pauseMs = Math.max(RECORD_MS, RECORD_PAUSES * (performance.now() - startMs));
    }
  }

  private async record(): Promise<void> {
    const { keeper, published, problem, rate, stored } = this;
    const [wanted, counts] = [await keeper.wanted(), await keeper.counts()];
    const { host, pid } = thisProcess();
    const record: ShardRecord = {
      ...(counts satisfies ShardCounts),
      ...{ name: keeper.name, version: wanted?.id ?? '', step: wanted?.step ?? 0 },
      ...{ dimension: wanted?.dimension ?? 0, problem, stored, owner: `${host} ${pid}` },
      model: published !== undefined && published.version === wanted?.id ? published.known : '',
      rowsPerSecond: rate.rowsPerSecond,
      answers: this.kinds,
    };
    await writeShard(this.streams, record);
  }
}

/** Model that is published, or is being published. */
interface PublishedModel {
  readonly version: string;
  readonly digest: Promise<string>;
  /** Its digest; empty while it is being published, which may take long. */
  known: string;
}

/** Answer of an owner about what is stale. */
export interface StaleAnswer {
  /** Wanted version; empty if there is none. */
  readonly version: string;
  readonly dimension: number;
  /** Digest of the model; empty if nothing is stale. */
  readonly model: string;
  /** Rows of each block, as `formatRows` writes them. */
  readonly blocks: readonly string[];
}
