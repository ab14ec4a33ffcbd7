import { describe, expect, it } from 'vitest';
import { Graph } from '../graph/graph.ts';
import { matmul, reshape } from '../graph/ops.ts';
import { hostTensor } from './host-tensor.ts';
import { Program } from './program.ts';
import { WorkerProgram } from './worker-program.ts';

function productGraph(): Graph {
  const graph = new Graph('product');
  const x = graph.input('x', 'f32', ['n', 'n']);
  graph.output('y', reshape(matmul(x, x), ['n*n']));
  return graph;
}
const square = (n: number) =>
  hostTensor(
    'f32',
    [n, n],
    Float32Array.from({ length: n * n }, (_, i) => Math.sin(i)),
  );

describe('a program in a thread of its own', () => {
  it('gives what it gives here, for any size, while this thread goes on', async () => {
    const graph = productGraph();
    const [here, there] = [
      await Program.compile(graph, { threads: 1 }),
      await WorkerProgram.compile(graph, { threads: 1 }),
    ];
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const runs = await Promise.all([there.run({ x: square(500) }), there.run({ x: square(3) })]);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
    expect(runs[0].y).toEqual((await here.run({ x: square(500) })).y);
    expect(runs[1].y).toEqual((await here.run({ x: square(3) })).y);
    await here.dispose();
    await there.dispose();
  });

  it('takes views without their buffers, and leaves the feeds usable', async () => {
    const program = await WorkerProgram.compile(productGraph(), { threads: 1 });
    const buffer = Float32Array.of(9, 9, 1, 2, 3, 4);
    const x = hostTensor('f32', [2, 2], buffer.subarray(2));
    expect([...(await program.run({ x })).y!.data]).toEqual([7, 10, 15, 22]);
    expect([...buffer]).toEqual([9, 9, 1, 2, 3, 4]);
    await program.dispose();
  });

  it('passes errors on, and goes on after them', async () => {
    const program = await WorkerProgram.compile(productGraph(), { threads: 1 });
    await expect(program.run({ x: hostTensor('f32', [1, 2], new Float32Array(2)) })).rejects.toThrow(/n = 1/);
    await expect(program.run({})).rejects.toThrow(/needs an input "x"/);
    expect([...(await program.run({ x: square(1) })).y!.data]).toEqual([0]);
    await program.dispose();
  });

  it('makes the runs that were asked for before it ends, and none after', async () => {
    const program = await WorkerProgram.compile(productGraph(), { threads: 1 });
    const waiting = program.run({ x: square(800) });
    const ended = program.dispose();
    await expect(program.run({ x: square(1) })).rejects.toThrow(/is ending/);
    expect((await waiting).y!.dims).toEqual([640_000]);
    await ended;
    await program.dispose();
    await expect(program.run({ x: square(1) })).rejects.toThrow(/has ended/);
  });

  it('says why a graph is rejected', async () => {
    await expect(WorkerProgram.compile(productGraph(), { device: 'cuda' })).rejects.toThrow(
      /could not be loaded on cuda/,
    );
  });
});
