import { env, InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { type Dim, evaluateDim, formatShape } from '../graph/dims.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { toOnnx } from '../graph/to-onnx.ts';
import { type DType, elementCount } from '../onnx/dtypes.ts';
import { encodeModel } from '../onnx/encode.ts';
import { RuntimeError, ShapeError } from '../util/errors.ts';
import { type ComputeOptions, defaultThreads } from './devices.ts';
import { type HostTensor, zeros } from './host-tensor.ts';
import { isUnconverted, UNCONVERTED, withUnconvertedOutput } from './unconverted-output.ts';

export type Feeds = Readonly<Record<string, HostTensor>>;

const ORT_TYPES: Record<DType, OrtTensor.Type> = {
  f32: 'float32',
  f64: 'float64',
  f16: 'float16',
  bf16: 'uint16',
  i8: 'int8',
  u8: 'uint8',
  u16: 'uint16',
  i32: 'int32',
  i64: 'int64',
  u32: 'uint32',
  bool: 'bool',
};

// What goes wrong is in the errors that are thrown; the runtime's own lines would come between ours.
env.logLevel = 'fatal';

/** Session settings. Measured reasons stand beside each. */
function sessionOptions({
  device = 'cpu',
  threads = defaultThreads(),
}: ComputeOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: device === 'cpu' ? ['cpu'] : [device, 'cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // Without the arena every intermediate is mapped, faulted in and unmapped anew: 12 % slower steps and, as freed blocks
    // are reused at once, 15 % more memory (reference step, 954 against 810 MB).
    enableCpuMemArena: true,
    enableMemPattern: false,
    logSeverityLevel: 4,
    // Threads of a session that has finished would go on spinning and take the cores from the next one: alternating two
    // programs was 2.5 times slower with the default.
    extra: { session: { force_spinning_stop: '1' } },
  };
}

/** What a program takes and gives. A graph is one. */
export type ProgramSignature = Pick<Graph, 'name' | 'inputs' | 'outputs'>;

/**
 * A graph that is ready to run. Dimensions are named, so one program serves every batch size and length; feeds are checked
 * against the graph's declarations before anything runs.
 */
export class Program {
  /** Runs in this process so far, and the time spent inside the runtime, for benchmarks. */
  static readonly stats = { runs: 0, runMs: 0 };
  readonly name: string;
  /** Inputs that must be fed, in the graph's order. */
  readonly inputs: readonly Tensor[];
  readonly outputs: ReadonlyMap<string, Tensor>;
  private readonly session: InferenceSession;

  private constructor(signature: ProgramSignature, session: InferenceSession) {
    this.name = signature.name;
    this.inputs = signature.inputs;
    this.outputs = signature.outputs;
    this.session = session;
  }

  /**
   * Compiles a graph for a device.
   * @throws RuntimeError when the runtime rejects it
   */
  static async compile(graph: Graph, options: ComputeOptions = {}): Promise<Program> {
    return await Program.load(graph, encodeModel(toOnnx(graph)), options);
  }

  /**
   * The program of an ONNX model that was written from a graph of this signature, perhaps in another thread.
   * @throws RuntimeError when the runtime rejects it
   */
  static async load(
    signature: ProgramSignature,
    model: Uint8Array,
    options: ComputeOptions = {},
  ): Promise<Program> {
    try {
      const session = await InferenceSession.create(withUnconvertedOutput(model), sessionOptions(options));
      return new Program(signature, session);
    } catch (cause) {
      throw new RuntimeError(
        `program "${signature.name}" could not be loaded on ${options.device ?? 'cpu'}: ${reason(cause)}`,
        { cause, help: 'run `undrift doctor` to see which devices work here' },
      );
    }
  }

  /**
   * Runs the program.
   *
   * @param feeds  a tensor for each input
   * @param options.into  buffers that receive outputs, by name; their dims must be the output's. An input's buffer may be
   *   given only where the program's author knows that every reader of the input comes before the last writer (optimizers)
   * @returns  every output; the given buffer itself where there was one
   */
  async run(
    feeds: Feeds,
    options: { into?: Readonly<Record<string, HostTensor>> } = {},
  ): Promise<Record<string, HostTensor>> {
    const sizes = this.checkFeeds(feeds);
    const ortFeeds: Record<string, OrtTensor> = {};
    for (const input of this.inputs) ortFeeds[input.name] = toOrt(feeds[input.name]!);
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
      fetches[name] = toOrt(buffer);
    }
    const startMs = performance.now();
    try {
      await this.session.run(ortFeeds, fetches);
    } catch (cause) {
      if (!isUnconverted(cause)) throw this.failure(feeds, cause);
    }
    Program.stats.runs += 1;
    Program.stats.runMs += performance.now() - startMs;
    return outputs;
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }

  /** Every input present, of its dtype, and with sizes that agree wherever the same name stands. */
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
        elementCount(fed.dims) !== fed.data.length
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

  /** Sizes of an output, all of which follow from those of the inputs. */
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

/** The size of a dimension that an input has as it stands, or whose names all have sizes. */
const sizeOf = (dim: Dim, sizes: ReadonlyMap<string, number>): number | undefined =>
  typeof dim === 'number' ? dim : (sizes.get(dim) ?? evaluateDim(dim, sizes));

const toOrt = (tensor: HostTensor): OrtTensor =>
  new OrtTensor(ORT_TYPES[tensor.dtype], tensor.data as Float32Array, tensor.dims as number[]);

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
