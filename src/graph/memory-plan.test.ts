import { expect, it } from 'vitest';
import { Graph } from './graph.ts';
import { MemoryPlan } from './memory-plan.ts';
import {
  add,
  causalAttention,
  exp,
  matmul,
  memoryLogSums,
  mul,
  reshape,
  sum,
  tokenLogLikelihood,
  transpose,
} from './ops.ts';

const peak = (graph: Graph, sizes: Record<string, number>) =>
  new MemoryPlan(graph).peakBytes(new Map(Object.entries(sizes)));

it('counts the values that live at one time, and the outputs', () => {
  const graph = new Graph('chain');
  const x = graph.input('x', 'f32', ['n', 8]);
  const a = transpose(x, [1, 0]); // 32 n bytes
  const b = matmul(x, a); // 4 n² bytes, while a lives
  graph.output('y', sum(b)); // 4 bytes
  expect(peak(graph, { n: 10 })).toBe(4 + 320 + 400);
  expect(peak(graph, { n: 100 })).toBe(4 + 3200 + 40_000);
});

it('writes elementwise results over an input that nothing else reads, and counts no views', () => {
  const chain = new Graph('in place');
  const x = chain.input('x', 'f32', ['n']);
  chain.output('y', sum(exp(reshape(exp(exp(x)), ['n', 1]))));
  expect(peak(chain, { n: 100 })).toBe(4 + 400);
  // The first factor is read again at the end, so that three values live.
  const kept = new Graph('kept');
  const z = exp(kept.input('x', 'f32', ['n']));
  kept.output('y', sum(add(mul(exp(z), exp(transpose(reshape(z, ['n', 1]), [1, 0]))), z)));
  expect(peak(kept, { n: 1 })).toBeGreaterThanOrEqual(4 + 3 * 4);
});

it('leaves out what no output needs', () => {
  const graph = new Graph('unused');
  const x = graph.input('x', 'f32', ['n']);
  transpose(reshape(exp(x), ['n', 1]), [1, 0]);
  graph.output('y', sum(x));
  expect(peak(graph, { n: 1000 })).toBe(4);
});

it('counts scores of language models by pieces, and their gradients only if something reads them', () => {
  const graph = new Graph('tokens');
  const hidden = graph.input('hidden', 'f32', ['n', 8]);
  const matrix = graph.input('matrix', 'f32', [100, 8]);
  const [ids, weights] = [graph.input('ids', 'i64', ['n']), graph.input('weights', 'f32', ['n'])];
  const { total } = tokenLogLikelihood(hidden, matrix, ids, weights, { scoresPerPiece: 1000 });
  graph.output('total', total);
  // Two arrays of 10 · 100 scores. The log-probabilities, which nothing reads, take no memory of the plan.
  expect(peak(graph, { n: 10 })).toBe(4 + 8000);
  expect(peak(graph, { n: 1_000_000 })).toBe(4 + 8000);
  // The gradient of the matrix, before and after a piece.
  graph.output('d', total.node!.outputs[3]!);
  expect(peak(graph, { n: 1_000_000 })).toBe(4 + 8000 + 2 * 3200);
});

it('counts scores of a memory by pieces', () => {
  const graph = new Graph('memory');
  const [queries, keys] = [graph.input('queries', 'f32', ['n', 8]), graph.input('keys', 'f32', ['m', 8])];
  const marks = {
    queries: graph.input('queryMarks', 'i64', ['n', 3]),
    keys: graph.input('keyMarks', 'i64', ['m', 3]),
  };
  graph.output('all', memoryLogSums(queries, keys, marks, { scoresPerPiece: 1000 }).all);
  // Weights [n, 2] and four arrays of scores.
  expect(peak(graph, { n: 10, m: 20 })).toBe(4 * 10 + 4 * 2 * 10 + 4 * 4 * 200);
  expect(peak(graph, { n: 1000, m: 200 })).toBe(4 * 1000 + 4 * 2 * 1000 + 4 * 4 * 1000);
});

it('counts the scores of all heads in causal attention', () => {
  const graph = new Graph('attention');
  const [query, key] = [
    graph.input('query', 'f32', ['B', 'T', 32]),
    graph.input('key', 'f32', ['B', 'T', 16]),
  ];
  graph.output('y', causalAttention(query, key, key, { heads: 2, keyHeads: 1 }));
  // Result, scores, keys and values.
  expect(peak(graph, { B: 3, T: 5 })).toBe(4 * (3 * 5 * 32 + 3 * 2 * 5 * 5 + 2 * 3 * 5 * 16));
});
