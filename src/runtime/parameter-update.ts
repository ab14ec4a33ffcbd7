import type { Graph } from '../graph/graph.ts';
import { elementCount } from '../onnx/dtypes.ts';
import type { Optimizer, StepNumbers } from '../optim/optimizer.ts';
import { bringToHost, isShort, keepsTensors, keptTensor, reshapeKept } from './device-memory.ts';
import type { ComputeOptions } from './devices.ts';
import { float32, type HostTensor, scalarTensor, zeros } from './host-tensor.ts';
import { Program } from './program.ts';
import { RowBuffer } from './row-buffer.ts';
import type { RowUnion } from './row-union.ts';
import { DEVICE_UPDATE_GRAPHS, squaredRowsGraph, UPDATE_GRAPHS } from './update-graphs.ts';

/** Parameter with its optimizer state, all in this process's memory or all kept on a device. */
export interface ParameterState {
  /** Value of the parameter, f32. */
  readonly value: HostTensor;
  /** State tensors by slot name, each with the shape of the parameter. */
  readonly slots: Readonly<Record<string, HostTensor>>;
}

/** Parameter that is updated as a whole, with its gradient. */
export interface DenseParameter {
  /** Parameter and optimizer state. */
  readonly state: ParameterState;
  /** Gradient, with the shape of the parameter. */
  readonly gradient: HostTensor;
}

/**
 * Runs an optimizer over parameters.
 *
 * The optimizer's formula is elementwise, so one program over a flat vector f32[n] serves every parameter of
 * every model. Long parameters are updated in pieces, and short ones together.
 *
 * Parameter and state are written in place. This is safe because the program reads each of them once, before
 * the last operation that writes the buffer, in whatever order onnxruntime runs the nodes. `learner.test.ts`
 * checks this.
 *
 * Parameters in this process's memory are updated by the CPU, whatever the device, because copying them to
 * the device and back would take longer. Parameters that are kept on the device (`keepOnDevice`) are updated
 * there, whole.
 */
export class ParameterUpdate {
  private readonly optimizer: Optimizer;
  private readonly options: ComputeOptions;
  private readonly programs: Programs<typeof UPDATE_GRAPHS>;
  /** Programs for kept tensors; undefined if the device cannot keep tensors. */
  private readonly onDevice: Programs<typeof DEVICE_UPDATE_GRAPHS> | undefined;
  /** Programs that compute norms, by the dims of the gradients. */
  private readonly normPrograms = new Map<string, Program>();
  /** Row buffers by program output and width of the table. */
  private readonly rowBuffers = new Map<string, RowBuffer>();
  /** Memory in which short parameters are joined to one vector, by number of elements. */
  private readonly joined = new Map<number, DenseParameter>();

  private constructor(
    optimizer: Optimizer,
    options: ComputeOptions,
    programs: Programs<typeof UPDATE_GRAPHS>,
    onDevice: Programs<typeof DEVICE_UPDATE_GRAPHS> | undefined,
  ) {
    this.optimizer = optimizer;
    this.options = options;
    this.programs = programs;
    this.onDevice = onDevice;
  }

  /** Compiles the programs of an optimizer. */
  static async compile(optimizer: Optimizer, options: ComputeOptions): Promise<ParameterUpdate> {
    return new ParameterUpdate(
      optimizer,
      options,
      await compileAll(UPDATE_GRAPHS, optimizer, { ...options, device: 'cpu' }),
      keepsTensors(options.device ?? 'cpu')
        ? await compileAll(DEVICE_UPDATE_GRAPHS, optimizer, options)
        : undefined,
    );
  }

  /** Updates parameters in place that share the numbers of a step, including weight decay. */
  async applyAll(parameters: readonly DenseParameter[], step: StepNumbers): Promise<void> {
    for (const { state, gradient } of parameters) {
      if (!isShort(gradient)) await this.apply(state, gradient, step);
    }
    const short = parameters.filter(({ gradient }) => isShort(gradient)).map(tensorsOf);
    const joined = this.joinedOf(short.reduce((total, { gradient }) => total + gradient!.data.length, 0));
    const copyEach = (copy: (part: Float32Array, place: Float32Array) => void) => {
      for (const [name, whole] of Object.entries(tensorsOf(joined))) {
        let start = 0;
        for (const tensors of short) {
          const part = float32(tensors[name]);
          copy(part, float32(whole).subarray(start, start + part.length));
          start += part.length;
        }
      }
    };
    copyEach((part, place) => place.set(part));
    await this.apply(joined.state, joined.gradient, step);
    copyEach((part, place) => part.set(place));
  }

  /** Updates a whole parameter in place. */
  async apply(state: ParameterState, gradient: HostTensor, step: StepNumbers): Promise<void> {
    const scalars = this.scalars(step);
    if (keptTensor(state.value)) {
      const tensors = mapValues({ parameter: state.value, gradient, ...state.slots }, flat);
      const { gradient: _, ...written } = tensors;
      await this.onDevice!.dense.run({ ...tensors, ...scalars }, { into: prefixKeys('next/', written) });
      return;
    }
    await bringToHost([gradient]);
    for (const part of chunks(gradient.data.length)) {
      const parameter = part(state.value);
      const slots = mapValues(state.slots, part);
      const into = { 'next/parameter': parameter, ...prefixKeys('next/', slots) };
      await this.programs.dense.run({ parameter, gradient: part(gradient), ...slots, ...scalars }, { into });
    }
  }

  /**
   * Updates some rows of a table [V, D] in place, both parameter and state.
   *
   * This is lazy Adam: rows that a batch does not use keep their moments, and decay only when they are used.
   *
   * @param rows i64[U], distinct
   * @param gradient f32[U, D]
   */
  async applyRows(
    state: ParameterState,
    rows: HostTensor,
    gradient: HostTensor,
    step: StepNumbers,
  ): Promise<void> {
    const scalars = this.scalars(step);
    if (keptTensor(state.value)) {
      const tables: Record<string, HostTensor> = { parameter: state.value, ...state.slots };
      const feeds = { rows, gradient, ...tables, ...scalars };
      await this.onDevice!.rows.run(feeds, { into: prefixKeys('next/', tables) });
      return;
    }
    const width = gradient.dims[1]!;
    const rowsPerRun = Math.max(1, Math.floor(CHUNK_ELEMENTS / width));
    for (let start = 0; start < rows.data.length; start += rowsPerRun) {
      const picked = rowsOf(rows, start, rowsPerRun);
      const part = rowsOf(gradient, start, rowsPerRun);
      const tables: Record<string, HostTensor> = { parameter: state.value, ...state.slots };
      const buffers = fromNames(Object.keys(tables), (name) => this.rowBuffer(name, width));
      const into = mapValues(buffers, (buffer) => buffer.tensor(picked.data.length));
      await this.programs.rows.run(
        { rows: picked, gradient: part, ...tables, ...scalars },
        { into: prefixKeys('next/', into) },
      );
      for (const [name, buffer] of Object.entries(buffers)) buffer.copyTo(tables[name]!, picked);
    }
  }

  /** Sets total = gradient, where total is kept on the device. */
  async copy(gradient: HostTensor, total: HostTensor): Promise<void> {
    await this.onDevice!.copy.run({ gradient: flat(gradient) }, { into: { copy: flat(total) } });
  }

  /** Adds a gradient in place: total += weight · gradient. */
  async accumulate(total: HostTensor, gradient: HostTensor, weight: number): Promise<void> {
    if (keptTensor(total)) {
      const feeds = { total: flat(total), gradient: flat(gradient), weight: scalarTensor(weight) };
      await this.onDevice!.accumulate.run(feeds, { into: { 'next/total': feeds.total } });
      return;
    }
    await bringToHost([gradient]);
    for (const part of chunks(gradient.data.length)) {
      const feeds = { total: part(total), gradient: part(gradient), weight: scalarTensor(weight) };
      await this.programs.accumulate.run(feeds, { into: { 'next/total': feeds.total } });
    }
  }

  /**
   * Adds two gradients of table rows, over the union of their rows: a + weight · b.
   *
   * @returns f32[rows, D]
   */
  async mergeRows(union: RowUnion, a: HostTensor, b: HostTensor, weight: number): Promise<HostTensor> {
    const { rows, placesA, placesB } = union;
    const feeds = { a, b, rows, placesA, placesB, weight: scalarTensor(weight) };
    return (await this.programs.mergeRows.run(feeds)).total!;
  }

  /**
   * Computes Σ g², the square of the gradient's norm. It is not finite if an element is not, or has a square
   * that f32 cannot hold.
   */
  async squaredSum(gradient: HostTensor): Promise<number> {
    const values = float32(gradient);
    const width = isShort(gradient) ? 0 : Math.floor(values.length / NORM_ROWS);
    let total = 0;
    if (width > 0) {
      const data = gradient.data.subarray(0, NORM_ROWS * width);
      const rows: HostTensor = { dtype: 'f32', dims: [NORM_ROWS, width], data };
      const { squared } = await this.programs.squaredNorm.run({ gradient: rows });
      for (const value of float32(squared)) total += value;
    }
    for (let i = NORM_ROWS * width; i < values.length; i++) total += values[i]! * values[i]!;
    return Math.fround(total);
  }

  /**
   * Computes `squaredSum` of gradients that are kept on the device. Only one number per row of each gradient
   * is copied back.
   */
  async squaredSums(gradients: readonly HostTensor[]): Promise<number[]> {
    if (gradients.length === 0) return [];
    const shaped = gradients.map((gradient) => reshapeKept(gradient, matrixDims(gradient.dims)));
    const key = shaped.map(({ dims }) => dims.join('x')).join(' ');
    const program =
      this.normPrograms.get(key) ?? (await Program.compile(squaredRowsGraph(shaped), this.options));
    this.normPrograms.set(key, program);
    const { squares } = await program.run(
      Object.fromEntries(shaped.map((gradient, i) => [`gradient${i}`, gradient])),
    );
    const values = float32(squares);
    let start = 0;
    return shaped.map(({ dims }) => {
      const own = values.subarray(start, start + dims[0]!);
      start += dims[0]!;
      return Math.fround(own.reduce((total, value) => total + value, 0));
    });
  }

  /** Frees the programs. */
  async dispose(): Promise<void> {
    const device = this.onDevice ? Object.values(this.onDevice) : [];
    for (const program of [...Object.values(this.programs), ...device, ...this.normPrograms.values()]) {
      await program.dispose();
    }
  }

  private joinedOf(length: number): DenseParameter {
    const vector = () => zeros('f32', [length]);
    const joined = this.joined.get(length) ?? {
      state: { value: vector(), slots: fromNames(this.optimizer.slots, vector) },
      gradient: vector(),
    };
    this.joined.set(length, joined);
    return joined;
  }

  private rowBuffer(name: string, width: number): RowBuffer {
    const key = `${name}/${width}`;
    const buffer = this.rowBuffers.get(key) ?? new RowBuffer(width);
    this.rowBuffers.set(key, buffer);
    return buffer;
  }

  private scalars(step: StepNumbers): Record<string, HostTensor> {
    return mapValues(this.optimizer.numbers(step), scalarTensor);
  }
}

type Programs<Graphs> = Readonly<Record<keyof Graphs, Program>>;

async function compileAll<Name extends string>(
  graphs: Readonly<Record<Name, (optimizer: Optimizer) => Graph>>,
  optimizer: Optimizer,
  options: ComputeOptions,
): Promise<Record<Name, Program>> {
  const programs: Partial<Record<Name, Program>> = {};
  for (const name of Object.keys(graphs) as Name[]) {
    programs[name] = await Program.compile(graphs[name](optimizer), options);
  }
  return programs as Record<Name, Program>;
}

/**
 * Number of elements of a parameter that are updated in one run.
 *
 * With this size, the dozen passes over temporaries stay in the caches of the cores, and a run has enough
 * work. Ten million elements on two cores: 36 ms with 2¹⁷, 29 with 2¹⁸, 31 with 2¹⁹, 85 with 2²².
 */
const CHUNK_ELEMENTS = 2 ** 18;

/**
 * Number of rows into which a gradient is split for its norm. Threads take whole rows, and short sums have
 * smaller rounding errors.
 */
const NORM_ROWS = 16;

/** Views a tensor as a vector. */
const flat = (tensor: HostTensor): HostTensor => {
  const dims = [elementCount(tensor.dims)];
  return keptTensor(tensor) ? reshapeKept(tensor, dims) : { ...tensor, dims };
};

const matrixDims = ([rows = 1, ...rest]: readonly number[]): number[] =>
  rest.length > 0 ? [rows, elementCount(rest)] : [1, rows];

const tensorsOf = ({ state, gradient }: DenseParameter): Record<string, HostTensor> => ({
  parameter: state.value,
  gradient,
  ...state.slots,
});

/**
 * Splits tensors of n elements into flat pieces. Returns one function per piece, which views that piece of a
 * tensor.
 */
function chunks(n: number): ((tensor: HostTensor) => HostTensor)[] {
  return Array.from({ length: Math.ceil(n / CHUNK_ELEMENTS) }, (_, i) => ({ dtype, data }) => {
    const piece = data.subarray(i * CHUNK_ELEMENTS, (i + 1) * CHUNK_ELEMENTS);
    return { dtype, dims: [piece.length], data: piece };
  });
}

const mapValues = <A, B>(record: Readonly<Record<string, A>>, f: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]));

const prefixKeys = <A>(prefix: string, record: Readonly<Record<string, A>>): Record<string, A> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [prefix + key, value]));

const fromNames = <A>(names: readonly string[], make: (name: string) => A): Record<string, A> =>
  Object.fromEntries(names.map((name) => [name, make(name)]));

/** Views `count` rows of a tensor from row `start` on, or as many as are left. */
function rowsOf({ dtype, dims, data }: HostTensor, start: number, count: number): HostTensor {
  const end = Math.min(dims[0]!, start + count);
  const width = dims.slice(1).reduce((product, size) => product * size, 1);
  return { dtype, dims: [end - start, ...dims.slice(1)], data: data.subarray(start * width, end * width) };
}
