import type { JsMsg } from '@nats-io/jetstream';
import type { Cluster } from './cluster.ts';
import { encodeResults, type ResultPart } from './row-messages.ts';
import type { EmbeddedRows } from './shard-keeper.ts';
import { pause } from './waiting.ts';

const ACK_MS = 5000;
const PUBLISH_MS = 5000;
const TRIES = 60;
const PAUSE_MS = 250;
/** Pauses while there is no room for results: a message that is refused was sent whole, so that many tries would fill the network. */
const FULL_PAUSE_MS = 1000;
const MOST_FULL_PAUSE_MS = 32_000;
/** Parts of a block that are on their way at once. */
const AT_ONCE = 4;

/**
 * Publishes the embeddings of a block, and returns when the server has all of them. While the stream is full, it waits for the owner.
 *
 * Results have no id by which the server would drop duplicates: before 2.11, a server can drop a message as a duplicate of one that
 * it has never stored. The guard of the shard drops duplicates instead.
 *
 * @throws Error if the server does not take them
 */
export async function publishResults(
  cluster: Cluster,
  shard: string,
  results: EmbeddedRows,
  { attempt, signal, onFull }: { attempt: string; signal?: AbortSignal | undefined; onFull?: () => void },
): Promise<void> {
  const parts = encodeResults(results, attempt, cluster.mostBytes);
  for (let start = 0; start < parts.length; start += AT_ONCE) {
    const some = parts.slice(start, start + AT_ONCE);
    await Promise.all(some.map((part) => publishPart(cluster, shard, part, { signal, onFull })));
  }
}

async function publishPart(
  { stream, names, nats }: Cluster,
  shard: string,
  { headers, body }: ResultPart,
  { signal, onFull }: { signal?: AbortSignal | undefined; onFull?: (() => void) | undefined },
): Promise<void> {
  const values = nats.transport.headers();
  for (const [name, value] of Object.entries(headers)) values.set(name, value);
  let fullPauseMs = FULL_PAUSE_MS;
  for (let tries = 1; ; ) {
    try {
      await stream.publish(names.resultSubject(shard), body, { headers: values, timeout: PUBLISH_MS });
      return;
    } catch (error) {
      const isFull = error instanceof Error && /maximum (bytes|messages) exceeded/i.test(error.message);
      if (isFull) onFull?.();
      else tries += 1;
      if (tries > TRIES || signal?.aborted) throw error;
      // Workers that were refused together do not come again together.
      await pause(isFull ? fullPauseMs * (0.5 + Math.random()) : PAUSE_MS, signal);
      if (isFull) fullPauseMs = Math.min(2 * fullPauseMs, MOST_FULL_PAUSE_MS);
    }
  }
}

/** Acknowledges a message, and tells whether the server knows. If not, the message comes again. */
export async function acknowledge(message: JsMsg): Promise<boolean> {
  return await message.ackAck({ timeout: ACK_MS }).catch(() => false);
}

/** Message that this process works on: the server does not hand it to another meanwhile. */
export class HeldMessage {
  readonly message: JsMsg;
  private readonly timer: NodeJS.Timeout;

  constructor(message: JsMsg, ackWaitMs: number) {
    this.message = message;
    this.timer = setInterval(() => message.working(), ackWaitMs / 3);
    this.timer.unref();
  }

  /** Acknowledges the message. */
  async done(): Promise<void> {
    clearInterval(this.timer);
    await acknowledge(this.message);
  }

  /** Gives the message back, to be handed out again. */
  giveBack(delayMs = 0): void {
    clearInterval(this.timer);
    this.message.nak(delayMs);
  }

  /** Ends the message: it is not handed out again. */
  end(reason: string): void {
    clearInterval(this.timer);
    this.message.term(reason);
  }
}
