import { RESULT_BYTES } from '../../src/cluster/streams.ts';

/** Something that happens to a process now and then, at random moments. */
export interface Failure {
  /** Mean number of times in an hour, of one process. */
  readonly perHour: number;
  /** How long it lasts, in seconds. */
  readonly seconds: number;
}

/** A cluster, its work, and what happens to it. */
export interface SimulationSettings {
  readonly seed: number;

  // The work.
  /** Stale rows, in equal shards. */
  readonly rows: number;
  readonly shards: number;
  /** Rows of a block, which is one task and one result. */
  readonly blockRows: number;
  /** Mean tokens of a row; a token id has two bytes. */
  readonly rowTokens: number;
  /** Embedding size. */
  readonly dimension: number;
  /** Bytes of a value of an embedding on its way. */
  readonly valueBytes: number;
  /** Bytes of the model, which each worker fetches once. */
  readonly modelBytes: number;

  // The processes.
  readonly workers: number;
  /** Rows that the median worker embeds in a second. */
  readonly workerRate: number;
  /** Spread of the workers' rates: standard deviation of their logarithms. */
  readonly workerSpread: number;
  /** Rows that an owner reads and tokenises in a second. */
  readonly ownerTokenRate: number;
  /** Rows that an owner stores in a second, without what a commit costs. */
  readonly ownerPutRate: number;
  /** Time of a commit that is durable, in seconds. */
  readonly commitSeconds: number;
  /** Most results of a commit. */
  readonly commitBlocks: number;
  /** Rows whose stamps an owner looks at in a second, to list those that are stale. */
  readonly ownerListRate: number;
  /** Pause of the coordinator after it has looked at all shards, in seconds. */
  readonly coordinatorSeconds: number;
  /** Time until a task is durable, in seconds. */
  readonly taskSeconds: number;
  /** Most tasks of a shard that are not done. */
  readonly shardTasks: number;
  /** Whether results that wait for their owner count as tasks that are not done. */
  readonly boundResults: boolean;

  // The server.
  /** Streams of results, among which the shards are divided. */
  readonly resultStreams: number;
  /** Bytes that a stream stores durably in a second. */
  readonly streamRate: number;
  /** Most bytes of results that are not stored by their owners; further ones are refused. */
  readonly resultBytes: number;
  /** Bytes that the server's network carries in a second, each way. */
  readonly networkRate: number;
  /** Time without a sign of life after which a task or a result is handed out again, in seconds. */
  readonly ackSeconds: number;
  /** Most times that a task is handed out; it is a dead letter then. */
  readonly deliveries: number;

  // What happens.
  /** A worker is killed, and another takes its place. */
  readonly workerCrash: Failure;
  /** A worker hangs, and wakes. */
  readonly workerFreeze: Failure;
  /** An owner is killed, and starts again. */
  readonly ownerCrash: Failure;
  /** The coordinator is killed, and another takes over when its lease has ended. */
  readonly coordinatorCrash: Failure;
  /** The server that leads is lost, and another is elected. */
  readonly serverLoss: Failure;
  /** Share of tasks that are acknowledged and lost. */
  readonly lostTasks: number;
  /** Share of results that are acknowledged and lost. */
  readonly lostResults: number;
}

const NEVER: Failure = { perHour: 0, seconds: 0 };

/** Settings without failures. */
export const CALM = {
  workerCrash: NEVER,
  workerFreeze: NEVER,
  ownerCrash: NEVER,
  coordinatorCrash: NEVER,
  serverLoss: NEVER,
  lostTasks: 0,
  lostResults: 0,
} as const satisfies Partial<SimulationSettings>;

/**
 * A thousand workers with two cores each and a billion rows of 64 tokens, by a model of MiniLM's shape, over three servers that replicate.
 * The rates of a worker and of storing were measured on two cores (docs/performance.md). The others are assumed, and so are the failures,
 * which are more frequent than those of most machines.
 */
export const DEFAULTS: SimulationSettings = {
  seed: 1,
  rows: 1e9,
  shards: 64,
  blockRows: 1024,
  rowTokens: 64,
  dimension: 384,
  valueBytes: 4,
  modelBytes: 91e6,
  workers: 1000,
  workerRate: 195,
  workerSpread: 0.2,
  ownerTokenRate: 20_000,
  ownerPutRate: 65_000,
  commitSeconds: 0.1,
  commitBlocks: 8,
  ownerListRate: 10e6,
  coordinatorSeconds: 0.5,
  taskSeconds: 0.0013,
  shardTasks: 64,
  boundResults: false,
  resultStreams: 1,
  streamRate: 80e6,
  resultBytes: RESULT_BYTES,
  networkRate: 1.1e9,
  ackSeconds: 60,
  deliveries: 5,
  workerCrash: { perHour: 0.1, seconds: 60 },
  workerFreeze: { perHour: 0.1, seconds: 60 },
  ownerCrash: { perHour: 0.05, seconds: 60 },
  coordinatorCrash: { perHour: 1, seconds: 15 },
  serverLoss: { perHour: 1, seconds: 12 },
  lostTasks: 1e-5,
  lostResults: 1e-5,
};

/** What a simulated cluster did. */
export interface SimulationResult {
  /** Time until the coordinator knew that every row has the version, in seconds. */
  readonly seconds: number;
  /** Time until this share of the rows had it. */
  readonly secondsTo: { readonly half: number; readonly p99: number; readonly p999: number };
  /** Time that the workers need for as many rows if they never wait: rows by the sum of their rates. */
  readonly idealSeconds: number;
  readonly blocks: number;
  readonly tasks: {
    readonly published: number;
    /** Handed out again after a worker was lost or late, or an owner had not acknowledged a result. */
    readonly redelivered: number;
    /** Given up after too many tries: their rows stay stale. */
    readonly dead: number;
    readonly lost: number;
  };
  readonly results: {
    readonly published: number;
    readonly applied: number;
    /** Of rows that had the version already. */
    readonly dropped: number;
    readonly lost: number;
    /** Refused because the stream was full, and tried again. */
    readonly refused: number;
    /** Most bytes that waited at one time. */
    readonly mostBytes: number;
  };
  readonly coordinator: {
    readonly messages: number;
    /** Lists of stale rows that followed when all was quiet. */
    readonly sweeps: number;
    /** Time of all owners for listing stale rows, in seconds. */
    readonly listSeconds: number;
    /** Time that it did not pause. */
    readonly busySeconds: number;
  };
  /** Share of the time that processes work. */
  readonly busy: {
    /** Embedding, over all workers. */
    readonly workers: number;
    /** Owners that read tokens and stamps, and that store. */
    readonly reading: number;
    readonly storing: number;
    /** Streams that store results. */
    readonly streams: number;
    readonly network: number;
    readonly coordinator: number;
  };
  /** Bytes into the server and out of it. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Kills, hangs and losses that happened. */
  readonly failures: number;
}
