import type { Graph } from '../graph/graph.ts';
import { toStandardOnnx } from '../graph/standard-onnx.ts';
import { toOnnx } from '../graph/to-onnx.ts';
import { encodeModel } from '../onnx/encode.ts';
import type { OnnxNode } from '../onnx/model.ts';
import { quantizeWeights } from '../onnx/quantize-weights.ts';
import type { Device, ProgramPrecision } from './devices.ts';

/** ONNX model of a graph, adapted to the provider of a device. */
export interface DeviceModel {
  /** Bytes of the ONNX file. */
  readonly bytes: Uint8Array;
  /** Names of nodes that must run on the CPU although the device has kernels for them. */
  readonly hostNodes: readonly string[];
}

/**
 * Converts a graph to an ONNX model for a device. Differences between providers are handled here and in
 * `sessionOptions`.
 */
export function deviceModel(graph: Graph, device: Device, precision: ProgramPrecision = 'f32'): DeviceModel {
  if (precision === 'int8')
    return { bytes: encodeModel(quantizeWeights(toStandardOnnx(graph))), hostNodes: [] };
  // The WebGPU provider has no FusedMatMul, so attention would run on the CPU, with copies to and from the
  // device.
  const model = toOnnx(
    graph,
    {},
    {
      fusedMatMul: device !== 'webgpu',
      scan: device === 'cpu',
      products: precision,
    },
  );
  const hostNodes = device === 'webgpu' ? model.graph.nodes.filter(isUnfitForShaders) : [];
  return { bytes: encodeModel(model), hostNodes: hostNodes.map(({ name }) => name!) };
}

/**
 * Returns whether a node must not run in shaders, because of accuracy or reproducibility.
 *
 * Sines and cosines in shaders may be off by 2⁻¹¹, and by more outside [−π, π] (WebGPU Shading Language,
 * accuracy of built-in functions). Rotary positions would be wrong in the fourth digit, so the CPU computes
 * these small tables. Scatter in shaders adds repeated indices in the order in which threads arrive, so
 * repeating a step would not give the same bytes.
 */
const isUnfitForShaders = ({ opType, attributes }: OnnxNode): boolean =>
  opType === 'Sin' ||
  opType === 'Cos' ||
  (opType === 'ScatterElements' && attributes?.reduction !== undefined);
