import type { Dim } from '../graph/dims.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { DType } from '../onnx/dtypes.ts';
import { type DeviceModel, deviceModel } from './device-model.ts';
import type { ComputeOptions, Device } from './devices.ts';
import { Program } from './program.ts';

interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** A program as plain data, for another thread or process to compile. */
export interface ProgramMessage {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly model: DeviceModel;
}

export function programMessage(graph: Graph, device: Device = 'cpu'): ProgramMessage {
  const value = ({ name, dtype, shape }: Tensor): Value => ({ name, dtype, shape });
  return {
    name: graph.name,
    inputs: graph.inputs.map(value),
    outputs: [...graph.outputs].map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    model: deviceModel(graph, device),
  };
}

/** Compiles what `programMessage` has described for the device of `compute`. @throws RuntimeError when the runtime rejects it */
export async function programOf(
  { name, inputs, outputs, model }: ProgramMessage,
  compute: ComputeOptions,
): Promise<Program> {
  const graph = new Graph(name);
  for (const input of inputs) graph.input(input.name, input.dtype, input.shape);
  const results = new Map(
    outputs.map((output) => [output.name, new Tensor(graph, { ...output, origin: 'another thread' })]),
  );
  return await Program.load({ name, inputs: graph.inputs, outputs: results }, model, compute);
}
