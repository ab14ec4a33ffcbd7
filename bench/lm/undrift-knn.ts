/**
 * Measures exact search of nearest keys beside the bare matrix product of the same blocks, in turn in one process:
 *
 *     undrift-knn.ts ROWS DIMENSION QUERIES K memory|stored THREADS ROUNDS
 *
 * `memory` searches f32 keys in memory, `stored` a token datastore on the disk, whose keys are f16. The bare product reads the keys as f32
 * from memory in both cases.
 */
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Graph } from '../../src/graph/graph.ts';
import { matmul, slice } from '../../src/graph/ops.ts';
import { type DatastoreManifest, datastoreFiles, datastoreJson } from '../../src/rlm/datastore-files.ts';
import { TokenDatastore } from '../../src/rlm/token-datastore.ts';
import { hostTensor } from '../../src/runtime/host-tensor.ts';
import { Program } from '../../src/runtime/program.ts';
import { BLOCK_ROWS, BlockSearch } from '../../src/search/block-search.ts';
import { f32ToF16 } from '../../src/util/half.ts';
import { normal, rngKey } from '../../src/util/rng.ts';
import { report } from '../fresh-process.ts';

/** Queries of one bare product. */
const QUERY_ROWS = 64;
const [rows, D, queries, k] = process.argv.slice(2, 6).map(Number) as [number, number, number, number];
const place = process.argv[6] as 'memory' | 'stored';
const [threads, rounds] = process.argv.slice(7).map(Number) as [number, number];
const random = (name: string, count: number): Float32Array<ArrayBuffer> => {
  const data = new Float32Array(count);
  normal(rngKey(1, 0, name), data);
  return data;
};
const keys = random('keys', rows * D);
const asked = random('queries', queries * D);
const squares = new Float32Array(rows);
for (let row = 0; row < rows; row++) {
  for (let i = row * D; i < (row + 1) * D; i++) squares[row]! += keys[i]! ** 2;
}

const graph = new Graph('bare');
const products = matmul(
  graph.input('queries', 'f32', ['queries', D]),
  graph.input('block', 'f32', ['rows', D]),
  { transB: true },
);
// The products stay in the runtime; only one number for each query leaves it.
graph.output('first', slice(products, { axis: 1, start: 0, length: 1 }));
const program = await Program.compile(graph, { threads });
const rowsOf = (values: Float32Array<ArrayBuffer>, start: number, count: number) =>
  values.subarray(start * D, (start + count) * D);
const matrix = (values: Float32Array<ArrayBuffer>) => hostTensor('f32', [values.length / D, D], values);
const bare = async () => {
  for (let start = 0; start < rows; start += BLOCK_ROWS) {
    const block = matrix(rowsOf(keys, start, BLOCK_ROWS));
    for (let q = 0; q < queries; q += QUERY_ROWS)
      await program.run({ queries: matrix(rowsOf(asked, q, QUERY_ROWS)), block });
  }
};

/** Writes the keys as a datastore. */
async function writeDatastore(folder: string): Promise<void> {
  const files = datastoreFiles(folder);
  const file = await open(files.keys, 'w');
  for (let start = 0; start < rows; start += BLOCK_ROWS)
    await file.write(f32ToF16(rowsOf(keys, start, BLOCK_ROWS)));
  await file.close();
  await writeFile(files.squares, squares);
  await writeFile(files.values, new Int32Array(rows));
  await writeFile(files.documents, `${JSON.stringify({ id: 'text', start: 0 })}\n`);
  const manifest: DatastoreManifest = {
    ...{ model: 'none', tokenizer: 'none', vocabSize: 1, keys: 'feed-forward-input', dimension: D },
    ...{ window: 2, stride: 1, limitTokens: null, data: 'random keys' },
    ...{ tokens: rows, documents: 1, fingerprint: 'none' },
  };
  await writeFile(files.manifest, datastoreJson(manifest));
}

const folder = await mkdtemp(join(tmpdir(), 'undrift-knn-'));
let search: () => Promise<unknown>;
if (place === 'stored') {
  await writeDatastore(folder);
  const store = await TokenDatastore.open(folder, { threads });
  search = () => store.search(asked, k);
} else {
  const bias = squares.map((square) => -square / 2);
  const blocks = new BlockSearch(D, { threads });
  search = () => blocks.search(keys, asked, k, { bias });
}
const works = { bareMs: bare, searchMs: search };
const times = { bareMs: [] as number[], searchMs: [] as number[] };
for (let round = -1; round < rounds; round++) {
  const order = Object.entries(works);
  for (const [name, work] of round % 2 === 0 ? order : order.reverse()) {
    const startMs = performance.now();
    await work();
    if (round >= 0) times[name as keyof typeof times].push(performance.now() - startMs);
  }
}
await rm(folder, { recursive: true });
report({ rows, dimension: D, queries, k, place, ...times });
