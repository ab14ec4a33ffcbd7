import type { Msg, MsgHdrs, Subscription } from '@nats-io/transport-node';
import { RuntimeError } from '../util/errors.ts';
import type { Cluster } from './cluster.ts';
import { HEADER_BYTES, HEADERS } from './row-messages.ts';
import { pause, reasonOf } from './waiting.ts';

/** Answers a request to the owner of a shard. */
export type Answer = (body: Uint8Array) => Promise<Uint8Array>;

/** Failure of a request to the owner of a shard. */
export class AskError extends RuntimeError {
  /** `absent`: no owner listens; `late`: it did not answer in time; `refused`: it has answered with an error. */
  readonly kind: 'absent' | 'late' | 'refused';

  constructor(kind: AskError['kind'], message: string, help?: string) {
    super(message, help === undefined ? {} : { help });
    this.kind = kind;
  }
}

const ASK_MS = 10_000;

/** Status of a message that tells that nobody listens. */
const NO_RESPONDERS = 503;

/** Settings of {@link askShard}. */
interface AskOptions {
  readonly body?: Uint8Array | undefined;
  /** Longest wait for the whole answer, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Aborting ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the owner of a shard. An answer of any size comes in several messages.
 *
 * @throws AskError if there is no owner, or it does not answer in time or before the signal, or it refuses
 */
export async function askShard(
  cluster: Cluster,
  shard: string,
  kind: string,
  { body = new Uint8Array(0), timeoutMs = ASK_MS, signal }: AskOptions = {},
): Promise<Uint8Array> {
  const { connection, names, nats } = cluster;
  const inbox = nats.transport.createInbox();
  const replies = connection.subscribe(inbox);
  const startMs = performance.now();
  const wait = new AbortController();
  const waited = AbortSignal.any([wait.signal, ...(signal ? [signal] : [])]);
  void pause(timeoutMs, waited).then(() => replies.unsubscribe());
  try {
    connection.publish(names.askSubject(shard, kind), body, { reply: inbox });
    const parts: Uint8Array[] = [];
    let missing = Number.POSITIVE_INFINITY;
    for await (const message of replies) {
      if (message.headers?.code === NO_RESPONDERS) {
        throw new AskError('absent', `the shard ${shard} has no owner`, ownerHelp(shard));
      }
      const error = header(message, HEADERS.error);
      if (error !== '') throw new AskError('refused', `the owner of the shard ${shard}: ${error}`);
      const part = Number(header(message, HEADERS.part));
      if (missing === Number.POSITIVE_INFINITY) missing = Number(header(message, HEADERS.parts));
      if (!parts[part]) missing -= 1;
      parts[part] = Uint8Array.from(message.data);
      if (missing <= 0) return Buffer.concat(parts);
    }
    const ms = Math.round(performance.now() - startMs);
    throw new AskError('late', `the owner of the shard ${shard} has not answered within ${ms} ms`);
  } finally {
    wait.abort();
  }
}

const ownerHelp = (shard: string): string =>
  `start one: undrift cluster owner --nats ADDRESS --store STORE --shards ${shard}`;

/** Looks up a header of a message; empty if it is missing. */
export const header = ({ headers }: { readonly headers?: MsgHdrs | undefined }, name: string): string =>
  headers?.get(name) ?? '';

/**
 * Answers requests to the owner of a shard until the subscription ends.
 *
 * @param answers  functions by kind of request
 */
export function answerRequests(
  cluster: Cluster,
  shard: string,
  answers: Readonly<Record<string, Answer>>,
): Subscription {
  const { connection, names } = cluster;
  const requests = connection.subscribe(names.askSubject(shard, '*'));
  const serve = async () => {
    // Requests are answered at the same time: a long search does not hold up a worker.
    for await (const message of requests) void answer(cluster, message, answers);
  };
  void serve();
  return requests;
}

async function answer(
  { connection, nats, mostBytes }: Cluster,
  message: Msg,
  answers: Readonly<Record<string, Answer>>,
): Promise<void> {
  const reply = (body: Uint8Array, values: Readonly<Record<string, string>>) => {
    const headers = nats.transport.headers();
    for (const [name, value] of Object.entries(values)) headers.set(name, value);
    if (!connection.isClosed()) message.respond(body, { headers });
  };
  try {
    const kind = message.subject.slice(message.subject.lastIndexOf('.') + 1);
    const work = Object.hasOwn(answers, kind) ? answers[kind] : undefined;
    if (!work) throw new RuntimeError(`it does not answer requests of the kind ${kind}`);
    const body = await work(message.data);
    const most = mostBytes - HEADER_BYTES;
    const parts = Math.max(1, Math.ceil(body.length / most));
    for (let part = 0; part < parts; part++) {
      reply(body.subarray(part * most, (part + 1) * most), {
        [HEADERS.part]: String(part),
        [HEADERS.parts]: String(parts),
      });
    }
  } catch (error) {
    reply(new Uint8Array(0), {
      [HEADERS.error]: reasonOf(error)
        .replaceAll(/[^\x20-\x7e]/g, '?')
        .slice(0, 500),
    });
  }
}
