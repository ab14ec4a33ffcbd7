import { expect } from 'vitest';
import type { Graph } from '../src/graph/graph.ts';
import { type ComputeOptions, parseDevice } from '../src/runtime/devices.ts';
import type { HostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';

/**
 * Device for tests of graphs: the CPU, unless the environment names another one. `webgpu.test.ts` runs these
 * tests again on a software GPU.
 */
export const TEST_COMPUTE: Required<Pick<ComputeOptions, 'device' | 'threads'>> = {
  device: parseDevice(process.env.UNDRIFT_TEST_DEVICE ?? 'cpu'),
  threads: 1,
};

/**
 * Tolerance between two devices, relative to 1 + |value|. Shaders sum f32 products in another order, and
 * their exp and tanh differ by 2 to 3 ulp.
 */
const DEVICE_TOLERANCE = 1e-5;

/** Runs a graph on the CPU and on the test device, and expects equal outputs within the tolerance. */
export async function sameAsOnCpu(
  graph: Graph,
  feeds: Readonly<Record<string, HostTensor>>,
  tolerance = DEVICE_TOLERANCE,
): Promise<void> {
  const results: Record<string, HostTensor>[] = [];
  for (const options of [{ threads: 1 }, TEST_COMPUTE]) {
    const program = await Program.compile(graph, options);
    const fed = Object.fromEntries(program.inputs.map(({ name }) => [name, feeds[name]!]));
    results.push(await program.run(fed));
    await program.dispose();
  }
  const [cpu, device] = results;
  for (const [name, expected] of Object.entries(cpu!)) {
    const found = device![name]!;
    expect(found.dims, name).toEqual(expected.dims);
    let largest = 0;
    for (const [i, value] of expected.data.entries()) {
      const difference = Math.abs(Number(found.data[i]) - Number(value)) / (1 + Math.abs(Number(value)));
      // NaN counts as the largest difference.
      if (!(difference <= largest)) largest = difference;
    }
    expect(largest, `${graph.name}: ${name} on ${TEST_COMPUTE.device} against the CPU`).toBeLessThan(
      tolerance,
    );
  }
}
