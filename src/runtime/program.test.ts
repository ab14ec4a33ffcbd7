import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collectGarbage } from '../../test/collect-garbage.ts';
import { f32, i64, numbers } from '../../test/evaluate.ts';
import { Graph } from '../graph/graph.ts';
import * as ops from '../graph/ops.ts';
import { RuntimeError, ShapeError } from '../util/errors.ts';
import { bundledDevices, parseDevice } from './devices.ts';
import { hostTensor, scalarValue, zeros } from './host-tensor.ts';
import { Program } from './program.ts';

describe('Program', () => {
  let program: Program;
  beforeAll(async () => {
    const graph = new Graph('scores');
    const queries = graph.input('queries', 'f32', ['batch', 2]);
    const documents = graph.input('documents', 'f32', ['batch', 2]);
    const rows = graph.input('rows', 'i64', ['picked']);
    const scores = ops.matmul(queries, documents, { transB: true });
    graph.output('scores', scores);
    graph.output('picked', ops.gather(scores, rows));
    graph.output('total', ops.sum(scores));
    program = await Program.compile(graph);
  });
  afterAll(() => program.dispose());

  const feeds = () => ({
    queries: f32([2, 2], [1, 0, 0, 1]),
    documents: f32([2, 2], [1, 2, 3, 4]),
    rows: i64([1], [1]),
  });

  it('gives every output with its real size', async () => {
    const results = await program.run(feeds());
    expect(results.scores!.dims).toEqual([2, 2]);
    expect(numbers(results.scores)).toEqual([1, 3, 2, 4]);
    expect(results.picked!.dims).toEqual([1, 2]);
    expect(numbers(results.picked)).toEqual([2, 4]);
    expect(scalarValue(results.total)).toBe(10);
  });

  it('writes outputs into given buffers and returns those', async () => {
    const scores = zeros('f32', [2, 2]);
    const results = await program.run(feeds(), { into: { scores } });
    expect(results.scores).toBe(scores);
    expect(numbers(scores)).toEqual([1, 3, 2, 4]);
    expect(numbers(results.picked)).toEqual([2, 4]);
  });

  it('writes into a part of a larger array', async () => {
    const whole = new Float32Array(6).fill(-1);
    await program.run(feeds(), { into: { scores: hostTensor('f32', [2, 2], whole.subarray(1, 5)) } });
    expect([...whole]).toEqual([-1, 1, 3, 2, 4, -1]);
  });

  it('leaves no copy of what it has written into given buffers', async () => {
    const graph = new Graph('large');
    graph.output('y', ops.neg(graph.input('x', 'f32', ['n'])));
    const own = await Program.compile(graph);
    const [x, y] = [zeros('f32', [4_000_000]), zeros('f32', [4_000_000])];
    (x.data as Float32Array)[3_999_999] = 7;
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    await own.run({ x }, { into: { y } });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    expect(y.data[3_999_999]).toBe(-7);
    await own.dispose();
  });

  it('results of one run are not touched by the next', async () => {
    const first = await program.run(feeds());
    await program.run({ ...feeds(), queries: f32([2, 2], [7, 7, 7, 7]) });
    expect(numbers(first.scores)).toEqual([1, 3, 2, 4]);
  });

  it('several runs may be under way at once', async () => {
    const results = await Promise.all(
      [1, 2, 3].map((n) => program.run({ ...feeds(), queries: f32([2, 2], [n, 0, 0, n]) })),
    );
    expect(results.map((result) => scalarValue(result.total))).toEqual([10, 20, 30]);
  });

  it.each<[string, object, string]>([
    ['a missing input', { rows: undefined }, 'program "scores" needs an input "rows" rows i64[picked]'],
    ['another dtype', { rows: f32([1], [0]) }, 'input rows i64[picked] was fed f32[1]'],
    ['another rank', { queries: f32([4], [1, 2, 3, 4]) }, 'input queries f32[batch, 2] was fed f32[4]'],
    ['another width', { queries: f32([1, 3], [1, 2, 3]) }, 'input queries f32[batch, 2] was fed f32[1, 3]'],
    [
      'one name with two sizes',
      { documents: f32([1, 2], [1, 2]) },
      'input documents f32[batch, 2] was fed f32[1, 2] where batch = 2',
    ],
    [
      'dims that do not fit the data',
      { queries: { dtype: 'f32', dims: [2, 2], data: new Float32Array(3) } },
      'input queries f32[batch, 2] was fed f32[2, 2]',
    ],
  ])('refuses %s, before anything runs', async (_, wrong, message) => {
    const run = program.run({ ...feeds(), ...wrong });
    await expect(run).rejects.toBeInstanceOf(ShapeError);
    await expect(run).rejects.toThrow(message);
  });

  it('outputs whose size no input tells are refused', async () => {
    const graph = new Graph('unknown');
    const x = graph.input('x', 'f32', ['a*b']);
    graph.output('same', ops.exp(x));
    const known = await Program.compile(graph);
    expect((await known.run({ x: f32([6], [0, 0, 0, 0, 0, 0]) })).same!.dims).toEqual([6]);
    graph.output('row', ops.reshape(x, ['a', 'b']));
    await expect(Program.compile(graph)).rejects.toThrow(/dimension "a" by itself/);
    await known.dispose();
  });

  it.each([
    ['shape', zeros('f32', [2, 3])],
    ['size', zeros('f32', [3, 3])],
    ['dtype', zeros('i32', [2, 2])],
  ])('refuses a buffer of another %s', async (_, scores) => {
    await expect(program.run(feeds(), { into: { scores } })).rejects.toThrow(
      /program "scores": output "scores" .* does not fit the buffer/,
    );
  });

  it('a failure inside the runtime names the program and what it was fed', async () => {
    const run = program.run({ ...feeds(), rows: i64([1], [9]) });
    await expect(run).rejects.toBeInstanceOf(RuntimeError);
    await expect(run).rejects.toThrow(
      /program "scores" failed: .*\n {2}fed: queries f32\[2, 2\], documents f32\[2, 2\], rows i64\[1\]/,
    );
    expect(scalarValue((await program.run(feeds())).total)).toBe(10);
  });

  it('gives the same bytes on every run', async () => {
    const graph = new Graph('softmax');
    const x = graph.input('x', 'f32', ['n', 'n']);
    graph.output('y', ops.softmax(ops.matmul(x, x, { transB: true })));
    const own = await Program.compile(graph);
    const feed = {
      x: f32(
        [70, 70],
        Array.from({ length: 4900 }, (_, i) => Math.sin(i)),
      ),
    };
    const first = (await own.run(feed)).y!;
    for (let i = 0; i < 3; i++) expect((await own.run(feed)).y).toEqual(first);
    await own.dispose();
  });

  it('says that a device which is not there could not be used', async () => {
    const missing = (['webgpu', 'cuda'] as const).find((device) => !bundledDevices().includes(device));
    const graph = new Graph('tiny');
    graph.output('y', ops.exp(graph.input('x', 'f32', [1])));
    if (missing) await expect(Program.compile(graph, { device: missing })).rejects.toThrow(RuntimeError);
    expect(() => parseDevice('gpu')).toThrow(/unknown device "gpu"\n.*cpu, webgpu, cuda/);
  });
});
