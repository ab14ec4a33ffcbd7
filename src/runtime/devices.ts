import { availableParallelism } from 'node:os';
import { listSupportedBackends } from 'onnxruntime-node';
import { UsageError } from '../util/errors.ts';

export type Device = 'cpu' | 'webgpu' | 'cuda';

export const DEVICES: readonly Device[] = ['cpu', 'webgpu', 'cuda'];

/** Where programs run, and on how many threads. */
export interface ComputeOptions {
  /** Default `cpu`. */
  device?: Device;
  /** Threads inside one operation; default all cores. */
  threads?: number;
}

/** Dtype in which a program multiplies matrices; see `LoweringOptions.products`. */
export type Precision = 'f32' | 'f16';

export const PRECISIONS: readonly Precision[] = ['f32', 'f16'];

export function parseDevice(name: string): Device {
  if ((DEVICES as readonly string[]).includes(name)) return name as Device;
  throw new UsageError(`unknown device "${name}"`, { help: `use one of ${DEVICES.join(', ')}` });
}

/** Devices that this installation of onnxruntime-node carries libraries for. */
export function bundledDevices(): Device[] {
  return listSupportedBackends()
    .filter((backend) => backend.bundled)
    .map((backend) => backend.name as Device)
    .filter((name) => DEVICES.includes(name));
}

export const defaultThreads = (): number => availableParallelism();
