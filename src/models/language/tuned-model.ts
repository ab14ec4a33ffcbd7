import type { Graph } from '../../graph/graph.ts';
import { type Adapter, withAdapters } from '../../nn/lora.ts';
import {
  type DeclaredParameters,
  declareParameters,
  initialValue,
  type ParameterSpec,
} from '../../nn/parameters.ts';
import { tunedParameters } from '../../nn/tuning.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { withAdapter } from '../retriever/stored-weights.ts';
import { planTuning, type TuningOptions } from '../retriever/tuning.ts';

/** Model that predicts tokens: a language model, a sequence-to-sequence model or a masked language model. */
export interface TunableModel {
  readonly specs: readonly ParameterSpec[];
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Name of the matrix [V, D] of the logits, which may be the table of tokens. */
  readonly logitMatrix: string;
}

/** Model of which a run trains the chosen parameters, or LoRA adapters beside its matrices. */
export class TunedModel<Model extends TunableModel> {
  /** Model whose weights are trained or adapted. */
  readonly model: Model;
  /** Parameters, adapters included; those that are not trained are marked as frozen. */
  readonly specs: readonly ParameterSpec[];
  /** Live weights by the names of `specs`: those of the model, and adapters. */
  readonly weights: Readonly<Record<string, HostTensor>>;
  /** Adapters by the name of the adapted matrix. */
  readonly adapters: ReadonlyMap<string, Adapter>;

  /**
   * @param options  parameters to train; `frozen` for none
   * @throws UsageError when a part or target names nothing (the message lists the known names), options contradict each other, or
   *   nothing is left to train
   */
  constructor(model: Model, options: TuningOptions | 'frozen' = {}) {
    const { seed = 0 } = options === 'frozen' ? {} : options;
    this.model = model;
    const plan =
      options === 'frozen'
        ? { frozen: new Set(model.specs.map(({ name }) => name)) }
        : planTuning({ specs: adaptable(model), fresh: new Set() }, options);
    const { specs, adapters } = tunedParameters(model.specs, plan);
    this.specs = specs;
    this.adapters = adapters;
    this.weights = Object.fromEntries(
      specs.map((spec) => [
        spec.name,
        model.weights[spec.name] ?? hostTensor('f32', spec.shape, initialValue(spec, seed)),
      ]),
    );
  }

  /** Declares all weights as inputs of a graph, and the trained ones as targets of differentiation. Matrices have their adapters. */
  declare(graph: Graph, options: { prefix?: string } = {}): DeclaredParameters {
    const declared = declareParameters(graph, this.specs, options);
    return { ...declared, get: withAdapters(declared.get, this.adapters) };
  }

  /** Returns the current weights of the model, with adapters added to their matrices. Other weights are the live arrays. */
  mergedWeights(): Record<string, HostTensor> {
    const { specs } = this.model;
    return Object.fromEntries(specs.map(({ name }) => [name, withAdapter(this, name)]));
  }
}

/** Parameters of a model; the matrix of the logits gets no adapter, as in peft. */
const adaptable = ({ specs, logitMatrix }: TunableModel): ParameterSpec[] =>
  specs.map((spec) => {
    if (spec.name !== logitMatrix) return spec;
    const { linear: _, ...plain } = spec;
    return plain;
  });
