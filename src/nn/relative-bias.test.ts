import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Graph } from '../graph/graph.ts';
import { float32, hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { type DistanceBuckets, distanceBucket, relativeBias, relativeBiasBetween } from './relative-bias.ts';

// Made by tools/reference/encoder_decoder_golden.py from the code of transformers.
const cases: (DistanceBuckets & { first: number; found: number[] })[] = JSON.parse(
  readFileSync(new URL('fixtures/distance-buckets.json', import.meta.url), 'utf8'),
);

test.each(cases)('buckets of distances: $buckets up to $maxDistance, $bidirectional', (each) => {
  const found = each.found.map((_, i) => distanceBucket(each.first + i, each));
  expect(found).toEqual(each.found);
});

test('biases of all pairs of a text, and of pairs of positions', async () => {
  const buckets = { buckets: 8, maxDistance: 5, bidirectional: true };
  const graph = new Graph('bias');
  const table = graph.input('table', 'f32', [8, 2]);
  graph.output('all', relativeBias(table, 9, buckets));
  const queries = graph.input('queries', 'i64', [2, 1]);
  const keys = graph.input('keys', 'i64', [2, 3]);
  graph.output('some', relativeBiasBetween(table, { queries, keys }, buckets));
  const program = await Program.compile(graph, { threads: 1 });
  const values = Float32Array.from({ length: 16 }, (_, i) => i);
  const { all, some } = await program.run({
    table: hostTensor('f32', [8, 2], values),
    queries: hostTensor('i64', [2, 1], BigInt64Array.of(3n, 100n)),
    keys: hostTensor('i64', [2, 3], BigInt64Array.of(0n, 3n, 90n, 99n, 101n, 0n)),
  });
  await program.dispose();
  const bias = (distance: number, head: number) => 2 * distanceBucket(distance, buckets) + head;
  const expected = [0, 1].flatMap((head) =>
    Array.from({ length: 81 }, (_, i) => bias((i % 9) - Math.floor(i / 9), head)),
  );
  expect([...float32(all)]).toEqual(expected);
  const pairs = [
    [-3, 0, 87],
    [-1, 1, -100],
  ].flatMap((distances) => [0, 1].flatMap((head) => distances.map((distance) => bias(distance, head))));
  expect([...float32(some)]).toEqual(pairs);
});
