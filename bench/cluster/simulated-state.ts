import { EventQueue, Fifo, Random, Server } from './event-queue.ts';
import type { Failure, SimulationSettings } from './simulation-settings.ts';

/** Time of a message between two processes, in seconds. */
export const MESSAGE_SECONDS = 0.001;
/** Bytes of a row beside its tokens or its embedding: number, mark, length. */
export const ROW_BYTES = 16;

/** Block that is to be embedded. */
export interface Task {
  readonly block: number;
  deliveries: number;
  isDone: boolean;
}

/** Worker, and the tasks that it holds. */
export interface Worker {
  readonly rate: number;
  /** Counts its lives: what a former one had begun is not done. */
  life: number;
  /** When it wakes, if it hangs. */
  wakes: number;
  /** Whether it waits for a task, or for the tokens of one. */
  isAsking: boolean;
  /** Task that it embeds next. */
  next: Task | undefined;
  /** Whether the tokens of that are there. */
  isRead: boolean;
  embedding: Task | undefined;
  /** Task whose rows wait until those of the one before are published. */
  embedded: Task | undefined;
  publishing: Task | undefined;
  /** Tries at this that were refused. */
  refusals: number;
}

/** Shard, its owner, and what is under way. */
export interface Shard {
  readonly number: number;
  readonly first: number;
  readonly end: number;
  /** What the owner reads: tokens and stamps. */
  readonly reading: Server;
  /** What it stores, meanwhile. */
  readonly storing: Server;
  /** Next block to look at; −1 if nobody knows, because the coordinator is a new one. */
  cursor: number;
  /** Tasks in the stream, waiting or with a worker. */
  tasks: number;
  /** Blocks of results in the stream. */
  results: number;
  readonly waiting: Fifo<number>;
  isStoring: boolean;
  /** When the owner is there again, if it was killed. */
  upAt: number;
  /** Counts lives of the owner: a commit of a former one is not done. */
  life: number;
  isDone: boolean;
}

/** Something that a worker does, if it has not been killed in the meantime. */
export interface OfWorker {
  readonly worker: number;
  readonly life: number;
  readonly kind: 'ready' | 'ahead' | 'read' | 'embedded' | 'refused';
  /** Whether it was put off, because the worker hung. */
  readonly isLate?: boolean;
}

/** Something that happens at a time. */
export type Event =
  | OfWorker
  | { readonly kind: 'published'; readonly worker: number; readonly life: number; readonly task: Task }
  | { readonly kind: 'again'; readonly task: Task }
  | { readonly kind: 'result again'; readonly shard: number; readonly blocks: readonly number[] }
  | {
      readonly kind: 'stored';
      readonly shard: number;
      readonly blocks: readonly number[];
      readonly life: number;
    }
  | { readonly kind: 'look'; readonly shard: number }
  | { readonly kind: 'worker crash'; readonly worker: number }
  | { readonly kind: 'worker freeze'; readonly worker: number }
  | { readonly kind: 'owner crash'; readonly shard: number }
  | { readonly kind: 'coordinator crash' }
  | { readonly kind: 'server loss' };

/** What all parts of a simulated cluster share: the time, the server with its streams, the rows, and counts. */
export class ClusterState {
  readonly settings: SimulationSettings;
  readonly random: Random;
  readonly events = new EventQueue<Event>();
  /** Seconds since the beginning. */
  now = 0;
  readonly shards: readonly Shard[];
  /** Blocks of all shards, shard after shard. */
  readonly blocks: number;
  /** Whether a block has the version. */
  readonly stored: Uint8Array;
  /** Whether a block was given up. */
  readonly dead: Uint8Array;
  /** Tasks that wait for a worker. */
  readonly queue = new Fifo<Task>();
  readonly streams: readonly Server[];
  readonly networkIn = new Server();
  readonly networkOut = new Server();
  /** Bytes of results that are not stored. */
  resultBytes = 0;
  /** When the server is there again. */
  serverUpAt = 0;
  readonly bytes = { in: 0, out: 0 };
  readonly tasks = { published: 0, redelivered: 0, dead: 0, lost: 0 };
  readonly results = { published: 0, applied: 0, dropped: 0, lost: 0, refused: 0, mostBytes: 0 };
  /** Bytes of the result of a block. */
  readonly blockBytes: number;
  private readonly perShard: number;

  constructor(settings: SimulationSettings) {
    const { rows, shards, blockRows, dimension, valueBytes, resultStreams, seed } = settings;
    this.settings = settings;
    this.random = new Random(seed);
    const perShard = Math.ceil(rows / shards / blockRows);
    this.perShard = perShard;
    this.blocks = perShard * shards;
    this.blockBytes = blockRows * (dimension * valueBytes + ROW_BYTES);
    this.stored = new Uint8Array(this.blocks);
    this.dead = new Uint8Array(this.blocks);
    this.streams = Array.from({ length: resultStreams }, () => new Server());
    this.shards = Array.from({ length: shards }, (_, number) => ({
      number,
      first: number * perShard,
      end: (number + 1) * perShard,
      reading: new Server(),
      storing: new Server(),
      cursor: number * perShard,
      tasks: 0,
      results: 0,
      waiting: new Fifo<number>(),
      isStoring: false,
      upAt: 0,
      life: 0,
      isDone: false,
    }));
  }

  /** Returns the shard of a block. */
  shardOf(block: number): Shard {
    return this.shards[Math.floor(block / this.perShard)]!;
  }

  /** Adds something that happens now and then. */
  later(failure: Failure, event: Event): void {
    const time = this.now + this.random.exponential(failure.perHour / 3600);
    if (Number.isFinite(time)) this.events.add(time, event);
  }

  /** Bytes from the server to a process. Returns when they are there. */
  send(bytes: number): number {
    this.bytes.out += bytes;
    return this.networkOut.ask(this.now, bytes / this.settings.networkRate) + MESSAGE_SECONDS;
  }

  /** Bytes from a process to the server. Returns when they are there. */
  receive(bytes: number): number {
    this.bytes.in += bytes;
    return this.networkIn.ask(this.now, bytes / this.settings.networkRate) + MESSAGE_SECONDS;
  }

  /** A task leaves the stream. */
  end(task: Task): void {
    if (task.isDone) return;
    task.isDone = true;
    this.shardOf(task.block).tasks--;
  }
}
