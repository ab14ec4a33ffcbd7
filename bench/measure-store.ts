import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Graph } from '../src/graph/graph.ts';
import { matmul, topK } from '../src/graph/ops.ts';
import type { Retriever } from '../src/models/retriever/retriever.ts';
import { hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { BLOCK_ROWS } from '../src/search/block-search.ts';
import {
  embeddingColumns,
  embeddingSchema,
  passageColumns,
  passageSchema,
  stampNow,
} from '../src/store/columns.ts';
import { indexPassages } from '../src/store/index-passages.ts';
import { loadLance } from '../src/store/lance.ts';
import { PassageRows } from '../src/store/passage-input.ts';
import { Store, spaceOf } from '../src/store/store.ts';
import { StoreSearcher } from '../src/store/store-searcher.ts';
import { openStoredIndex } from '../src/store/stored-index.ts';
import { openVectors } from '../src/store/vector-source.ts';
import { makePassages, makeText } from './serve-data.ts';
import { median, medians, type WithQuartiles } from './statistics.ts';

const K = 10;
/** Time of measuring exact search, in milliseconds, and the rounds that it takes at most and at least. */
const EXACT_MS = 12_000;
const MOST_ROUNDS = 90;
const LEAST_ROUNDS = 6;

/** Times of exact search for a number of queries at once, in milliseconds: medians of rounds in turn. */
export interface ExactTimes extends WithQuartiles {
  readonly queries: number;
  /** Embedding the queries. */
  readonly encodeMs: number;
  /** Matrix products and top-k of all blocks by the runtime, and nothing else. */
  readonly bareMs: number;
  /** Search in the index of the store. */
  readonly indexMs: number;
  /** Whole search: queries embedded, passages ranked and read. */
  readonly searchMs: number;
}

/** Measures exact search over a store beside the bare products of the same blocks. */
export async function measureExact(folder: string, queries: number): Promise<ExactTimes> {
  const store = await Store.open(folder);
  const searcher = new StoreSearcher(store);
  const space = store.head.current!;
  const source = await openVectors(store, await store.snapshot(), space);
  const index = await openStoredIndex(source);
  const { dimension: D, size } = index;
  const vectors = new Float32Array(size * D);
  let at = 0;
  for await (const part of source.stream()) {
    vectors.set(part.vectors, at);
    at += part.vectors.length;
  }
  const graph = new Graph('bare');
  const products = matmul(
    graph.input('queries', 'f32', ['queries', D]),
    graph.input('block', 'f32', ['rows', D]),
    { transB: true },
  );
  const best = topK(products, { k: K });
  graph.output('scores', best.values);
  graph.output('positions', best.indices);
  const program = await Program.compile(graph);
  const bare = async (embedded: Float32Array) => {
    const wanted = hostTensor('f32', [queries, D], embedded as Float32Array<ArrayBuffer>);
    for (let start = 0; start < size; start += BLOCK_ROWS) {
      const rows = Math.min(BLOCK_ROWS, size - start);
      const block = hostTensor('f32', [rows, D], vectors.subarray(start * D, (start + rows) * D));
      await program.run({ queries: wanted, block });
    }
  };
  const times = {
    encodeMs: [] as number[],
    bareMs: [] as number[],
    indexMs: [] as number[],
    searchMs: [] as number[],
  };
  let seed = 2_000_000;
  const timed = async <T>(into: number[] | undefined, work: () => Promise<T>): Promise<T> => {
    // The runtime's threads look for further work for a while after a run, and would take the processor from those of the next.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const startMs = performance.now();
    const result = await work();
    into?.push(performance.now() - startMs);
    return result;
  };
  const endMs = performance.now() + EXACT_MS;
  for (let round = -1; round < MOST_ROUNDS && (round < LEAST_ROUNDS || performance.now() < endMs); round++) {
    const into = round < 0 ? undefined : times;
    const texts = () => Array.from({ length: queries }, () => makeText(seed++, 8));
    const embedded = await timed(into?.encodeMs, () => searcher.embed(texts()));
    const parts: (() => Promise<unknown>)[] = [
      () => timed(into?.bareMs, () => bare(embedded)),
      () => timed(into?.indexMs, () => index.search(embedded, K)),
      () => timed(into?.searchMs, () => searcher.searchAll(texts(), { mode: 'dense', topK: K })),
    ];
    // Each part is the first, the second and the third equally often.
    for (let i = 0; i < 3; i++) await parts[(round + 1 + i) % 3]!();
  }
  await program.dispose();
  await index.dispose();
  await source.dispose();
  await searcher.dispose();
  await store.close();
  return {
    queries,
    ...medians(times),
  };
}

/** Times of an upsert of ten passages, in milliseconds: medians. */
export interface UpsertTimes {
  /** Embedding and storing durably. */
  readonly storeMs: number;
  /** Reading the commit into a searcher that has all vectors in memory. */
  readonly followMs: number;
  /** Loading all vectors, as a searcher without memory does. */
  readonly loadMs: number;
}

/** Measures upserts of ten passages, five new and five changed, into a store that is searched. */
export async function measureUpsert(
  folder: string,
  retriever: Retriever,
  { rounds, size }: { rounds: number; size: number },
): Promise<UpsertTimes> {
  const [writer, reader] = [await Store.open(folder), await Store.open(folder)];
  const searcher = new StoreSearcher(reader);
  let startMs = performance.now();
  await searcher.warm();
  const loadMs = performance.now() - startMs;
  const [stored, followed]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const passages = Array.from({ length: 10 }, (_, i) => ({
      id: i < 5 ? `p${(round * 7919 + i * 104_729) % size}` : `new-${round}-${i}`,
      text: makeText(4_000_000 + round * 10 + i, 50),
    }));
    startMs = performance.now();
    await indexPassages(writer, retriever, passages);
    stored.push(performance.now() - startMs);
    startMs = performance.now();
    await searcher.reload();
    followed.push(performance.now() - startMs);
  }
  await searcher.dispose();
  await Promise.all([writer.close(), reader.close()]);
  return { storeMs: median(stored), followMs: median(followed), loadMs };
}

/** Rates of storing rows that are in memory, in rows per second: medians. */
export interface IngestRates {
  readonly rows: number;
  /** `add` of LanceDB: passages with their index terms, and vectors. */
  readonly lance: number;
  /** Commits of the store with the same rows, synced to the disk. */
  readonly store: number;
}

/** Measures storing rows by commits of the store and by LanceDB's own calls, in turn. */
export async function measureIngest(
  retriever: Retriever,
  count: number,
  rounds: number,
): Promise<IngestRates> {
  const lance = await loadLance();
  const terms = { language: 'any', stem: false, stopWords: false };
  const rows = new PassageRows(terms);
  const passages = [...makePassages(count)].map((passage, pid) => rows.row(passage, pid));
  const D = retriever.dimension;
  const vectors = new Float32Array(count * D).map((_, i) => Math.sin(i));
  const part = 16_384;
  const parts = Array.from({ length: Math.ceil(count / part) }, (_, i) => {
    const some = passages.slice(i * part, (i + 1) * part);
    const pids = Int32Array.from(some, ({ pid }) => pid);
    const own = vectors.subarray(i * part * D, (i * part + some.length) * D);
    return { passages: some, vectors: stampNow(pids, own, 0) };
  });
  const byLance = async (folder: string) => {
    const connection = await lance.lancedb.connect(folder);
    const first = await connection.createEmptyTable('passages', passageSchema(lance));
    const second = await connection.createEmptyTable('vectors', embeddingSchema(lance, D));
    for (const { passages, vectors } of parts) {
      await first.add(passageColumns(lance, passages));
      await second.add(embeddingColumns(lance, vectors, new Int32Array(passages.length)));
    }
    connection.close();
  };
  const byStore = async (folder: string) => {
    const store = await Store.open(join(folder, 'store'), { create: terms });
    const space = spaceOf(retriever, 'bench');
    await store.commit(async (draft) => void (await draft.addSpace(space)));
    for (const { passages, vectors } of parts) {
      await store.commit(async (draft) => {
        await draft.passages.add(passages);
        await draft.embeddings(space.id).add(vectors);
      });
    }
    await store.close();
  };
  const seconds: { lance: number[]; store: number[] } = { lance: [], store: [] };
  for (let round = -1; round < rounds; round++) {
    for (const [name, work] of [
      ['lance', byLance],
      ['store', byStore],
    ] as const) {
      const folder = mkdtempSync(join(tmpdir(), 'bench-ingest-'));
      const startMs = performance.now();
      await work(folder);
      if (round >= 0) seconds[name].push((performance.now() - startMs) / 1000);
      rmSync(folder, { recursive: true });
    }
  }
  return { rows: count, lance: count / median(seconds.lance), store: count / median(seconds.store) };
}
