import { expect, it } from 'vitest';
import { Graph } from '../graph/graph.ts';
import { MemoryPlan } from '../graph/memory-plan.ts';
import { exp, matmul, mul, sin, square, sum } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { backward } from './backward.ts';

const N = 64;
const LAYERS = 4;

/** Loss of layers h ← sin(exp(sin(h W))) · ½ with its gradient, and its plan of memory. */
function network(mark: (graph: Graph, i: number, build: () => Tensor) => Tensor, checkpointing: boolean) {
  const graph = new Graph('network');
  const x = graph.input('x', 'f32', ['n', 8]);
  const weights = Array.from({ length: LAYERS }, (_, i) => graph.input(`w${i}`, 'f32', [8, 8]));
  let h = x;
  for (const [i, w] of weights.entries()) h = mark(graph, i, () => mul(sin(exp(sin(matmul(h, w)))), 0.5));
  const loss = sum(square(h));
  graph.output('loss', loss);
  const gradients = backward(loss, [x, ...weights], { checkpointing });
  for (const [i, gradient] of gradients.entries()) graph.output(`gradient${i}`, gradient);
  return { graph, bytes: new MemoryPlan(graph).peakBytes(new Map([['n', N]])) };
}

const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(seed + 1.7 * i));
const FEEDS = {
  x: hostTensor('f32', [N, 8], numbers(N * 8, 1)),
  ...Object.fromEntries(
    Array.from({ length: LAYERS }, (_, i) => [`w${i}`, hostTensor('f32', [8, 8], numbers(64, i))]),
  ),
};

async function results(graph: Graph) {
  const program = await Program.compile(graph, { threads: 1 });
  try {
    return Object.fromEntries(
      Object.entries(await program.run(FEEDS)).map(([name, { data }]) => [name, data]),
    );
  } finally {
    await program.dispose();
  }
}

const plain = network((_graph, _i, build) => build(), false);
const one = N * 8 * 4;

it('computes values of a segment again, with gradients of the same bytes', async () => {
  const marked = network((graph, _i, build) => graph.recomputed(build), false);
  expect(await results(marked.graph)).toEqual(await results(plain.graph));
  // Of each layer, one value of four is kept: what enters the next one.
  expect(plain.bytes - marked.bytes).toBeGreaterThan(2 * (LAYERS - 1) * one);
});

it('computes layers again where the caller asks for it, with segments inside them', async () => {
  const layered = (checkpointing: boolean) =>
    network((graph, i, build) => graph.layer(`layer.${i}`, () => graph.recomputed(build)), checkpointing);
  const inside = network((graph, i, build) => graph.layer(`layer.${i}`, build), false);
  expect(inside.bytes).toBe(plain.bytes);
  for (const { graph, bytes } of [layered(true), layered(false)]) {
    expect(await results(graph)).toEqual(await results(plain.graph));
    expect(plain.bytes - bytes).toBeGreaterThan(2 * (LAYERS - 1) * one);
  }
});

it('keeps the names of a layer, and of layers inside a layer', () => {
  const graph = new Graph('names');
  const x = graph.input('x', 'f32', [1]);
  const y = graph.layer('outer', () => graph.layer('inner', () => sin(x)));
  expect(y.name).toMatch(/^outer\/inner\//);
  expect(new Set(graph.layerSegments.values()).size).toBe(1);
  expect(graph.recomputedSegments.size).toBe(0);
});
