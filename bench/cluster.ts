/**
 * Measures a cluster on this machine beside a lone encoder:
 *
 *     npm run bench:cluster -- [--rows 20000] [--workers 1,3] [--rounds 3] [--retriever FOLDER] [--json] [--out FILE]
 *
 * Passages are random words; the model is a transformer of random weights, or that of a folder. As many lone encoders as workers embed equal
 * parts of the passages side by side, with one thread each. Then a store's passages are embedded by the workers with one thread each, over one
 * server that writes to the disk before it acknowledges. Workers share the cores of the machine, so the measure is CPU time: that of the
 * workers for each row, beside that of as many encoders, which load the model, too. The vectors must have the same bytes. Encoders and
 * clusters take turns.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { saveRetriever } from '../src/models/folder/model-folder.ts';
import { type NatsServers, noNats, startNats } from '../test/nats-server.ts';
import type { ClusterMeasure } from './measure-cluster.ts';
import { machineTitle, RESULT_OPTIONS, startMachine, writeResult } from './result-file.ts';
import { makeEncoder, makePassages } from './serve-data.ts';
import { medians, table, type WithQuartiles } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '20000' },
    workers: { type: 'string', default: '1,3' },
    rounds: { type: 'string', default: '3' },
    retriever: { type: 'string' },
    ...RESULT_OPTIONS,
  },
});
if (noNats !== undefined) throw new Error(noNats);
const rows = Number(options.rows);
const counts = options.workers.split(',').map(Number);
const rounds = Number(options.rounds);
const startMs = performance.now();
const report = (text: string) =>
  process.stderr.write(`${((performance.now() - startMs) / 1000).toFixed(0).padStart(4)} s  ${text}\n`);

/** Times, messages and bytes of a number of workers: medians of the rounds. */
export interface ClusterTimes extends WithQuartiles {
  readonly workers: number;
  /** Time from the first task to the last stored row, in seconds. */
  readonly seconds: number;
  /** CPU time of as many lone encoders side by side, for a row, in milliseconds. */
  readonly loneMs: number;
  /** CPU time of all workers for a row, in milliseconds. */
  readonly workerMs: number;
  /** CPU time of the process that owns the store, for a row, in milliseconds. */
  readonly ownerMs: number;
  /** CPU time of the lone encoders over that of the workers, for a row: 1 where the cluster costs workers nothing. */
  readonly efficiency: number;
  /** Messages into and out of the server, for a row. */
  readonly messages: number;
  /** Bytes into and out of the server, for a row. */
  readonly bytes: number;
}

/** Result of `bench:cluster`. */
export interface ClusterBench {
  readonly rows: number;
  readonly model: string;
  readonly dimension: number;
  readonly rounds: number;
  readonly clusters: readonly ClusterTimes[];
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const MAIN = here('../dist/cli/main.js');

/** Runs a process to its end, and reads the last line that it prints. */
async function answerOf<T>(words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<T> {
  const child = spawn(process.execPath, words, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${words.join(' ')}: exit code ${code}\n${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as T;
}

const measure = (role: string, ...words: readonly string[]) =>
  answerOf<ClusterMeasure>(['--import', 'tsx', here('measure-cluster.ts'), role, ...words]);

interface Traffic {
  readonly in_msgs: number;
  readonly out_msgs: number;
  readonly in_bytes: number;
  readonly out_bytes: number;
}

async function traffic({
  servers,
}: NatsServers): Promise<{ readonly messages: number; readonly bytes: number }> {
  const found = (await (await fetch(`http://127.0.0.1:${servers[0]!.monitor}/varz`)).json()) as Traffic;
  return { messages: found.in_msgs + found.out_msgs, bytes: found.in_bytes + found.out_bytes };
}

/** Has a store embedded by some workers. */
async function overCluster(
  servers: NatsServers,
  name: string,
  workers: number,
  model: string,
  corpus: string,
) {
  const address = `${servers.address}/${name}`;
  const cache = mkdtempSync(join(folder, 'cache-'));
  const before = await traffic(servers);
  const words = [
    'cluster',
    'worker',
    '--nats',
    address,
    '--threads',
    '1',
    '--idle',
    '20',
    '--quiet',
    '--json',
  ];
  const shard = measure('shard', model, corpus, address);
  const running = Array.from({ length: workers }, async (_, i) => {
    // The streams are made by one process: the others would only wait.
    await sleep(2000);
    return await answerOf<{ rows: number; cpuSeconds: number }>([MAIN, ...words], {
      UNDRIFT_CACHE: join(cache, String(i)),
    });
  });
  const [owner, ...made] = await Promise.all([shard, ...running]);
  const after = await traffic(servers);
  const embedded = made.reduce((sum, each) => sum + each.rows, 0);
  if (embedded !== rows) report(`note: workers embedded ${embedded} rows of ${rows}`);
  return {
    owner,
    workerMs: (1000 * made.reduce((sum, each) => sum + each.cpuSeconds, 0)) / rows,
    messages: (after.messages - before.messages) / rows,
    bytes: (after.bytes - before.bytes) / rows,
  };
}

async function writeCorpus(path: string): Promise<void> {
  const out = createWriteStream(path);
  for (const { id, text } of makePassages(rows)) out.write(`${JSON.stringify({ _id: id, text })}\n`);
  out.end();
  await once(out, 'close');
}

const folder = mkdtempSync(join(tmpdir(), 'bench-cluster-'));
const machine = startMachine(1);
if (!options.json) console.log(machineTitle(1));
const corpus = join(folder, 'corpus.jsonl');
await writeCorpus(corpus);
const model = options.retriever ?? join(folder, 'model');
let dimension = 0;
if (options.retriever === undefined) {
  const made = makeEncoder('transformer');
  dimension = made.dimension;
  await saveRetriever(model, made, { onnx: false });
  await made.dispose();
}
/** Embeds all passages by some encoders side by side. */
async function sideBySide(encoders: number) {
  const made = await Promise.all(
    Array.from({ length: encoders }, (_, part) => measure('lone', model, corpus, `${part}/${encoders}`)),
  );
  const cpuSeconds = made.reduce((sum, each) => sum + each.cpuSeconds, 0);
  return { loneMs: (1000 * cpuSeconds) / rows, digest: encoders === 1 ? made[0]!.digest : undefined };
}

const servers = await startNats({ room: 8 * 2 ** 30 });
let digest: string | undefined;
const found = counts.map((workers) => ({
  workers,
  lists: {
    seconds: [] as number[],
    loneMs: [] as number[],
    workerMs: [] as number[],
    ownerMs: [] as number[],
    efficiency: [] as number[],
  },
  messages: 0,
  bytes: 0,
}));
try {
  for (let round = 0; round < rounds; round++) {
    for (const each of found) {
      const encoders = await sideBySide(each.workers);
      const { loneMs } = encoders;
      const { owner, workerMs, messages, bytes } = await overCluster(
        servers,
        `r${round}w${each.workers}`,
        each.workers,
        model,
        corpus,
      );
      digest ??= encoders.digest ?? (await sideBySide(1)).digest;
      if (owner.digest !== digest)
        throw new Error(`${each.workers} workers: the vectors have other bytes than those of one machine`);
      each.lists.seconds.push(owner.seconds);
      each.lists.loneMs.push(loneMs);
      each.lists.workerMs.push(workerMs);
      each.lists.ownerMs.push((1000 * owner.cpuSeconds) / rows);
      each.lists.efficiency.push(loneMs / workerMs);
      Object.assign(each, { messages, bytes });
      report(
        `round ${round + 1}: ${each.workers} lone ${loneMs.toFixed(2)} ms of CPU for a row, ${each.workers} workers ` +
          `${workerMs.toFixed(2)}: ${(loneMs / workerMs).toFixed(2)}`,
      );
    }
  }
} finally {
  await servers.stop();
  rmSync(folder, { recursive: true, force: true });
}
const clusters: ClusterTimes[] = found.map(({ workers, lists, messages, bytes }) => ({
  workers,
  ...medians(lists),
  messages,
  bytes,
}));
const result: ClusterBench = {
  rows,
  model: options.retriever ? 'minilm' : 'transformer of 2 layers',
  dimension,
  rounds,
  clusters,
};
writeResult({ ...machine(), ...result }, options);
if (!options.json)
  console.log(
    table([
      [
        'workers',
        'seconds',
        'CPU ms a row',
        'as many lone encoders',
        'share of their speed',
        'owner, ms a row',
        'messages a row',
        'bytes a row',
      ],
      ...clusters.map((each) => [
        ...[
          String(each.workers),
          each.seconds.toFixed(1),
          each.workerMs.toFixed(2),
          each.loneMs.toFixed(2),
          each.efficiency.toFixed(2),
        ],
        ...[each.ownerMs.toFixed(2), each.messages.toFixed(2), each.bytes.toFixed(0)],
      ]),
    ]),
  );
