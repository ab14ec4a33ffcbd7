import { InferenceSession, type Tensor as OrtTensor } from 'onnxruntime-node';
import { type Dim, evaluateDim, formatShape } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import { MemoryPlan } from '../graph/memory-plan.ts';
import type { Tensor } from '../graph/tensor.ts';
import { dtypes, elementCount } from '../onnx/dtypes.ts';
import { availableMemory } from '../util/available-memory.ts';
import { isOutOfMemory, OutOfMemoryError, RuntimeError, ShapeError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { deviceTraffic, type KeptTensor, keptTensor } from './device-memory.ts';
import { type DeviceModel, deviceModel } from './device-model.ts';
import type { ComputeOptions, Device, ProgramPrecision } from './devices.ts';
import { type HostTensor, zeros } from './host-tensor.ts';
import { toOrt } from './ort-tensor.ts';
import { sessionOptions } from './session-options.ts';
import { isUnconverted, UNCONVERTED, withUnconvertedOutput } from './unconverted-output.ts';

/** Memory that a run needs on the CPU, besides the memory of its inputs. */
export interface MemoryNeed {
  /** Name of the program. */
  readonly program: string;
  /** Estimate of what the run takes, in bytes. */
  readonly bytes: number;
  /** Part of it that earlier runs of the program have not taken already, in bytes. */
  readonly moreBytes: number;
}

/** Callback for the memory that a run needs. */
export type MemoryListener = (need: MemoryNeed) => void;

/** Options of a program besides those of the machine. */
export interface ProgramOptions {
  /** Dtype in which matrices are multiplied. Default f32. */
  readonly precision?: ProgramPrecision | undefined;
  /** Called before a run that needs more memory on the CPU than all runs before it. */
  readonly onNeed?: MemoryListener | undefined;
}

interface MemoryOptions {
  readonly plan?: MemoryPlan | undefined;
  readonly onNeed?: MemoryListener | undefined;
}

/** Input tensors by name. */
export type Feeds = Readonly<Record<string, HostTensor>>;

/** Inputs and outputs of a program. A graph has this type. */
export type ProgramSignature = Pick<Graph, 'name' | 'inputs' | 'outputs'>;

/**
 * Compiled graph, ready to run.
 *
 * Dimensions are named, so one program serves every batch size and length. Inputs are checked against the
 * graph's declarations before each run.
 */
export class Program {
  /**
   * Number of runs in this process so far, and the time spent inside onnxruntime in milliseconds, for
   * benchmarks.
   */
  static readonly stats = { runs: 0, runMs: 0 };
  /** Name of the graph. */
  readonly name: string;
  /** Inputs that must be fed, in the order of the graph. */
  readonly inputs: readonly Tensor[];
  /** Outputs by name. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  private readonly session: InferenceSession;
  private readonly device: Device;

  /** Plan of the memory of a run. Undefined for a program of another process. */
  private readonly plan: MemoryPlan | undefined;
  private readonly onNeed: MemoryListener | undefined;
  private largest = 0;

  private constructor(
    signature: ProgramSignature,
    session: InferenceSession,
    { device, plan, onNeed }: { device: Device } & MemoryOptions,
  ) {
    this.plan = plan;
    this.onNeed = onNeed;
    this.name = signature.name;
    this.device = device;
    this.inputs = signature.inputs;
    this.outputs = signature.outputs;
    this.session = session;
  }

  /**
   * Compiles a graph for a device.
   *
   * @param options.precision dtype in which matrices are multiplied, default f32
   * @param options.onNeed called before a run that needs more memory on the CPU than all runs before it
   * @throws RuntimeError if onnxruntime rejects the graph.
   * @throws OutOfMemoryError if there is no memory for it.
   */
  static async compile(
    graph: Graph,
    { precision, onNeed, ...options }: ComputeOptions & ProgramOptions = {},
  ): Promise<Program> {
    const model = deviceModel(graph, options.device ?? 'cpu', precision);
    return await Program.open(graph, model, options, { plan: new MemoryPlan(graph), onNeed });
  }

  /**
   * Loads a model that was made from a graph of this signature for this device, possibly in another thread.
   *
   * @throws RuntimeError if onnxruntime rejects the model.
   */
  static async load(
    signature: ProgramSignature,
    model: DeviceModel,
    options: ComputeOptions = {},
  ): Promise<Program> {
    return await Program.open(signature, model, options, {});
  }

  private static async open(
    signature: ProgramSignature,
    model: DeviceModel,
    options: ComputeOptions,
    memory: MemoryOptions,
  ): Promise<Program> {
    const { device = 'cpu' } = options;
    try {
      const session = await InferenceSession.create(
        withUnconvertedOutput(model.bytes),
        sessionOptions(options, model.hostNodes),
      );
      return new Program(signature, session, { device, ...memory });
    } catch (cause) {
      if (isOutOfMemory(cause)) throw outOfMemory(signature.name, cause);
      throw new RuntimeError(
        `program "${signature.name}" could not be loaded on ${device}: ${reason(cause)}`,
        {
          cause,
          help: 'run `undrift doctor` to see which devices work here',
        },
      );
    }
  }

  /**
   * Runs the program.
   *
   * @param feeds a tensor for each input
   * @param options.into buffers that receive outputs, by name. Their dims must be those of the outputs. A
   *   buffer may also be that of an input if every node that reads the input runs before the last node that
   *   writes the buffer, as in optimizers
   * @returns every output; for outputs in `into`, the given buffer itself
   * @throws ShapeError if an input is missing, or an input or buffer has the wrong dtype or dims.
   * @throws RuntimeError if the run fails.
   * @throws OutOfMemoryError if memory runs out.
   */
  async run(
    feeds: Feeds,
    options: { into?: Readonly<Record<string, HostTensor>> } = {},
  ): Promise<Record<string, HostTensor>> {
    const sizes = this.checkFeeds(feeds);
    this.tellNeed(sizes);
    try {
      return await this.runChecked(feeds, sizes, options);
    } catch (cause) {
      if (isOutOfMemory(cause)) throw outOfMemory(this.name, cause, this.neededBytes(sizes));
      throw cause;
    }
  }

  /**
   * Estimates the memory that a run takes besides its inputs, in bytes: intermediate values and outputs. Undefined
   * for a program of another process.
   */
  private neededBytes(sizes: ReadonlyMap<string, number>): number | undefined {
    return this.plan && ARENA_RATIO * this.plan.peakBytes(sizes);
  }

  /** Tells the listener of a run that needs more memory than all before it. */
  private tellNeed(sizes: ReadonlyMap<string, number>): void {
    if (!this.onNeed || this.device !== 'cpu') return;
    const bytes = this.neededBytes(sizes) ?? 0;
    if (bytes <= this.largest) return;
    // The arena keeps the memory of earlier runs.
    this.onNeed({ program: this.name, bytes, moreBytes: bytes - this.largest });
    this.largest = bytes;
  }

  private async runChecked(
    feeds: Feeds,
    sizes: ReadonlyMap<string, number>,
    options: { into?: Readonly<Record<string, HostTensor>> },
  ): Promise<Record<string, HostTensor>> {
    const ortFeeds: Record<string, OrtTensor> = {};
    for (const input of this.inputs) ortFeeds[input.name] = await this.fed(feeds[input.name]!);
    const outputs: Record<string, HostTensor> = {};
    const fetches: Record<string, OrtTensor | null> = { [UNCONVERTED]: null };
    for (const [name, tensor] of this.outputs) {
      const dims = this.outputDims(name, tensor, sizes);
      const buffer = options.into?.[name] ?? zeros(tensor.dtype, dims);
      if (buffer.dtype !== tensor.dtype || formatShape(buffer.dims) !== formatShape(dims)) {
        throw new ShapeError(
          `program "${this.name}": output "${name}" ${tensor} does not fit the buffer ${buffer.dtype}${formatShape(buffer.dims)}`,
        );
      }
      outputs[name] = buffer;
      fetches[name] = await this.fetched(buffer);
    }
    const startMs = performance.now();
    try {
      await this.session.run(ortFeeds, fetches);
    } catch (cause) {
      if (!isUnconverted(cause)) throw this.failure(feeds, cause);
    }
    for (const buffer of Object.values(outputs)) this.keptHere(buffer)?.written();
    Program.stats.runs += 1;
    Program.stats.runMs += performance.now() - startMs;
    return outputs;
  }

  /** Frees the session. */
  async dispose(): Promise<void> {
    await this.session.release();
  }

  /** Device memory of a tensor, if the tensor is kept on this program's device. */
  private keptHere(tensor: HostTensor): KeptTensor | undefined {
    const memory = keptTensor(tensor);
    return memory?.device === this.device ? memory : undefined;
  }

  private async fed(tensor: HostTensor): Promise<OrtTensor> {
    const here = this.keptHere(tensor);
    if (here) return await here.reading(tensor.dims);
    await keptTensor(tensor)?.bringToHost();
    if (this.device !== 'cpu') deviceTraffic.upBytes += bytesOf(tensor);
    return toOrt(tensor);
  }

  private async fetched(buffer: HostTensor): Promise<OrtTensor> {
    const here = this.keptHere(buffer);
    if (here) return await here.writing(buffer.dims);
    if (this.device !== 'cpu') deviceTraffic.downBytes += bytesOf(buffer);
    return toOrt(buffer);
  }

  /**
   * Checks that every input is present, has its dtype, and has the same size wherever a dimension has the
   * same name.
   *
   * @returns the sizes of the named dimensions
   */
  private checkFeeds(feeds: Feeds): Map<string, number> {
    const sizes = new Map<string, number>();
    for (const input of this.inputs) {
      const fed = feeds[input.name];
      if (!fed) throw new ShapeError(`program "${this.name}" needs an input "${input.name}" ${input}`);
      const bad = () =>
        new ShapeError(
          `program "${this.name}": input ${input} was fed ${fed.dtype}${formatShape(fed.dims)}` +
            (sizes.size
              ? ` where ${[...sizes].map(([symbol, size]) => `${symbol} = ${size}`).join(', ')}`
              : ''),
        );
      if (
        fed.dtype !== input.dtype ||
        fed.dims.length !== input.rank ||
        elementCount(fed.dims) !== lengthOf(fed)
      ) {
        throw bad();
      }
      for (const [axis, dim] of input.shape.entries()) {
        const size = fed.dims[axis]!;
        const known = sizeOf(dim, sizes);
        if (known === undefined) sizes.set(String(dim), size);
        else if (known !== size) throw bad();
      }
    }
    return sizes;
  }

  /** Sizes of an output, which follow from the sizes of the inputs. */
  private outputDims(name: string, tensor: Tensor, sizes: ReadonlyMap<string, number>): number[] {
    return tensor.shape.map((dim) => {
      const size = sizeOf(dim, sizes);
      if (size !== undefined) return size;
      throw new ShapeError(`program "${this.name}": no input tells the size of "${dim}" of output "${name}"`);
    });
  }

  private failure(feeds: Feeds, cause: unknown): RuntimeError {
    const shapes = this.inputs.map(
      ({ name }) => `${name} ${feeds[name]!.dtype}${formatShape(feeds[name]!.dims)}`,
    );
    const fed = shapes.length > 8 ? [...shapes.slice(0, 8), `… ${shapes.length - 8} more`] : shapes;
    return new RuntimeError(`program "${this.name}" failed: ${reason(cause)}\n  fed: ${fed.join(', ')}`, {
      cause,
    });
  }
}

/**
 * Memory of onnxruntime for one byte of live values, since its arena keeps free blocks. Resident memory was 0.7 to 1.4
 * times the estimate in six steps of static encoders and transformers (`docs/fine-tuning.md`).
 */
const ARENA_RATIO = 1.15;

/** Size of a dimension that an input has as such, or whose names all have sizes. */
const sizeOf = (dim: Dim, sizes: ReadonlyMap<string, number>): number | undefined =>
  typeof dim === 'number' ? dim : (sizes.get(dim) ?? evaluateDim(dim, sizes));

/** Number of elements of a tensor, also if it is kept on a device. */
export const lengthOf = (tensor: HostTensor): number => keptTensor(tensor)?.elements ?? tensor.data.length;

const bytesOf = ({ dtype, dims }: HostTensor): number => elementCount(dims) * dtypes[dtype].bytes;

/** Makes the error of a program that memory cannot be had for. */
function outOfMemory(program: string, cause: unknown, neededBytes?: number): OutOfMemoryError {
  const need =
    neededBytes === undefined
      ? ''
      : `: a run of this size takes about ${formatBytes(neededBytes)} besides weights, and ${formatBytes(availableMemory())} are available`;
  return new OutOfMemoryError(`program "${program}" ran out of memory${need}`, {
    cause,
    neededBytes,
    help: 'use smaller batches or shorter texts, or free memory',
  });
}

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
