import { type Adapter, loraParameters } from './lora.ts';
import type { ParameterSpec } from './parameters.ts';

/** Parameters that a training run updates, if not all, by the names of a model's weights; see `planTuning`. */
export interface Tuning {
  /** Names of parameters that are not updated. */
  readonly frozen: ReadonlySet<string>;
  /** Matrices that get a LoRA adapter, with its rank and α. */
  readonly lora?: { readonly rank: number; readonly alpha: number; readonly weights: ReadonlySet<string> };
}

/** Parameters of a model of which a run trains a part. */
export interface TunedParameters {
  /** Parameters of the model, with those that are not trained marked as frozen, and after them those of the adapters. */
  readonly specs: readonly ParameterSpec[];
  /** Adapters by the name of the adapted matrix. */
  readonly adapters: ReadonlyMap<string, Adapter>;
}

/** Marks the frozen parameters of a model, and adds those of its adapters. */
export function tunedParameters(
  specs: readonly ParameterSpec[],
  tuning: Tuning | undefined,
): TunedParameters {
  const own = specs.map(
    (spec): ParameterSpec => ({ ...spec, ...(tuning?.frozen.has(spec.name) && { frozen: true }) }),
  );
  const { lora } = tuning ?? {};
  const adapted = own.flatMap((spec) =>
    lora?.weights.has(spec.name) ? [{ of: spec.name, ...loraParameters(spec, lora) }] : [],
  );
  return {
    specs: [...own, ...adapted.flatMap((each) => each.specs)],
    adapters: new Map(adapted.map(({ of, adapter }) => [of, adapter])),
  };
}
