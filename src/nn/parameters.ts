import type { Graph } from '../graph/graph.ts';
import { gather } from '../graph/ops.ts';
import type { Tensor } from '../graph/tensor.ts';
import { elementCount } from '../onnx/dtypes.ts';
import { ShapeError } from '../util/errors.ts';
import { underPrefix } from '../util/prefixes.ts';
import { normal, rngKey, uniform } from '../util/rng.ts';

/** Distribution of the initial values of a parameter. */
export type Initializer =
  | { kind: 'normal'; deviation: number }
  /** Uniform from −bound to bound. */
  | { kind: 'uniform'; bound: number }
  | { kind: 'constant'; value: number };

/** Specification of one tensor of a model. */
export interface ParameterSpec {
  /** Name in the weight file: that of Hugging Face, if the architecture has one there. */
  readonly name: string;
  /** Shape of the tensor. */
  readonly shape: readonly number[];
  /** Distribution of the initial values. */
  readonly init: Initializer;
  /** Whether weight decay applies. It does not to biases, norms and temperatures. */
  readonly decay: boolean;
  /**
   * Marks an embedding table [V, D], of which a batch uses few rows. The value is the name of the graph input
   * with the row numbers, which tables of one vocabulary share: `ROWS_INPUT`, or `retriever/rows` for a model
   * with the prefix `retriever`. Default: no such table.
   *
   * A training step gathers the distinct rows of the batch once and differentiates with respect to them. The
   * optimizer updates only these rows.
   */
  readonly lookup?: string;
  /**
   * Layout, if the tensor is the matrix of a linear layer: [outputs, inputs] as in PyTorch's `Linear`, or
   * [inputs, outputs] as in GPT-2's `Conv1D`.
   */
  readonly linear?: 'outputs-inputs' | 'inputs-outputs';
  /**
   * Whether the tensor is not trained. Programs get it as an input without a gradient, and neither learner
   * nor checkpoint holds it. Default false.
   */
  readonly frozen?: boolean;
}

/** Returns a parameter by name. Forward functions of models get their parameters through this function. */
export type Parameters = (name: string) => Tensor;

/**
 * Name of the graph input with the distinct row numbers (i64) of the lookup tables that share a vocabulary.
 * Models with a prefix have it before this name.
 */
export const ROWS_INPUT = 'rows';

/** Returns whether a graph input of this name holds row numbers of lookup tables, with or without a prefix. */
export const isRowsInput = (name: string): boolean => name === ROWS_INPUT || name.endsWith(`/${ROWS_INPUT}`);

/** Graph in which a model is declared, and the prefix of the model in it. */
export interface GraphPlace {
  /** Graph that holds the model, perhaps beside others. */
  readonly graph: Graph;
  /** Prefix of the names of all inputs of the model, without the slash after it. Empty for no prefix. */
  readonly prefix: string;
}

/** Parameters of a graph, and the tensors to differentiate with respect to. */
export interface DeclaredParameters extends GraphPlace {
  /**
   * Returns a parameter by the model's own name for it, without the prefix.
   *
   * @throws ShapeError if there is no such parameter.
   */
  readonly get: Parameters;
  /**
   * Trained parameters by the names of their inputs, with the prefix: the input itself, or the gathered rows
   * [rows, D] of a lookup table.
   */
  readonly targets: ReadonlyMap<string, Tensor>;
}

/**
 * Declares every parameter as an input of the graph.
 *
 * A lookup table is an input too, but the model gets only its rows `ROWS_INPUT`. The token ids that are fed
 * to the model are therefore positions in that list of rows.
 *
 * @param options.prefix prefix of the names of all inputs, so that several models fit into one graph; default none
 * @throws ShapeError if the graph already has an input of such a name.
 */
export function declareParameters(
  graph: Graph,
  specs: readonly ParameterSpec[],
  { prefix = '' }: { prefix?: string } = {},
): DeclaredParameters {
  const rows = new Map<string, Tensor>();
  for (const { lookup } of specs) {
    if (!lookup || rows.has(lookup)) continue;
    rows.set(lookup, graph.input(underPrefix(prefix, lookup), 'i64', [dimUnderPrefix(prefix, lookup)]));
  }
  const all = new Map<string, Tensor>();
  const targets = new Map<string, Tensor>();
  for (const { name, shape, lookup, frozen } of specs) {
    const input = graph.input(underPrefix(prefix, name), 'f32', shape);
    const tensor = lookup ? gather(input, rows.get(lookup)!) : input;
    all.set(name, tensor);
    if (!frozen) targets.set(input.name, tensor);
  }
  const get = (name: string): Tensor => {
    const tensor = all.get(name);
    if (!tensor) throw new ShapeError(`no parameter "${name}"; there are ${[...all.keys()].join(', ')}`);
    return tensor;
  };
  return { graph, prefix, get, targets };
}

/** Renames specs as `declareParameters` names the inputs of a model with this prefix. */
export const prefixedSpecs = (prefix: string, specs: readonly ParameterSpec[]): ParameterSpec[] =>
  specs.map((spec) => ({
    ...spec,
    name: underPrefix(prefix, spec.name),
    ...(spec.lookup && { lookup: underPrefix(prefix, spec.lookup) }),
  }));

/**
 * Returns the name of a dimension that belongs to one model of a graph.
 *
 * @throws ShapeError if the prefix has characters that names of dimensions cannot have.
 */
export function dimUnderPrefix(prefix: string, name: string): string {
  if (!/^[\w./]*$/.test(prefix)) {
    throw new ShapeError(`the prefix "${prefix}" has characters that names of dimensions cannot have`, {
      help: 'use letters, digits, dots, underscores and slashes',
    });
  }
  return underPrefix(prefix, name).replaceAll('/', '.');
}

/**
 * Draws the initial value of a parameter. It depends on seed and name only, so models that share layers start
 * alike.
 */
export function initialValue(spec: ParameterSpec, seed: number): Float32Array<ArrayBuffer> {
  const data = new Float32Array(elementCount(spec.shape));
  if (spec.init.kind === 'constant') return data.fill(spec.init.value);
  const key = rngKey(seed, 0, `init/${spec.name}`);
  if (spec.init.kind === 'uniform') {
    const { bound } = spec.init;
    uniform(key, data);
    for (let i = 0; i < data.length; i++) data[i] = (2 * data[i]! - 1) * bound;
    return data;
  }
  normal(key, data);
  const { deviation } = spec.init;
  for (let i = 0; i < data.length; i++) data[i]! *= deviation;
  return data;
}

/** Number of numbers in the tensors of parameters. */
export const parameterCount = (specs: readonly Pick<ParameterSpec, 'shape'>[]): number =>
  specs.reduce((sum, { shape }) => sum + elementCount(shape), 0);

const weightInit: Initializer = { kind: 'normal', deviation: 0.02 };
const zeroInit: Initializer = { kind: 'constant', value: 0 };
const oneInit: Initializer = { kind: 'constant', value: 1 };

const biasParameter = (name: string, size: number): ParameterSpec => ({
  name: `${name}.bias`,
  shape: [size],
  init: zeroInit,
  decay: false,
});

/**
 * Declares a linear layer in PyTorch's layout: `name.weight` [outputs, inputs] and, by default, `name.bias`
 * [outputs].
 */
export const linearParameters = (
  name: string,
  inputs: number,
  outputs: number,
  { bias = true }: { bias?: boolean } = {},
): ParameterSpec[] => [
  {
    name: `${name}.weight`,
    shape: [outputs, inputs],
    init: weightInit,
    decay: true,
    linear: 'outputs-inputs',
  },
  ...(bias ? [biasParameter(name, outputs)] : []),
];

/** Declares a layer or RMS norm: `name.weight` [size] and, by default, `name.bias` [size]. */
export const layerNormParameters = (
  name: string,
  size: number,
  { bias = true }: { bias?: boolean } = {},
): ParameterSpec[] => [
  { name: `${name}.weight`, shape: [size], init: oneInit, decay: false },
  ...(bias ? [biasParameter(name, size)] : []),
];

/**
 * Declares an embedding table: `name.weight` [rows, size].
 *
 * @param options.lookup whether only the rows of a batch are gathered and updated, default false
 * @param options.deviation standard deviation of the initial values, default 0.02
 */
export const embeddingParameters = (
  name: string,
  rows: number,
  size: number,
  options: { lookup?: boolean; deviation?: number } = {},
): ParameterSpec => ({
  name: `${name}.weight`,
  shape: [rows, size],
  init: { kind: 'normal', deviation: options.deviation ?? 0.02 },
  decay: true,
  ...(options.lookup ? { lookup: ROWS_INPUT } : {}),
});
