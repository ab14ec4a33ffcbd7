import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { makeText } from './serve-data.ts';

/** Load on a server. */
export interface Load {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** Body of a search without the query. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** Measurement of a load. */
export interface LoadResult {
  readonly queriesPerSecond: number;
  /** Percentiles of the latency, in milliseconds. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Sends queries over a number of connections, one at a time on each, after a tenth of the time to warm up. */
async function load({ url, connections, seconds, body }: Load): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const { hostname, port } = new URL(url);
  const headers = { 'content-type': 'application/json' };
  let sent = 0;
  const one = async (): Promise<void> => {
    const query = makeText(1_000_000 + sent++, 8);
    const sending = request({ hostname, port, path: '/search', method: 'POST', agent, headers });
    sending.end(JSON.stringify({ ...body, query }));
    const [response] = await once(sending, 'response');
    for await (const _ of response) {
    }
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
  };
  const times: number[] = [];
  const startMs = performance.now();
  const warmMs = startMs + 100 * seconds;
  const endMs = warmMs + 1000 * seconds;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (let nowMs = performance.now(); nowMs < endMs; ) {
        await one();
        const doneMs = performance.now();
        if (nowMs >= warmMs) times.push(doneMs - nowMs);
        nowMs = doneMs;
      }
    }),
  );
  const measuredSeconds = (performance.now() - warmMs) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? Number.NaN;
  return { queriesPerSecond: times.length / measuredSeconds, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

process.on('message', async (message: Load) => {
  process.send!(await load(message));
});
