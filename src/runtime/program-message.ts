import type { Dim } from '../graph/dims.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { DType } from '../onnx/dtypes.ts';
import { type DeviceModel, deviceModel } from './device-model.ts';
import type { ComputeOptions, Device, ProgramPrecision } from './devices.ts';
import { Program } from './program.ts';

interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** Program as plain data, for another process to load. */
export interface ProgramMessage {
  /** Name of the program. */
  readonly name: string;
  /** Inputs of the program. */
  readonly inputs: readonly Value[];
  /** Outputs of the program. */
  readonly outputs: readonly Value[];
  /** ONNX model for the device. */
  readonly model: DeviceModel;
}

/** Describes a graph for `programOf` in another process. */
export function programMessage(
  graph: Graph,
  device: Device = 'cpu',
  precision: ProgramPrecision = 'f32',
): ProgramMessage {
  const value = ({ name, dtype, shape }: Tensor): Value => ({ name, dtype, shape });
  return {
    name: graph.name,
    inputs: graph.inputs.map(value),
    outputs: [...graph.outputs].map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
    model: deviceModel(graph, device, precision),
  };
}

/**
 * Loads the program that `programMessage` has described. `compute` must name the same device.
 *
 * @throws RuntimeError if onnxruntime rejects the program.
 */
export async function programOf(
  { name, inputs, outputs, model }: ProgramMessage,
  compute: ComputeOptions,
): Promise<Program> {
  const graph = new Graph(name);
  for (const input of inputs) graph.input(input.name, input.dtype, input.shape);
  const results = new Map(
    outputs.map((output) => [output.name, new Tensor(graph, { ...output, origin: 'another process' })]),
  );
  return await Program.load({ name, inputs: graph.inputs, outputs: results }, model, compute);
}
