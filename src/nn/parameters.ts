import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { elementCount } from '../onnx/dtypes.ts';
import { ShapeError } from '../util/errors.ts';
import { normal, rngKey, uniform } from '../util/rng.ts';

/** How a fresh parameter is filled. */
export type Initializer =
  | { kind: 'normal'; deviation: number }
  /** From −bound to bound. */
  | { kind: 'uniform'; bound: number }
  | { kind: 'constant'; value: number };

/** One tensor of a model that can be trained. */
export interface ParameterSpec {
  /** Name in the weight file: Hugging Face's, where the architecture has one. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly init: Initializer;
  /** Whether weight decay applies: not to biases, norms and temperatures. */
  readonly decay: boolean;
  /**
   * An embedding table [V, D], of which a batch touches few rows: a training step gathers the batch's distinct rows once,
   * differentiates with respect to those, and the optimizer updates only them.
   */
  readonly lookup?: boolean;
  /** The matrix of a linear layer, and how it lies: PyTorch's `Linear` is [outputs, inputs], GPT-2's `Conv1D` [inputs, outputs]. */
  readonly linear?: 'outputs-inputs' | 'inputs-outputs';
  /** Stays what it is: programs get it as an input without a gradient, and neither learner nor checkpoint holds it. */
  readonly frozen?: boolean;
}

/** Parameters by name, as a model's forward function asks for them. */
export type Parameters = (name: string) => Tensor;

/** Name of the graph input with the distinct row numbers (i64) of the lookup tables that share a vocabulary. */
export const ROWS_INPUT = 'rows';

/** Parameters as graph tensors: inputs to feed, and the tensors to differentiate with respect to. */
export interface DeclaredParameters {
  readonly get: Parameters;
  /** Of those that are trained, by name: the input itself, or the gathered rows [rows, D] of a lookup table. */
  readonly targets: ReadonlyMap<string, Tensor>;
}

/**
 * Declares every parameter as an input of the graph. A lookup table is an input too, but what the model sees are its rows
 * `ROWS_INPUT`, so token ids fed to the model are positions in that list.
 */
export function declareParameters(
  graph: Graph,
  specs: readonly ParameterSpec[],
  gatherRows: (table: Tensor) => Tensor,
): DeclaredParameters {
  const all = new Map<string, Tensor>();
  const targets = new Map<string, Tensor>();
  for (const { name, shape, lookup, frozen } of specs) {
    const input = graph.input(name, 'f32', shape);
    const tensor = lookup ? gatherRows(input) : input;
    all.set(name, tensor);
    if (!frozen) targets.set(name, tensor);
  }
  const get = (name: string): Tensor => {
    const tensor = all.get(name);
    if (!tensor) throw new ShapeError(`no parameter "${name}"; there are ${[...all.keys()].join(', ')}`);
    return tensor;
  };
  return { get, targets };
}

/** A fresh value. Depends on the seed and the parameter's name only, so models that share layers start alike. */
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

const weightInit: Initializer = { kind: 'normal', deviation: 0.02 };
const zeroInit: Initializer = { kind: 'constant', value: 0 };
const oneInit: Initializer = { kind: 'constant', value: 1 };

const biasParameter = (name: string, size: number): ParameterSpec => ({
  name: `${name}.bias`,
  shape: [size],
  init: zeroInit,
  decay: false,
});

/** `name.weight` [outputs, inputs] and, unless it has none, `name.bias` [outputs], as PyTorch lays them out. */
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

/** `name.weight` [size] of a layer or RMS norm and, unless it has none, `name.bias`. */
export const layerNormParameters = (
  name: string,
  size: number,
  { bias = true }: { bias?: boolean } = {},
): ParameterSpec[] => [
  { name: `${name}.weight`, shape: [size], init: oneInit, decay: false },
  ...(bias ? [biasParameter(name, size)] : []),
];

/** `name.weight` [rows, size]. */
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
  ...(options.lookup ? { lookup: true } : {}),
});
