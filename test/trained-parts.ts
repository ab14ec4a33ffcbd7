import { float32, type HostTensor } from '../src/runtime/host-tensor.ts';
import { normal, rngKey } from '../src/util/rng.ts';

/** Language model with parts that were added to it. */
interface WithParts {
  readonly wing: { readonly specs: readonly { readonly name: string }[] };
  readonly weights: Readonly<Record<string, HostTensor>>;
}

/** Sets the weights that RETRO or RPT adds to random values, as training would. */
export function trainedParts<Model extends WithParts>(model: Model): Model {
  for (const { name } of model.wing.specs) {
    const data = float32(model.weights[name]);
    normal(rngKey(5, 0, name), data);
    for (let i = 0; i < data.length; i++) data[i]! *= 0.5;
  }
  return model;
}
