import { backward } from '../grad/backward.ts';
import type { Tensor } from '../graph/tensor.ts';
import { isRowsInput } from '../nn/parameters.ts';
import { takePrefix } from '../util/prefixes.ts';
import type { HostTensor } from './host-tensor.ts';

/** Gradients of one step. Parameters have the names of the step's graph, with the prefixes of their models. */
export interface Gradients {
  /** Gradients by parameter name: f32 of the parameter's shape, or f32[U, D] for a lookup table. */
  readonly byName: Readonly<Record<string, HostTensor>>;
  /**
   * Distinct table rows of the gradients of lookup tables, i64[U], by the name of the graph input that was fed
   * with them (`ParameterSpec.lookup`): `rows`, or `retriever/rows` for a model with a prefix. Empty if no
   * parameter is a lookup table.
   */
  readonly rows: Readonly<Record<string, HostTensor>>;
}

/** Use of memory by a gradient. */
export interface GradientMemory {
  /** Whether the activations of each layer are computed again for the gradient rather than kept. Results do not change. Default false. */
  readonly gradientCheckpointing?: boolean | undefined;
}

/** Name of the program output that holds the gradient of a parameter. */
export const gradientOutput = (parameter: string): string => `gradient/${parameter}`;

/**
 * Differentiates a loss with respect to the parameters of one or several models, and declares the gradients as
 * outputs of the graph. `gradientsIn` collects them when the program has run.
 *
 * @param loss f32[]
 * @param memory says whether activations of layers are computed again
 * @param targets trained parameters of each model, as its `declare` returns them
 */
export function outputGradients(
  loss: Tensor,
  { gradientCheckpointing: checkpointing }: GradientMemory,
  ...targets: readonly ReadonlyMap<string, Tensor>[]
): void {
  const all = targets.flatMap((each) => [...each]);
  const gradients = backward(
    loss,
    all.map(([, tensor]) => tensor),
    { checkpointing },
  );
  for (const [i, [name]] of all.entries()) loss.graph.output(gradientOutput(name), gradients[i]!);
}

/**
 * Collects the gradients among the outputs of a program.
 *
 * @param outputs outputs of a program with the outputs that `outputGradients` declares
 * @param feeds inputs of the same run, among which are the row numbers of lookup tables
 */
export const gradientsIn = (
  outputs: Readonly<Record<string, HostTensor>>,
  feeds: Readonly<Record<string, HostTensor>>,
): Gradients => ({
  byName: takePrefix(gradientOutput(''), outputs),
  rows: Object.fromEntries(Object.entries(feeds).filter(([name]) => isRowsInput(name))),
});
