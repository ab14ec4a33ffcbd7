import { expect, it } from 'vitest';
import { Graph } from './graph.ts';
import { MemoryPlan } from './memory-plan.ts';
import { add, exp, matmul, mul, reshape, sum, transpose } from './ops.ts';

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
