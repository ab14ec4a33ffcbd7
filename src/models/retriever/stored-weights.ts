import { type Adapter, adaptedWeight } from '../../nn/lora.ts';
import { float32, type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { EncoderWeights } from '../architectures/architecture.ts';
import type { Encoder } from './encoder.ts';
import type { Side } from './side.ts';

/** Encoders of the two sides with their weights, such as a retriever. */
interface SideEncoders {
  readonly encoder: Encoder;
  /** Weights by name, under the prefix of their side. */
  readonly weights: EncoderWeights;
  /** Adapters by the name of the adapted matrix. */
  readonly adapters: ReadonlyMap<string, Adapter>;
  /** Prefix of the names of a side's weights. */
  prefix(side: Side): string;
}

/**
 * Returns the weights of one side under the encoder's own names, in the form that is stored, hashed and
 * exported: adapters are added to their matrices. Weights that were neither added to nor folded are views of
 * the live arrays.
 *
 * @param options.fold  whether to fold what can be folded, which rounds. Default true
 */
export function storedWeights(
  retriever: SideEncoders,
  side: Side,
  { fold = true }: { readonly fold?: boolean | undefined } = {},
): EncoderWeights {
  const { encoder } = retriever;
  const prefix = retriever.prefix(side);
  const weights = Object.fromEntries(
    encoder.specs.map(({ name }) => [name, withAdapter(retriever, `${prefix}/${name}`)]),
  );
  return fold ? encoder.fold(weights) : weights;
}

/**
 * Tells whether the stored encoder has only weights that other programs know. This fails for a static encoder
 * whose token weights could not be folded.
 */
export function hasOnlyPlainWeights(
  retriever: SideEncoders,
  side: Side,
  options: { readonly fold?: boolean | undefined } = {},
): boolean {
  const names = Object.keys(storedWeights(retriever, side, options));
  return names.every((name) => !retriever.encoder.isFoldable(name));
}

/** Returns a weight with its adapter added; the live array itself where there is none. */
export function withAdapter(
  { weights, adapters }: Pick<SideEncoders, 'weights' | 'adapters'>,
  name: string,
): HostTensor {
  const weight = weights[name]!;
  const adapter = adapters.get(name);
  if (!adapter) return weight;
  const [a, b] = [weights[adapter.a]!, weights[adapter.b]!];
  const parts = { a: float32(a, adapter.a), b: float32(b, adapter.b) };
  return hostTensor(
    'f32',
    weight.dims,
    adaptedWeight(float32(weight, name), parts, { rank: a.dims[0]!, adapter }),
  );
}
