import { availableParallelism } from 'node:os';
import { listSupportedBackends } from 'onnxruntime-node';
import { UsageError } from '../util/errors.ts';

/** Device that programs run on. */
export type Device = 'cpu' | 'webgpu' | 'cuda';

/** All devices. */
export const DEVICES: readonly Device[] = ['cpu', 'webgpu', 'cuda'];

/** Device and number of threads for programs. */
export interface ComputeOptions {
  /** Device to run on. Default `cpu`. */
  device?: Device;
  /** Number of threads inside one operation. Default: all cores. */
  threads?: number;
}

/** Dtype in which a program multiplies matrices; see `LoweringOptions.products`. */
export type Precision = 'f32' | 'f16';

/**
 * Dtype in which a program multiplies matrices. With `int8`, the products with constants of the graph are of 8-bit integers (see
 * `quantizeWeights`), on the CPU alone; all else is f32.
 */
export type ProgramPrecision = Precision | 'int8';

/** All precisions. */
export const PRECISIONS: readonly Precision[] = ['f32', 'f16'];

/**
 * Parses the name of a device.
 *
 * @throws UsageError for an unknown name.
 */
export function parseDevice(name: string): Device {
  if ((DEVICES as readonly string[]).includes(name)) return name as Device;
  throw new UsageError(`unknown device "${name}"`, { help: `use one of ${DEVICES.join(', ')}` });
}

/** Returns the devices for which this installation of onnxruntime-node contains libraries. */
export function bundledDevices(): Device[] {
  return listSupportedBackends()
    .filter((backend) => backend.bundled)
    .map((backend) => backend.name as Device)
    .filter((name) => DEVICES.includes(name));
}

/** Number of threads that programs use by default: all cores. */
export const defaultThreads = (): number => availableParallelism();
