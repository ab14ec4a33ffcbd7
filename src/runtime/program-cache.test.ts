import { expect, it, vi } from 'vitest';
import { f32, numbers } from '../../test/evaluate.ts';
import { Graph } from '../graph/graph.ts';
import { mul } from '../graph/ops.ts';
import { ProgramCache } from './program-cache.ts';

function times(factor: number): Graph {
  const graph = new Graph(`times-${factor}`);
  graph.output('y', mul(graph.input('x', 'f32', ['n']), factor));
  return graph;
}

it('compiles a graph once for each name and number of threads, also when asked at the same time', async () => {
  const cache = new ProgramCache({ threads: 1 });
  const make = vi.fn(() => times(2));
  const [first, second] = await Promise.all([cache.get('double', make), cache.get('double', make)]);
  expect(second).toBe(first);
  expect(make).toHaveBeenCalledTimes(1);
  const { y } = await first.run({ x: f32([2], [1, 3]) });
  expect(numbers(y)).toEqual([2, 6]);
  expect(await cache.get('triple', () => times(3))).not.toBe(first);
  expect(await cache.get('double', make, { threads: 2 })).not.toBe(first);
  expect(make).toHaveBeenCalledTimes(2);
  await cache.dispose();
  await expect(first.run({ x: f32([2], [1, 3]) })).rejects.toThrow();
  expect(await cache.get('double', make)).not.toBe(first);
  await cache.dispose();
});

it('compiles again after a failure, and frees what did compile', async () => {
  const cache = new ProgramCache({ threads: 1 });
  // A graph without outputs.
  await expect(cache.get('double', () => new Graph('empty'))).rejects.toThrow();
  const program = await cache.get('double', () => times(2));
  expect(numbers((await program.run({ x: f32([1], [4]) })).y)).toEqual([8]);
  const failing = cache.get('bad', () => new Graph('empty'));
  await cache.dispose();
  await expect(failing).rejects.toThrow();
});
