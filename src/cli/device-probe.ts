/**
 * @file Runs a tiny program on the device that is named as the argument, in a process of its own: a graphics driver that crashes
 * or hangs takes no more than this process with it. Exit code 0 means that the device computes, and computes right.
 */
import { Graph } from '../graph/graph.ts';
import { add, matmul } from '../graph/ops.ts';
import { parseDevice } from '../runtime/devices.ts';
import { hostTensor } from '../runtime/host-tensor.ts';
import { Program } from '../runtime/program.ts';

const graph = new Graph('device-probe');
const a = graph.input('a', 'f32', ['rows', 3]);
const b = graph.input('b', 'f32', [3, 2]);
graph.output('result', add(matmul(a, b), 1));

const program = await Program.compile(graph, { device: parseDevice(process.argv[2] ?? ''), threads: 1 });
const { result } = await program.run({
  a: hostTensor('f32', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)),
  b: hostTensor('f32', [3, 2], Float32Array.of(1, 0, 0, 1, 1, 1)),
});
const expected = [5, 6, 11, 12];
const found = [...(result!.data as Float32Array)];
if (found.some((value, i) => Math.abs(value - expected[i]!) > 1e-3)) {
  process.stderr.write(`wrong result: ${found} instead of ${expected}\n`);
  process.exit(1);
}
await program.dispose();
