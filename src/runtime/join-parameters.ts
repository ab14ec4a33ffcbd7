import { type ParameterSpec, prefixedSpecs } from '../nn/parameters.ts';
import { UsageError } from '../util/errors.ts';
import { underPrefix } from '../util/prefixes.ts';
import type { HostTensor } from './host-tensor.ts';

/** Parameters of a model, as a `Learner` takes them. A `Retriever`, a `LanguageModel` and a `Temperature` are such models. */
export interface ModelParameters {
  /** Specifications of all parameters. */
  readonly specs: readonly ParameterSpec[];
  /** Values by the names of the specs. A learner updates these arrays in place. */
  readonly weights: Readonly<Record<string, HostTensor>>;
}

/**
 * Joins the parameters of several models, so that one `Learner` updates them all.
 *
 * Each name begins with the prefix of its model, as in a graph in which the model was declared with this prefix.
 *
 *     const joint = joinParameters({ reader, retriever });
 *     const learner = await Learner.create(joint.specs, joint.weights, adamw());
 *
 *     const read = reader.declare(graph, { prefix: 'reader' });
 *     const found = retriever.declare(graph, { prefix: 'retriever' });
 *     outputGradients(loss, compute, read.targets, found.targets);
 *
 *     const outputs = await program.run({ ...joint.weights, ...feeds }, { into: learner.gradientBuffers });
 *     await learner.apply(gradientsIn(outputs, feeds), update);
 *
 * @param models models by prefix; the prefix '' leaves names as they are
 * @returns specs and weights of all models; the tensors are the models' own, not copies
 * @throws UsageError if two parameters would have the same name.
 */
export function joinParameters(models: Readonly<Record<string, ModelParameters>>): ModelParameters {
  const specs: ParameterSpec[] = [];
  const weights: Record<string, HostTensor> = {};
  for (const [prefix, model] of Object.entries(models)) {
    specs.push(...prefixedSpecs(prefix, model.specs));
    for (const [name, tensor] of Object.entries(model.weights)) {
      const joined = underPrefix(prefix, name);
      if (weights[joined]) {
        throw new UsageError(`two models have a parameter "${joined}"`, {
          help: 'give each model a prefix of its own',
        });
      }
      weights[joined] = tensor;
    }
  }
  return { specs, weights };
}
