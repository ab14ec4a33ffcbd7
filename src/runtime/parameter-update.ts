import { Graph } from '../graph/graph.ts';
import { add, expand, fill, gather, matmul, scatterAdd, unsqueeze } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Optimizer, StepNumbers } from '../optim/optimizer.ts';
import type { ComputeOptions } from './devices.ts';
import { float32, type HostTensor, scalarTensor, zeros } from './host-tensor.ts';
import { Program } from './program.ts';
import { RowBuffer } from './row-buffer.ts';

/** A parameter with its optimizer state, in this process's memory. */
export interface ParameterState {
  readonly value: HostTensor;
  readonly slots: Readonly<Record<string, HostTensor>>;
}

/** A parameter that is updated as a whole, and its gradient. */
export interface DenseParameter {
  readonly state: ParameterState;
  readonly gradient: HostTensor;
}

/**
 * Runs an optimizer over parameters. The formula is elementwise, so one program over a flat vector f32[n] serves every
 * parameter of every model, long ones piece by piece and short ones together.
 *
 * Parameter and state are written in place: the program reads each of them once, before the last operation that writes the
 * buffer, in whatever order the runtime takes the nodes. `learner.test.ts` holds it to that.
 */
export class ParameterUpdate {
  private readonly optimizer: Optimizer;
  private readonly programs: Readonly<Record<keyof typeof GRAPHS, Program>>;
  /** By output and width of the table. */
  private readonly rowBuffers = new Map<string, RowBuffer>();
  /** By number of elements: memory in which short parameters stand one after another. */
  private readonly joined = new Map<number, DenseParameter>();

  private constructor(optimizer: Optimizer, programs: Record<keyof typeof GRAPHS, Program>) {
    this.optimizer = optimizer;
    this.programs = programs;
  }

  static async compile(optimizer: Optimizer, options: ComputeOptions): Promise<ParameterUpdate> {
    const programs: Partial<Record<keyof typeof GRAPHS, Program>> = {};
    for (const name of Object.keys(GRAPHS) as (keyof typeof GRAPHS)[]) {
      programs[name] = await Program.compile(GRAPHS[name](optimizer), options);
    }
    return new ParameterUpdate(optimizer, programs as Record<keyof typeof GRAPHS, Program>);
  }

  /** Updates parameters in place that share a step's numbers, weight decay among them. */
  async applyAll(parameters: readonly DenseParameter[], step: StepNumbers): Promise<void> {
    for (const { state, gradient } of parameters) {
      if (!isShort(gradient)) await this.apply(state, gradient, step);
    }
    const short = parameters.filter(({ gradient }) => isShort(gradient)).map(tensorsOf);
    const joined = this.joinedOf(short.reduce((sum, { gradient }) => sum + gradient!.data.length, 0));
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
    for (const part of chunks(gradient.data.length)) {
      const parameter = part(state.value);
      const slots = mapValues(state.slots, part);
      const into = { 'next/parameter': parameter, ...prefixKeys('next/', slots) };
      await this.programs.dense.run({ parameter, gradient: part(gradient), ...slots, ...scalars }, { into });
    }
  }

  /**
   * Updates only some rows of a table [V, D], parameter and state (lazy Adam: rows that a batch does not touch keep their
   * moments, and decay only when touched).
   *
   * @param rows  i64[U], distinct;  @param gradient  f32[U, D]
   */
  async applyRows(
    state: ParameterState,
    rows: HostTensor,
    gradient: HostTensor,
    step: StepNumbers,
  ): Promise<void> {
    const scalars = this.scalars(step);
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

  /** total += gradient, in place. */
  async accumulate(total: HostTensor, gradient: HostTensor): Promise<void> {
    for (const part of chunks(gradient.data.length)) {
      const feeds = { total: part(total), gradient: part(gradient) };
      await this.programs.accumulate.run(feeds, { into: { 'next/total': feeds.total } });
    }
  }

  /** The sum of two gradients of table rows, over the union of their rows: f32[rows, D]. */
  async mergeRows(union: RowUnion, a: HostTensor, b: HostTensor): Promise<HostTensor> {
    const feeds = { a, b, rows: union.rows, placesA: union.placesA, placesB: union.placesB };
    return (await this.programs.mergeRows.run(feeds)).total!;
  }

  /** Σ g², whose root is the norm; not finite when any element is not, or has a square that f32 cannot hold. */
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

  async dispose(): Promise<void> {
    for (const program of Object.values(this.programs)) await program.dispose();
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

const GRAPHS = {
  dense: denseGraph,
  rows: rowsGraph,
  accumulate: accumulationGraph,
  mergeRows: mergeRowsGraph,
  squaredNorm: squaredNormGraph,
} as const;

function denseGraph(optimizer: Optimizer): Graph {
  const graph = new Graph(`${optimizer.id}/dense`);
  return update(graph, optimizer, ['n'], ['n'], (state) => state);
}

function rowsGraph(optimizer: Optimizer): Graph {
  const graph = new Graph(`${optimizer.id}/rows`);
  const rows = graph.input('rows', 'i64', ['rows']);
  return update(graph, optimizer, ['vocabulary', 'width'], ['rows', 'width'], (state) => gather(state, rows));
}

function update(
  graph: Graph,
  optimizer: Optimizer,
  stateShape: string[],
  gradientShape: string[],
  pick: (state: Tensor) => Tensor,
): Graph {
  const parameter = pick(graph.input('parameter', 'f32', stateShape));
  const gradient = graph.input('gradient', 'f32', gradientShape);
  const slots = fromNames(optimizer.slots, (slot) => pick(graph.input(slot, 'f32', stateShape)));
  const scalars = fromNames(optimizer.scalars, (name) => graph.input(name, 'f32', []));
  const next = optimizer.update({ parameter, gradient, slots }, scalars);
  graph.output('next/parameter', next.parameter);
  for (const [slot, tensor] of Object.entries(next.slots)) graph.output(`next/${slot}`, tensor);
  return graph;
}

function accumulationGraph(): Graph {
  const graph = new Graph('accumulate');
  const total = graph.input('total', 'f32', ['n']);
  graph.output('next/total', add(total, graph.input('gradient', 'f32', ['n'])));
  return graph;
}

function squaredNormGraph(): Graph {
  const graph = new Graph('squared-norm');
  // As products of vectors it is one pass over memory, with nothing written.
  const rows = unsqueeze(graph.input('gradient', 'f32', ['rows', 'n']), 1);
  graph.output('squared', matmul(rows, rows, { transB: true }));
  return graph;
}

function mergeRowsGraph(): Graph {
  const graph = new Graph('merge-rows');
  graph.input('rows', 'i64', ['rows']);
  const parts = ['a', 'b'].map((name) => {
    const values = graph.input(name, 'f32', [`${name}Rows`, 'width']);
    const places = graph.input(`places${name.toUpperCase()}`, 'i64', [`${name}Rows`]);
    return { values, places: expand(unsqueeze(places, 1), values.shape) };
  });
  const total = parts.reduce(
    (sum, { values, places }) => scatterAdd(sum, places, values, { axis: 0 }),
    fill(graph, 0, ['rows', 'width']),
  );
  graph.output('total', total);
  return graph;
}

/** The distinct rows of two row lists, and where the rows of each are in it. All i64. */
export interface RowUnion {
  readonly rows: HostTensor;
  readonly placesA: HostTensor;
  readonly placesB: HostTensor;
}

export function unionOfRows(a: HostTensor, b: HostTensor): RowUnion {
  const places = new Map<bigint, bigint>();
  const locate = (tensor: HostTensor): HostTensor => {
    const located = (tensor.data as BigInt64Array).map((row) => {
      const known = places.get(row) ?? BigInt(places.size);
      places.set(row, known);
      return known;
    });
    return { dtype: 'i64', dims: tensor.dims, data: located };
  };
  const [placesA, placesB] = [locate(a), locate(b)];
  return {
    rows: { dtype: 'i64', dims: [places.size], data: BigInt64Array.from(places.keys()) },
    placesA,
    placesB,
  };
}

/**
 * Elements of a parameter that are updated in one run: its dozen passes over temporaries stay in the cores' caches, and there
 * are enough of them to be worth a run. Ten million elements on two cores: 36 ms by 2¹⁷, 29 by 2¹⁸, 31 by 2¹⁹, 85 by 2²².
 */
const CHUNK_ELEMENTS = 2 ** 18;

/** Rows into which a gradient is cut for its norm: threads take whole rows, and short sums round less than long ones. */
const NORM_ROWS = 16;

/**
 * Elements up to which a tensor does not get a run of its own: a run takes 45 µs even for one element. Of the reference encoder's
 * 100 dense parameters 63 are short, biases and norms, and have 0.3 % of the elements.
 */
const SHORT_ELEMENTS = 2 ** 12;

const isShort = ({ data }: HostTensor): boolean => data.length <= SHORT_ELEMENTS;

const tensorsOf = ({ state, gradient }: DenseParameter): Record<string, HostTensor> => ({
  parameter: state.value,
  gradient,
  ...state.slots,
});

/** Cuts tensors of n elements into flat pieces: functions that give a tensor's piece, a view of its memory. */
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

/** `count` rows of a tensor from `start` on, or what is left: a view of its memory. */
function rowsOf({ dtype, dims, data }: HostTensor, start: number, count: number): HostTensor {
  const end = Math.min(dims[0]!, start + count);
  const width = dims.slice(1).reduce((product, size) => product * size, 1);
  return { dtype, dims: [end - start, ...dims.slice(1)], data: data.subarray(start * width, end * width) };
}
