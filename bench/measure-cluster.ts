/**
 * Child process of `bench/cluster.ts`:
 *
 *     measure-cluster.ts lone MODEL CORPUS PART/PARTS   loads the model and embeds a part of the passages, as a lone encoder with one thread
 *     measure-cluster.ts shard MODEL CORPUS ADDRESS     stores all passages, and has the workers of a cluster embed them
 *
 * It prints one line of JSON: its CPU time for this work, and the digest of the vectors in the order of the passages. Passages are read, and
 * texts are made tokens, before the measurement: workers get tokens, too.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectCluster } from '../src/cluster/cluster.ts';
import { runOverCluster } from '../src/cluster/cluster-run.ts';
import { storeShard } from '../src/cluster/store-shard.ts';
import { loadRetriever } from '../src/models/folder/model-folder.ts';
import { indexPassages } from '../src/store/index-passages.ts';
import { Store } from '../src/store/store.ts';

/** What the process prints. */
export interface ClusterMeasure {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** SHA-256 of all vectors. */
  readonly digest: string;
}

const [role, model, corpus, where] = process.argv.slice(2) as [string, string, string, string];
const passages = readFileSync(corpus, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as { _id: string; text: string })
  .map(({ _id, text }) => ({ id: _id, text }));

async function measured(work: () => Promise<unknown>): Promise<Omit<ClusterMeasure, 'digest'>> {
  const startMs = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - startMs) / 1000, cpuSeconds: (user + system) / 1e6 };
}

async function lone(): Promise<ClusterMeasure> {
  const [part, parts] = where.split('/').map(Number) as [number, number];
  const [start, end] = [part, part + 1].map((each) => Math.round((each * passages.length) / parts));
  const texts = passages.slice(start, end).map(({ text }) => text);
  const tokenizing = await loadRetriever(model);
  const tokens = tokenizing.tokenize('document', texts.length, (row) => texts[row]!);
  await tokenizing.dispose();
  let vectors: Float32Array = new Float32Array(0);
  const times = await measured(async () => {
    const retriever = await loadRetriever(model);
    vectors = await retriever.encodeTokens('document', tokens, { threads: 1 });
  });
  return { ...times, digest: createHash('sha256').update(vectors).digest('hex') };
}

async function shard(): Promise<ClusterMeasure> {
  const retriever = await loadRetriever(model);
  const folder = mkdtempSync(join(tmpdir(), 'bench-cluster-'));
  const store = await Store.open(folder, { create: { language: 'any', stem: false, stopWords: false } });
  await indexPassages(store, retriever, passages, { embeds: false });
  const cluster = await connectCluster(where);
  const keeper = storeShard(store, { name: 'bench', model: retriever });
  const times = await measured(() => runOverCluster(keeper, cluster));
  await cluster.close();
  const { head, embeddings } = await store.snapshot();
  const D = retriever.dimension;
  const vectors = new Float32Array(passages.length * D);
  for await (const part of embeddings(head.current!).stream())
    for (const [i, pid] of part.pids.entries())
      vectors.set(part.vectors.subarray(i * D, (i + 1) * D), pid * D);
  await store.close();
  rmSync(folder, { recursive: true });
  return { ...times, digest: createHash('sha256').update(vectors).digest('hex') };
}

console.log(JSON.stringify(await (role === 'lone' ? lone : shard)()));
process.exit();
