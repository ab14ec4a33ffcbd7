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
 * Tensors that stay on a device from run to run: weights, optimizer state, gradients. onnxruntime-node lets a program read and write
 * such a tensor where it lies (WebGPU alone, as of 1.30; of CUDA it knows no tensors), but gives no way to copy one: that is what two
 * identity programs are for. Its own `getData()` ends the process.
 */

/** Devices on which tensors can stay. */
export const keepsTensors = (device: Device): boolean => device === 'webgpu';

/** Bytes that went between this process's memory and devices so far. */
export const deviceTraffic = { upBytes: 0, downBytes: 0 };

/** Who has the values. `both` until somebody asks for the array, and might write to it. */
type Owner = 'host' | 'both' | 'device';

/** A f32 tensor's memory on a device. */
class KeptTensor {
  readonly device: Device;
  private readonly array: Float32Array;
  private buffer: OrtTensor | undefined;
  private owner: Owner = 'host';
  /** Copies are made one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(device: Device, array: Float32Array) {
    this.device = device;
    this.array = array;
  }

  get elements(): number {
    return this.array.length;
  }

  /** The array in this process, which from now on has the values that count. */
  hostArray(): Float32Array {
    if (this.owner === 'device') {
      throw new UndriftError(`the latest values of this tensor are on ${this.device}`, {
        help: 'await bringToHost([tensor]) before its data is read',
      });
    }
    this.owner = 'host';
    return this.array;
  }

  /** The array, to be written as a whole: what the device has no longer counts. */
  overwrite(): Float32Array {
    this.owner = 'host';
    return this.array;
  }

  /** The tensor on the device, with the latest values. */
  async reading(dims: readonly number[]): Promise<OrtTensor> {
    await this.inTurn(async () => {
      if (this.owner !== 'host') return;
      await this.upload();
      this.owner = 'both';
    });
    return this.view(dims);
  }

  /** The tensor on the device, for a program that overwrites it; `written` says that it has. */
  async writing(dims: readonly number[]): Promise<OrtTensor> {
    await this.inTurn(async () => {
      if (!this.buffer) await this.upload();
    });
    return this.view(dims);
  }

  written(): void {
    this.owner = 'device';
  }

  /** Copies values that only the device has into the array. */
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

/** The device's side of a tensor that is kept there. */
export const keptTensor = (tensor: HostTensor): KeptTensor | undefined => kept.get(tensor);

export type { KeptTensor };

/**
 * Keeps a f32 tensor on a device from now on: programs there read and write it without a copy. Whoever reads its `data` must have
 * awaited `bringToHost` since a program last wrote it: an error says so. Whoever writes to `data` need do nothing, if he asks for it each
 * time that he does: it is taken as changed whenever somebody has asked for it.
 */
export function keepOnDevice(tensor: HostTensor, device: Device): void {
  if (!keepsTensors(device)) return;
  if (tensor.dtype !== 'f32') throw new RuntimeError(`a ${tensor.dtype} tensor cannot be kept on ${device}`);
  if (kept.has(tensor)) return;
  register(tensor, new KeptTensor(device, tensor.data as Float32Array));
}

/**
 * Elements up to which a tensor is not worth keeping, nor a run of its own: a run takes 45 µs even for one element. Of the reference
 * encoder's 100 dense parameters 63 are short, biases and norms, and have 0.3 % of the elements.
 */
const SHORT_ELEMENTS = 2 ** 12;

export const isShort = ({ dims }: HostTensor): boolean => elementCount(dims) <= SHORT_ELEMENTS;

/** Keeps those of the tensors on a device that are worth it. @returns  these */
export function keepLong(tensors: readonly HostTensor[], device: Device): HostTensor[] {
  const long = keepsTensors(device) ? tensors.filter((tensor) => !isShort(tensor)) : [];
  for (const tensor of long) keepOnDevice(tensor, device);
  return long;
}

/** A kept tensor with other dims of the same elements, in the same memory. */
export function reshapeKept(tensor: HostTensor, dims: readonly number[]): HostTensor {
  const memory = kept.get(tensor)!;
  if (elementCount(dims) !== memory.elements) throw new RuntimeError('a view of another number of elements');
  const view = { dtype: tensor.dtype, dims } as HostTensor;
  register(view, memory);
  return view;
}

/** Copies what only a device has into the arrays of this process, so that the tensors' `data` can be read. */
export async function bringToHost(tensors: Iterable<HostTensor>): Promise<void> {
  for (const tensor of tensors) await kept.get(tensor)?.bringToHost();
}

/** Sets all elements to zero, wherever they are. */
export function setZero(tensor: HostTensor): void {
  const data = kept.get(tensor)?.overwrite() ?? (tensor.data as Float32Array);
  data.fill(0);
}

/** Ends the keeping; what only the device has is brought back first. */
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
  /** Copies into memory that it takes on the device. */
  readonly allocate: InferenceSession;
  /** Copies into given memory, here or on the device. */
  readonly copy: InferenceSession;
}

const copiersByDevice = new Map<Device, Promise<Copiers>>();

/** Made once in a process. */
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
