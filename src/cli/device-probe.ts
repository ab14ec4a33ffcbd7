/**
 * @file Runs a tiny program on the device named by the argument, in a separate process.
 *
 * A graphics driver that crashes or hangs affects only this process. Exit code 0: the device computes correct
 * results. Exit code 1: it does not, and the reason is on standard output.
 */
import { Graph } from '../graph/graph.ts';
import { add, matmul } from '../graph/ops.ts';
import { type Device, parseDevice } from '../runtime/devices.ts';
import { float32, hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';
import { RuntimeError } from '../util/errors.ts';

try {
  await probe(parseDevice(process.argv[2] ?? ''));
} catch (error) {
  process.stdout.write(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function probe(device: Device): Promise<void> {
  const graph = new Graph('device-probe');
  const a = graph.input('a', 'f32', ['rows', 3]);
  const b = graph.input('b', 'f32', [3, 2]);
  graph.output('result', add(matmul(a, b), 1));
  const program = await Program.compile(graph, { device, threads: 1 });
  const { result } = await program.run({
    a: hostTensor('f32', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)),
    b: hostTensor('f32', [3, 2], Float32Array.of(1, 0, 0, 1, 1, 1)),
  });
  const expected = [5, 6, 11, 12];
  const found = [...float32(result)];
  if (found.some((value, i) => !(Math.abs(value - expected[i]!) < 1e-3))) {
    throw new RuntimeError(`a product came out as ${found} instead of ${expected}`);
  }
  await program.dispose();
}
