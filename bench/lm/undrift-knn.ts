/**
 * Measures exact search of nearest keys beside the bare matrix product of the same blocks, in turn in one process:
 *
 *     undrift-knn.ts ROWS DIMENSION QUERIES K THREADS ROUNDS
 */
import { Graph } from '../../src/graph/graph.ts';
import { matmul, slice } from '../../src/graph/ops.ts';
import { hostTensor } from '../../src/runtime/host-tensor.ts';
import { Program } from '../../src/runtime/program.ts';
import { BLOCK_ROWS, BlockSearch } from '../../src/search/block-search.ts';
import { normal, rngKey } from '../../src/util/rng.ts';
import { report } from '../fresh-process.ts';

const [rows, D, queries, k, threads, rounds] = process.argv.slice(2).map(Number) as [
  ...[number, number, number],
  ...[number, number, number],
];
const random = (name: string, count: number): Float32Array<ArrayBuffer> => {
  const data = new Float32Array(count);
  normal(rngKey(1, 0, name), data);
  return data;
};
const keys = random('keys', rows * D);
const asked = random('queries', queries * D);
const bias = new Float32Array(rows);
for (let row = 0; row < rows; row++) {
  let square = 0;
  for (const x of keys.subarray(row * D, (row + 1) * D)) square += x * x;
  bias[row] = -square / 2;
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
const bare = async () => {
  const wanted = hostTensor('f32', [queries, D], asked);
  for (let start = 0; start < rows; start += BLOCK_ROWS) {
    const count = Math.min(BLOCK_ROWS, rows - start);
    const block = hostTensor('f32', [count, D], keys.subarray(start * D, (start + count) * D));
    await program.run({ queries: wanted, block });
  }
};
const search = new BlockSearch(D, { threads });
const works = { bareMs: bare, searchMs: () => search.search(keys, asked, k, { bias }) };
const times = { bareMs: [] as number[], searchMs: [] as number[] };
for (let round = -1; round < rounds; round++) {
  const order = Object.entries(works);
  for (const [name, work] of round % 2 === 0 ? order : order.reverse()) {
    const startMs = performance.now();
    await work();
    if (round >= 0) times[name as keyof typeof times].push(performance.now() - startMs);
  }
}
report({ rows, dimension: D, queries, k, ...times });
