/**
 * Load and misuse of a server that runs in a process of its own:
 *
 *     npx tsx test/robustness/http-drill.ts [requests]
 *
 * sends a burst of 10,000 requests over 1,000 connections, of which many leave before the answer, and prints the statuses, the slowest
 * answer, and the server's memory before and after.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, type ClientRequest, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServeOptions } from '../../src/serve/server.ts';
import { indexPassages } from '../../src/store/index-passages.ts';
import { Store } from '../../src/store/store.ts';
import { nodeScript } from '../plain-script.ts';
import { phraseText, smallRetriever } from '../small-models.ts';

/** Server in another process. */
export interface DrilledServer {
  readonly url: string;
  /** Resident memory of the process, in bytes, after a garbage collection. */
  memory(): Promise<number>;
  /** Reads a metric by its name. */
  metric(name: string): Promise<number>;
  /** Ends the server gracefully, and returns the exit code of its process. */
  close(): Promise<number | null>;
}

/** Starts a server in a process of its own. */
export async function startServer(
  folder: string,
  options: Pick<ServeOptions, 'token' | 'maxBodyBytes' | 'maxConcurrent' | 'requestMs'> = {},
): Promise<DrilledServer> {
  const { execArgv, script } = nodeScript(fileURLToPath(new URL('http-process.ts', import.meta.url)));
  const child = fork(script, [folder, JSON.stringify(options)], { execArgv: ['--expose-gc', ...execArgv] });
  const ask = async (question: string): Promise<{ url: string; memory: number }> => {
    const answered = once(child, 'message');
    child.send(question);
    return (await answered)[0];
  };
  const [{ url }] = await onceReady(child);
  return {
    url,
    memory: async () => (await ask('memory')).memory,
    async metric(name) {
      const headers = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
      const text = await (await fetch(`${url}/metrics`, { headers })).text();
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
    },
    async close() {
      const ended = once(child, 'exit');
      child.send('close');
      return (await ended)[0];
    },
  };
}

async function onceReady(child: ChildProcess): Promise<[{ url: string }]> {
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the server ended with code ${code}`);
  });
  return (await Promise.race([once(child, 'message'), failed])) as [{ url: string }];
}

/** Makes a store of small passages in a new folder. */
export async function makeStore(folder: string, count = 300): Promise<void> {
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  const passages = Array.from({ length: count }, (_, i) => ({
    id: `p${i}`,
    text: phraseText([i, i * 7, i * 13, i * 29, i >> 3]),
    metadata: { n: i },
  }));
  await indexPassages(store, smallRetriever({ kind: 'static' }), passages, { model: 'small', threads: 1 });
  await store.close();
}

/** Outcome of a burst. */
export interface BurstResult {
  /** Number of answers by status; `left` for clients that left, `lost` for connections that broke. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Whether every 503 said when to come again. */
  readonly saysWhen: boolean;
  /** Time of the slowest answer, in milliseconds. */
  readonly slowestMs: number;
}

/**
 * Sends many searches and changes at once.
 *
 * @param leaving  share of the clients that leave before the answer
 */
export async function burst(
  url: string,
  { count, connections, leaving }: { count: number; connections: number; leaving: number },
): Promise<BurstResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const statuses: Record<string, number> = {};
  const add = (status: string | number) => {
    statuses[status] = (statuses[status] ?? 0) + 1;
  };
  let saysWhen = true;
  let slowestMs = 0;
  const one = async (i: number) => {
    const startMs = performance.now();
    const [path, body] =
      i % 50 === 7
        ? ['/passages', { passages: [{ id: `new${i % 200}`, text: phraseText([i, i * 3]) }] }]
        : i % 10 === 3
          ? ['/embed', { texts: [phraseText([i]), phraseText([i + 1])] }]
          : ['/search', { query: phraseText([i, i * 7]), topK: 5, mode: ['dense', 'bm25', 'hybrid'][i % 3] }];
    const sending = post(url, path as string, agent);
    sending.end(JSON.stringify(body));
    const leaves = (i * 7919) % 1000 < leaving * 1000;
    if (leaves) setTimeout(() => sending.destroy(), i % 40);
    try {
      const [response] = await once(sending, 'response');
      for await (const _ of response) {
      }
      add(response.statusCode);
      if (response.statusCode === 503) saysWhen &&= Number(response.headers['retry-after']) > 0;
      slowestMs = Math.max(slowestMs, performance.now() - startMs);
    } catch {
      add(leaves ? 'left' : 'lost');
    }
  };
  await Promise.all(Array.from({ length: count }, (_, i) => one(i)));
  agent.destroy();
  return { statuses, saysWhen, slowestMs };
}

function post(url: string, path: string, agent?: Agent): ClientRequest {
  const { hostname, port } = new URL(url);
  const headers = { 'content-type': 'application/json' };
  return request({ hostname, port, path, method: 'POST', headers, ...(agent && { agent }) });
}

/** Sends bytes in parts as they are, and returns what comes back until the server ends the connection. */
export async function raw(url: string, parts: readonly string[], pauseMs = 0): Promise<string> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  // The server may end the connection while parts are still being sent.
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  for (const part of parts) {
    if (socket.destroyed) break;
    socket.write(part);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  await closed;
  return text;
}

async function drill(count: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'http-drill-'));
  await makeStore(folder);
  const server = await startServer(folder);
  const options = { connections: 1000, leaving: 0.2 };
  await burst(server.url, { count: Math.ceil(count / 5), ...options });
  const before = await server.memory();
  for (let round = 1; round <= 3; round++) {
    const startMs = performance.now();
    const result = await burst(server.url, { count, ...options });
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    const megabytes = ((await server.memory()) - before) / 2 ** 20;
    console.log(`round ${round}: ${seconds} s, memory ${megabytes.toFixed(0)} MiB more`, result);
  }
  console.log(`exit code ${await server.close()}`);
  rmSync(folder, { recursive: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await drill(Number(process.argv[2] ?? 10_000));
}
