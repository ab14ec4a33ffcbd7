import { thisProcess } from '../util/process-identity.ts';
import type { Cluster } from './cluster.ts';
import { formatRows, parseRows } from './row-list.ts';
import { parseMessage } from './task.ts';

/** Block that was given up. */
export interface DeadLetter {
  readonly shard: string;
  readonly version: string;
  readonly rows: Uint32Array;
  /** Why it was given up. */
  readonly reason: string;
  /** Machine and process that gave it up. */
  readonly by: string;
  /** Time, in milliseconds since 1970. */
  readonly time: number;
}

/** Deliveries after which a task is given up. */
export const MOST_TRIES = 5;

/** Time after which the server forgets a reader that is gone. */
const INACTIVE_MS = 10_000;

/** Publishes a dead letter. */
export async function publishDeadLetter(
  { stream, names }: Cluster,
  { rows, reason, ...rest }: Omit<DeadLetter, 'by' | 'time'>,
): Promise<void> {
  const { host, pid } = thisProcess();
  const letter = { ...rest, rows: formatRows(rows), reason: reason.slice(0, 1000) };
  const body = JSON.stringify({ ...letter, by: `${host} ${pid}`, time: Date.now() });
  await stream.publish(names.deadSubject(rest.shard), body);
}

/** Counts dead letters by shard. */
export async function countDeadLetters({ manager, names }: Cluster): Promise<Map<string, number>> {
  const { state } = await manager.streams.info(names.dead, { subjects_filter: names.deadSubject() });
  const prefix = names.deadSubject('').length;
  return new Map(Object.entries(state.subjects ?? {}).map(([subject, n]) => [subject.slice(prefix), n]));
}

/** Reads the dead letters of a shard, or of all shards, oldest first. */
export async function readDeadLetters(cluster: Cluster, shard?: string): Promise<DeadLetter[]> {
  const { stream, names, manager, nats } = cluster;
  const filter = names.deadSubject(shard);
  const { state } = await manager.streams.info(names.dead, { subjects_filter: filter });
  let missing = Object.values(state.subjects ?? {}).reduce((sum, n) => sum + n, 0);
  if (missing === 0) return [];
  const letters: DeadLetter[] = [];
  const consumer = await stream.consumers.get(names.dead, {
    filter_subjects: filter,
    deliver_policy: nats.jetstream.DeliverPolicy.All,
    inactive_threshold: INACTIVE_MS,
  });
  const messages = await consumer.fetch({ max_messages: missing, expires: 5000 });
  for await (const message of messages) {
    const letter = parseLetter(message.data);
    if (letter) letters.push(letter);
    if (--missing === 0) break;
  }
  await consumer.delete().catch(() => false);
  return letters;
}

function parseLetter(data: Uint8Array): DeadLetter | undefined {
  try {
    const { shard, version, rows, reason, by, time } = parseMessage(data);
    return {
      ...{ shard: String(shard), version: String(version), reason: String(reason), by: String(by) },
      ...{ time: Number(time), rows: parseRows(rows) },
    };
  } catch {
    // What someone else has written there is no reason to stop.
    return undefined;
  }
}

/** Removes the dead letters of a shard, so that its blocks are tried again, and returns their number. */
export async function removeDeadLetters({ manager, names }: Cluster, shard: string): Promise<number> {
  return (await manager.streams.purge(names.dead, { filter: names.deadSubject(shard) })).purged;
}
