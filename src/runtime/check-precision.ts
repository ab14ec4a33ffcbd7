import { Graph } from '../graph/graph.ts';
import { matmul } from '../graph/ops.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { ComputeOptions, Precision } from './devices.ts';
import { hostTensor } from './host-tensor.ts';
import { Program } from './program.ts';

/**
 * Checks that a device can multiply matrices in a precision.
 *
 * @throws UsageError if it cannot. The error gives the reason.
 */
export async function checkPrecision(precision: Precision, compute: ComputeOptions): Promise<void> {
  if (precision === 'f32') return;
  const { device = 'cpu' } = compute;
  // On the CPU, onnxruntime adds casts around f32 kernels and removes them in pairs, so the result has the
  // bits of f32.
  if (device === 'cpu') {
    throw new UsageError(
      `${option('precision', precision)} on the CPU would change nothing: onnxruntime multiplies in f32 there`,
      {
        help: `leave it out, or train on a GPU: ${option('device', 'webgpu')} or cuda`,
      },
    );
  }
  const graph = new Graph('precision');
  graph.output('y', matmul(graph.input('a', 'f32', ['n', 4]), graph.input('b', 'f32', [4, 4])));
  const [a, b] = [
    [1, 4],
    [4, 4],
  ].map((dims) => hostTensor('f32', dims, new Float32Array(dims[0]! * 4).fill(1)));
  const program = await Program.compile(graph, { ...compute, precision });
  try {
    await program.run({ a: a!, b: b! });
  } catch (cause) {
    throw new UsageError(
      `${option('precision', precision)}: the driver behind ${device} has no half precision`,
      {
        cause,
        help: 'leave it out; a GPU and driver with shader-f16 are needed',
      },
    );
  } finally {
    await program.dispose();
  }
}
