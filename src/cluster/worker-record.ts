import { randomBytes } from 'node:crypto';
import type { KvEntry } from '@nats-io/kv';
import { thisProcess } from '../util/process-identity.ts';
import { Rate } from './rate.ts';
import { type ClusterStreams, keysOf } from './streams.ts';
import { parseMessage, type Task } from './task.ts';
import { atMost, FAREWELL_MS } from './waiting.ts';

/** What a worker tells about itself. */
export interface WorkerFacts {
  readonly host: string;
  readonly pid: number;
  readonly threads: number;
  /** Start of the process, in ISO 8601. */
  readonly started: string;
  /** Rows embedded since the start. */
  readonly rows: number;
  /** Rows per second over the last minute. */
  readonly rowsPerSecond: number;
  /** Shard and version of the last task; empty before the first one. */
  readonly shard: string;
  readonly version: string;
}

const PREFIX = 'worker.';

/** Record of a worker, which ends by itself when the worker is gone. */
export class WorkerRecord {
  private readonly streams: ClusterStreams;
  private readonly threads: number;
  private readonly key = PREFIX + randomBytes(9).toString('hex');
  private readonly rate = new Rate();
  private rows = 0;
  private task: Pick<Task, 'shard' | 'version'> = { shard: '', version: '' };
  private timer: NodeJS.Timeout | undefined;

  constructor(streams: ClusterStreams, { threads }: { threads: number }) {
    this.streams = streams;
    this.threads = threads;
  }

  async begin(): Promise<void> {
    await this.write();
    this.timer = setInterval(() => void this.write().catch(() => {}), this.streams.leaseMs / 3);
    this.timer.unref();
  }

  /** Counts the rows of a task. */
  add(rows: number, task: Task): void {
    this.rows += rows;
    this.rate.add(rows);
    this.task = task;
  }

  async end(): Promise<void> {
    clearInterval(this.timer);
    await atMost(FAREWELL_MS, this.streams.live.delete(this.key));
  }

  private async write(): Promise<void> {
    const { host, pid, started } = thisProcess();
    const { threads, rows, task } = this;
    const facts: WorkerFacts = {
      ...{ host, pid, threads, started, rows },
      rowsPerSecond: this.rate.rowsPerSecond,
      shard: task.shard,
      version: task.version,
    };
    await this.streams.live.put(this.key, JSON.stringify(facts));
  }
}

/** Counts the workers, and those that have just ended. */
export const countWorkers = async (streams: ClusterStreams): Promise<number> =>
  (await keysOf(streams, streams.names.live, PREFIX)).length;

/** Reads the records of all workers. */
export async function readWorkers(streams: ClusterStreams): Promise<WorkerFacts[]> {
  const keys = await keysOf(streams, streams.names.live, PREFIX);
  const entries = await Promise.all(keys.map((key) => streams.live.get(key)));
  const found = entries.flatMap((entry) => (entry?.operation === 'PUT' ? (parse(entry) ?? []) : []));
  return found.sort((a, b) => (a.started < b.started ? -1 : 1));
}

function parse(entry: KvEntry): WorkerFacts | undefined {
  try {
    const json = parseMessage(entry.value);
    const text = (name: string) => String(json[name] ?? '');
    const number = (name: string) => Number(json[name] ?? 0);
    return {
      ...{ host: text('host'), started: text('started'), shard: text('shard'), version: text('version') },
      ...{ pid: number('pid'), threads: number('threads'), rows: number('rows') },
      rowsPerSecond: number('rowsPerSecond'),
    };
  } catch {
    return undefined;
  }
}
