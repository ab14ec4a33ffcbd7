import { Graph } from '../src/graph/graph.ts';
import type { Tensor } from '../src/graph/tensor.ts';
import { type HostTensor, hostTensor } from '../src/runtime/host-tensor.ts';
import { Program } from '../src/runtime/program.ts';
import { TEST_COMPUTE } from './test-device.ts';

/**
 * Evaluates symbolic expressions. Builds a graph whose inputs have the shapes of the given values, and runs
 * it once on one thread.
 *
 * @returns  the results by name
 */
export async function evaluate(
  inputs: Readonly<Record<string, HostTensor>>,
  build: (tensors: Record<string, Tensor>, graph: Graph) => Record<string, Tensor>,
): Promise<Record<string, HostTensor>> {
  const graph = new Graph('evaluate');
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, dims }] of Object.entries(inputs))
    tensors[name] = graph.input(name, dtype, dims);
  for (const [name, tensor] of Object.entries(build(tensors, graph))) graph.output(name, tensor);
  const program = await Program.compile(graph, TEST_COMPUTE);
  try {
    return await program.run(inputs);
  } finally {
    await program.dispose();
  }
}

/** Makes an f32 tensor of the given numbers. */
export const f32 = (dims: readonly number[], values: Iterable<number>): HostTensor =>
  hostTensor('f32', dims, Float32Array.from(values));

/** Makes an i64 tensor of the given numbers. */
export const i64 = (dims: readonly number[], values: Iterable<number>): HostTensor =>
  hostTensor('i64', dims, BigInt64Array.from([...values].map(BigInt)));

/** Returns the elements of a tensor as numbers, with −0 as 0. */
export const numbers = (tensor: HostTensor | undefined): number[] =>
  Array.from(tensor!.data as ArrayLike<number | bigint>, (value) => Number(value) + 0);
