import type { Graph } from '../graph/graph.ts';
import { toOnnx } from '../graph/to-onnx.ts';
import { encodeModel } from '../onnx/encode.ts';
import type { OnnxNode } from '../onnx/model.ts';
import type { Device, Precision } from './devices.ts';

/** A graph as a device's provider takes it. */
export interface DeviceModel {
  /** ONNX bytes. */
  readonly bytes: Uint8Array;
  /** Names of nodes that are to run on the CPU although the device has kernels for them. */
  readonly hostNodes: readonly string[];
}

/** Lowers a graph for a device. What is peculiar to providers is here, and in `sessionOptions`. */
export function deviceModel(graph: Graph, device: Device, precision: Precision = 'f32'): DeviceModel {
  // The WebGPU provider has no FusedMatMul: attention would run on the CPU, with copies there and back.
  const model = toOnnx(graph, {}, { fusedMatMul: device !== 'webgpu', products: precision });
  const hostNodes = device === 'webgpu' ? model.graph.nodes.filter(isUnfitForShaders) : [];
  return { bytes: encodeModel(model), hostNodes: hostNodes.map(({ name }) => name!) };
}

/**
 * Sines and cosines in shaders may be off by 2⁻¹¹, and by more outside [−π, π] (WebGPU Shading Language, accuracy of built-in
 * functions): rotary positions would be wrong in the fourth digit. The CPU makes these small tables.
 *
 * Shaders add up repeated indices in whatever order threads come: the same step would not give the same bytes.
 */
const isUnfitForShaders = ({ opType, attributes }: OnnxNode): boolean =>
  opType === 'Sin' ||
  opType === 'Cos' ||
  (opType === 'ScatterElements' && attributes?.reduction !== undefined);
