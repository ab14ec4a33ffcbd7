import { initialValue, type ParameterSpec } from '../../nn/parameters.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { ShapeError } from '../../util/errors.ts';
import type { Encoder } from './encoder.ts';
import type { RetrieverConfig } from './retriever-options.ts';

/** Lists the prefixes of the weights' names. */
const prefixes = (config: RetrieverConfig): string[] =>
  config.towers === 'shared' ? ['encoder'] : ['query', 'document'];

/** Lists the encoder's parameters under their names in each tower. */
export const parameters = (config: RetrieverConfig, encoder: Encoder): ParameterSpec[] =>
  prefixes(config).flatMap((prefix) =>
    encoder.specs.map((spec) => ({ ...spec, name: `${prefix}/${spec.name}` })),
  );

/**
 * Returns a weight as given, or its initial value. Both towers of a separate pair start equal, as copies of
 * one encoder do.
 */
export function checkedWeight(spec: ParameterSpec, given: HostTensor | undefined, seed: number): HostTensor {
  if (!given) {
    const own = { ...spec, name: spec.name.slice(spec.name.indexOf('/') + 1) };
    return hostTensor('f32', spec.shape, initialValue(own, seed));
  }
  if (
    given.dtype !== 'f32' ||
    given.dims.length !== spec.shape.length ||
    given.dims.some((d, i) => d !== spec.shape[i])
  ) {
    throw new ShapeError(
      `weight ${spec.name} must be f32[${spec.shape.join(', ')}], is ${given.dtype}[${given.dims.join(', ')}]`,
      { help: 'config.json and model.safetensors come from different models' },
    );
  }
  return given;
}
