import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { Graph } from '../graph/graph.ts';
import { stopGradient } from '../graph/ops.ts';
import { elementCount } from '../onnx/dtypes.ts';
import { RuntimeError, UndriftError } from '../util/errors.ts';
import { deviceModel } from './device-model.ts';
import type { Device } from './devices.ts';
import type { HostTensor } from './host-tensor.ts';
import { sessionOptions } from './session-options.ts';
import { isUnconverted, UNCONVERTED, withUnconvertedOutput } from './unconverted-output.ts';

/*
 * Tensors that stay on a device from run to run: weights, optimizer state, gradients. In onnxruntime-node a program can
 * read and write such a tensor in place (with WebGPU only, as of 1.30; it has no tensors for CUDA). onnxruntime-node has
 * no way to copy a tensor, so two identity programs do it. Its own `getData()` ends the process.
 */

/** Returns whether tensors can stay on a device. */
export const keepsTensors = (device: Device): boolean => device === 'webgpu';

/** Number of bytes copied between this process's memory and devices so far. */
export const deviceTraffic = { upBytes: 0, downBytes: 0 };

/**
 * Holder of the latest values. `both` lasts until the array is requested, since the caller might write to it.
 */
type Owner = 'host' | 'both' | 'device';

/** Memory of an f32 tensor on a device. */
class KeptTensor {
  readonly device: Device;
  private readonly array: Float32Array;
  private buffer: OrtTensor | undefined;
  private owner: Owner = 'host';
  /** Last copy that was requested. Copies are made one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(device: Device, array: Float32Array) {
    this.device = device;
    this.array = array;
  }

  /** Number of elements. */
  get elements(): number {
    return this.array.length;
  }

  /**
   * Returns the array in this process, which holds the valid values from now on.
   *
   * @throws UndriftError if the latest values are on the device.
   */
  hostArray(): Float32Array {
    if (this.owner === 'device') {
      throw new UndriftError(`the latest values of this tensor are on ${this.device}`, {
        help: 'await bringToHost([tensor]) before its data is read',
      });
    }
    this.owner = 'host';
    return this.array;
  }

  /** Returns the array for overwriting it as a whole. The values on the device become invalid. */
  overwrite(): Float32Array {
    this.owner = 'host';
    return this.array;
  }

  /** Returns the tensor on the device, with the latest values. */
  async reading(dims: readonly number[]): Promise<OrtTensor> {
    await this.inTurn(async () => {
      if (this.owner !== 'host') return;
      await this.upload();
      this.owner = 'both';
    });
    return this.view(dims);
  }

  /** Returns the tensor on the device for a program that overwrites it. Call `written` after the run. */
  async writing(dims: readonly number[]): Promise<OrtTensor> {
    await this.inTurn(async () => {
      if (!this.buffer) await this.upload();
    });
    return this.view(dims);
  }

  /** Marks the values on the device as the latest. */
  written(): void {
    this.owner = 'device';
  }

  /** Copies the values to the array, if only the device has the latest. */
  async bringToHost(): Promise<void> {
    await this.inTurn(async () => {
      if (this.owner !== 'device') return;
      const { copy } = await copiers(this.device);
      const y = new OrtTensor('float32', this.array, [this.elements]);
      await runInto(copy, this.view([this.elements]), y);
      deviceTraffic.downBytes += this.array.byteLength;
      this.owner = 'both';
    });
  }

  /** Frees the memory on the device. Values that only the device has are lost. */
  release(): void {
    this.buffer?.dispose();
    this.buffer = undefined;
    this.owner = 'host';
  }

  private async upload(): Promise<void> {
    const { allocate, copy } = await copiers(this.device);
    const x = new OrtTensor('float32', this.array, [this.elements]);
    if (this.buffer) await runInto(copy, x, this.buffer);
    else this.buffer = (await allocate.run({ x })).y as OrtTensor;
    deviceTraffic.upBytes += this.array.byteLength;
  }

  private view(dims: readonly number[]): OrtTensor {
    return OrtTensor.fromGpuBuffer(this.buffer!.gpuBuffer, { dataType: 'float32', dims });
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => {});
    return turn;
  }
}

const kept = new WeakMap<HostTensor, KeptTensor>();

/** Returns the device memory of a tensor that is kept on a device, else undefined. */
export const keptTensor = (tensor: HostTensor): KeptTensor | undefined => kept.get(tensor);

export type { KeptTensor };

/**
 * Keeps an f32 tensor on a device from now on, so that programs there read and write it without a copy.
 *
 * Before reading its `data`, await `bringToHost` if a program has written the tensor; otherwise an error is
 * thrown. Writing to `data` needs no further call, if `data` is requested anew for each change: the tensor
 * counts as changed whenever `data` has been requested. On devices that cannot keep tensors, nothing happens.
 *
 * @throws RuntimeError if the tensor is not f32.
 */
export function keepOnDevice(tensor: HostTensor, device: Device): void {
  if (!keepsTensors(device)) return;
  if (tensor.dtype !== 'f32') throw new RuntimeError(`a ${tensor.dtype} tensor cannot be kept on ${device}`);
  if (kept.has(tensor)) return;
  register(tensor, new KeptTensor(device, tensor.data as Float32Array));
}

/**
 * Largest number of elements for which keeping a tensor, or running a program for it alone, does not pay.
 *
 * A run takes 45 µs even for one element. Of the 100 dense parameters of the reference encoder, 63 are that
 * short (biases and norms); they have 0.3 % of the elements.
 */
const SHORT_ELEMENTS = 2 ** 12;

/** Returns whether a tensor is too short to be worth keeping on a device. */
export const isShort = ({ dims }: HostTensor): boolean => elementCount(dims) <= SHORT_ELEMENTS;

/** Keeps the tensors on a device that are long enough, and returns them. */
export function keepLong(tensors: readonly HostTensor[], device: Device): HostTensor[] {
  const long = keepsTensors(device) ? tensors.filter((tensor) => !isShort(tensor)) : [];
  for (const tensor of long) keepOnDevice(tensor, device);
  return long;
}

/**
 * Returns a view of a kept tensor with other dims, in the same memory.
 *
 * @throws RuntimeError if the number of elements differs.
 */
export function reshapeKept(tensor: HostTensor, dims: readonly number[]): HostTensor {
  const memory = kept.get(tensor)!;
  if (elementCount(dims) !== memory.elements) throw new RuntimeError('a view of another number of elements');
  const view = { dtype: tensor.dtype, dims } as HostTensor;
  register(view, memory);
  return view;
}

/**
 * Copies values that only a device has to the arrays of this process, so that the `data` of the tensors can
 * be read.
 */
export async function bringToHost(tensors: Iterable<HostTensor>): Promise<void> {
  for (const tensor of tensors) await kept.get(tensor)?.bringToHost();
}

/** Sets all elements of an f32 tensor to zero, whether or not it is kept on a device. */
export function setZero(tensor: HostTensor): void {
  const data = kept.get(tensor)?.overwrite() ?? (tensor.data as Float32Array);
  data.fill(0);
}

/** Stops keeping tensors on a device, and first copies values that only the device has to this process. */
export async function releaseFromDevice(tensors: Iterable<HostTensor>): Promise<void> {
  for (const tensor of tensors) {
    const memory = kept.get(tensor);
    if (!memory) continue;
    await memory.bringToHost();
    const data = memory.hostArray();
    memory.release();
    kept.delete(tensor);
    Object.defineProperty(tensor, 'data', { value: data, enumerable: true, configurable: true });
  }
}

function register(tensor: HostTensor, memory: KeptTensor): void {
  kept.set(tensor, memory);
  Object.defineProperty(tensor, 'data', {
    get: () => memory.hostArray(),
    enumerable: true,
    configurable: true,
  });
}

interface Copiers {
  /** Program that copies into memory that it allocates on the device. */
  readonly allocate: InferenceSession;
  /** Program that copies into given memory, in this process or on the device. */
  readonly copy: InferenceSession;
}

const copiersByDevice = new Map<Device, Promise<Copiers>>();

/** Returns the two copying programs of a device. They are compiled once per process. */
function copiers(device: Device): Promise<Copiers> {
  const known = copiersByDevice.get(device) ?? makeCopiers(device);
  copiersByDevice.set(device, known);
  return known;
}

async function makeCopiers(device: Device): Promise<Copiers> {
  const graph = new Graph('copy');
  graph.output('y', stopGradient(graph.input('x', 'f32', ['n'])));
  const model = deviceModel(graph, device);
  const options = sessionOptions({ device, threads: 1 }, model.hostNodes);
  return {
    allocate: await InferenceSession.create(model.bytes, {
      ...options,
      preferredOutputLocation: 'gpu-buffer',
    }),
    copy: await InferenceSession.create(withUnconvertedOutput(model.bytes), options),
  };
}

async function runInto(session: InferenceSession, x: OrtTensor, y: OrtTensor): Promise<void> {
  try {
    await session.run({ x }, { [UNCONVERTED]: null, y });
  } catch (error) {
    if (!isUnconverted(error)) throw error;
  }
}
