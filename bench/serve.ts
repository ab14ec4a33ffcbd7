/**
 * Measures a server under load from another process:
 *
 *     npm run bench:serve -- [--passages 20000,200000] [--connections 1,8,32] [--seconds 10] [--model FOLDER]
 *
 * Passages are random words. The model is a static encoder of random weights (D 384), or that of a folder. For each number of
 * passages it prints queries per second and the 50th, 95th and 99th percentile of the latency, of exact and of approximate search,
 * beside the bare work of a query: embedding it and one product with all vectors, with the best ten.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadRetriever } from '../src/models/folder/model-folder.ts';
import { createRetriever } from '../src/models/retriever/create-retriever.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { ExactIndex } from '../src/search/exact-search.ts';
import { serveStore } from '../src/serve/server.ts';
import { indexPassages } from '../src/store/index-passages.ts';
import { buildApproximateIndex } from '../src/store/maintain.ts';
import { Store } from '../src/store/store.ts';
import { Tokenizer } from '../src/text/tokenizer.ts';
import { trainVocabulary } from '../src/text/train-vocabulary.ts';
import { permutation, rngKey } from '../src/util/rng.ts';

const WORDS = Array.from({ length: 20_000 }, (_, i) => `w${i.toString(36)}`);
/** Draws words by Zipf's law. */
function makeText(seed: number, length: number): string {
  const drawn = permutation(rngKey(1, seed, 'bench/serve'), 4096);
  return Array.from({ length }, (_, i) => WORDS[Math.floor(WORDS.length ** (drawn[i]! / 4096)) - 1]).join(
    ' ',
  );
}

interface Load {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  readonly body: Readonly<Record<string, unknown>>;
}

interface Measured {
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Sends queries over a number of connections, one at a time on each. */
async function load({ url, connections, seconds, body }: Load): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const { hostname, port } = new URL(url);
  const times: number[] = [];
  const endMs = performance.now() + 1000 * seconds;
  let sent = 0;
  const one = async (): Promise<void> => {
    const startMs = performance.now();
    const query = makeText(1_000_000 + sent++, 8);
    const sending = request({
      hostname,
      port,
      path: '/search',
      method: 'POST',
      agent,
      headers: { 'content-type': 'application/json' },
    });
    sending.end(JSON.stringify({ ...body, query }));
    const [response] = await once(sending, 'response');
    for await (const _ of response) {
    }
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    times.push(performance.now() - startMs);
  };
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (performance.now() < endMs) await one();
    }),
  );
  const perSecond = times.length / ((performance.now() - startMs) / 1000);
  agent.destroy();
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]!;
  return { perSecond, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

if (process.send) {
  process.on('message', async (message: Load) => {
    process.send!(await load(message));
  });
} else await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      passages: { type: 'string', default: '20000,200000' },
      connections: { type: 'string', default: '1,8,32' },
      seconds: { type: 'string', default: '10' },
      model: { type: 'string' },
    },
  });
  const numbers = (text: string) => text.split(',').map(Number);
  const retriever = values.model === undefined ? staticModel() : await loadRetriever(values.model);
  const child = fork(fileURLToPath(import.meta.url), [], { execArgv: ['--import', 'tsx'] });
  for (const count of numbers(values.passages)) {
    const folder = mkdtempSync(join(tmpdir(), 'bench-serve-'));
    await build(folder, retriever, count);
    await bare(retriever, folder, count);
    const server = await serveStore(folder, { port: 0, readOnly: true });
    for (const [name, body] of [
      ['exact', { mode: 'dense' }],
      ['approximate', { mode: 'dense', approximate: true }],
      ['bm25', { mode: 'bm25' }],
      ['hybrid', { mode: 'hybrid' }],
    ] as const) {
      for (const connections of numbers(values.connections)) {
        child.send({ url: server.url, connections, seconds: Number(values.seconds), body } satisfies Load);
        const [{ perSecond, p50, p95, p99 }] = (await once(child, 'message')) as [Measured];
        console.log(
          `${count} passages, ${name}, ${connections} connections: ${perSecond.toFixed(0)} queries/s, ` +
            `p50 ${p50.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
        );
      }
    }
    await server.close();
    rmSync(folder, { recursive: true });
  }
  child.disconnect();
  await retriever.dispose();
}

function staticModel(): Retriever {
  const texts = Array.from({ length: 2000 }, (_, i) => makeText(i, 50));
  const tokenizer = Tokenizer.fromJson(trainVocabulary(texts, { model: 'wordpiece', vocabSize: 8000 }));
  return createRetriever({
    kind: 'static',
    tokenizer,
    hidden: 384,
    maxQueryTokens: 32,
    maxDocTokens: 128,
    seed: 1,
  });
}

async function build(folder: string, retriever: Retriever, count: number): Promise<void> {
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  let startMs = performance.now();
  function* passages() {
    for (let i = 0; i < count; i++) yield { id: `p${i}`, text: makeText(i, 40 + (i % 40)) };
  }
  await indexPassages(store, retriever, passages());
  const seconds = (performance.now() - startMs) / 1000;
  console.log(
    `${count} passages: indexed in ${seconds.toFixed(1)} s, ${(count / seconds).toFixed(0)} a second`,
  );
  startMs = performance.now();
  await buildApproximateIndex(store, store.head.current!, 'ivf');
  console.log(
    `${count} passages: approximate index in ${((performance.now() - startMs) / 1000).toFixed(1)} s`,
  );
  await store.close();
}

/** Measures embedding and exact search without store and server. */
async function bare(retriever: Retriever, folder: string, count: number): Promise<void> {
  const store = await Store.open(folder);
  const table = (await store.snapshot()).embeddings(store.head.current!);
  const vectors = new Float32Array(count * retriever.dimension);
  let at = 0;
  for await (const part of table.stream()) {
    vectors.set(part.vectors, at);
    at += part.vectors.length;
  }
  await store.close();
  const index = ExactIndex.create(vectors, retriever.dimension);
  const times: number[] = [];
  for (let i = 0; i < 60; i++) {
    const startMs = performance.now();
    const query = await retriever.encode('query', [makeText(2_000_000 + i, 8)]);
    await index.search(query, 10);
    times.push(performance.now() - startMs);
  }
  await index.dispose();
  times.sort((a, b) => a - b);
  console.log(`${count} passages: bare embedding and product ${times[30]!.toFixed(2)} ms`);
}
