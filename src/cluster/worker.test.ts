import type { JsMsg } from '@nats-io/jetstream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Cluster } from './cluster.ts';
import { clusterNames } from './cluster-names.ts';
import { MOST_TRIES } from './dead-letters.ts';
import type { ClusterStreams } from './streams.ts';
import { encodeTask } from './task.ts';
import { runWorker } from './worker.ts';

const TASK = encodeTask({
  ...{ shard: 'docs', version: 'v1', model: 'a'.repeat(64), dimension: 8 },
  rows: Uint32Array.of(0, 1),
});

/** Message of a stream, and what became of it. */
function messageOf(data: Uint8Array, deliveryCount = 1) {
  const calls: string[] = [];
  const called = (name: string) => () => void calls.push(name);
  const message = {
    ...{ data, info: { deliveryCount } },
    ...{ nak: called('nak'), term: called('term'), working: () => {} },
    ackAck: async () => {
      calls.push('ack');
      return true;
    },
  };
  return { message: message as unknown as JsMsg, calls };
}

/** Cluster without a server, whose owners are silent. */
function silentCluster() {
  const answers: ((message: JsMsg | null) => void)[] = [];
  const subscribe = () => {
    let end = () => {};
    const ended = new Promise<IteratorResult<never>>((resolve) => {
      end = () => resolve({ done: true, value: undefined });
    });
    return { unsubscribe: () => end(), [Symbol.asyncIterator]: () => ({ next: () => ended }) };
  };
  const next = () => new Promise<JsMsg | null>((resolve) => answers.push(resolve));
  const cluster = {
    names: clusterNames('test'),
    stream: { consumers: { get: async () => ({ next }) } },
    nats: { transport: { createInbox: () => 'inbox' } },
    connection: { subscribe, publish: () => {}, flush: async () => {} },
  } as unknown as Cluster;
  const live = { put: async () => 1, delete: async () => {} };
  return {
    cluster,
    streams: { live, ackWaitMs: 60_000, leaseMs: 15_000 } as unknown as ClusterStreams,
    /** Answers the oldest request for a task that has no answer yet. */
    answer: (message: JsMsg | null) => answers.shift()!(message),
    /** Requests for tasks that have no answer. */
    get asked() {
      return answers.length;
    },
  };
}

describe('a worker', () => {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const passes = (seconds: number) => vi.advanceTimersByTimeAsync(1000 * seconds);

  it('takes a task that comes while a long pass of its model lets nothing be read', async () => {
    const fake = silentCluster();
    const stop = new AbortController();
    const running = runWorker(fake.cluster, fake.streams, { signal: stop.signal });
    await passes(15);
    expect(fake.asked).toBe(1);
    const { message, calls } = messageOf(Buffer.from('no task'));
    fake.answer(message);
    await passes(0);
    expect(calls).toEqual(['term']);
    stop.abort();
    await passes(1);
    await running;
  });

  it('gives back what comes after its end, and what was given back often is derived again', async () => {
    const fake = silentCluster();
    for (const [deliveries, expected] of [
      [1, 'nak'],
      [MOST_TRIES, 'ack'],
    ] as const) {
      const stop = new AbortController();
      const running = runWorker(fake.cluster, fake.streams, { signal: stop.signal });
      await passes(1);
      stop.abort();
      await passes(1);
      await running;
      const { message, calls } = messageOf(TASK, deliveries);
      fake.answer(message);
      await passes(0);
      expect(calls).toEqual([expected]);
    }
  });

  it('counts the time without work from the end of the work', async () => {
    const fake = silentCluster();
    let hasEnded = false;
    const running = runWorker(fake.cluster, fake.streams, { idleMs: 60_000 }).then(() => {
      hasEnded = true;
    });
    await passes(1);
    const { message, calls } = messageOf(TASK);
    // The owner is asked ten times, for ten seconds each.
    fake.answer(message);
    await passes(110);
    expect(calls).toEqual(['ack']);
    await passes(50);
    expect(hasEnded).toBe(false);
    fake.answer(null);
    await passes(20);
    fake.answer(null);
    await passes(1);
    expect(hasEnded).toBe(true);
    await running;
  });
});
