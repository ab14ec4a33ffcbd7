import type { EncoderWeights } from './architecture.ts';
import type { Retriever, Side } from './retriever.ts';

/**
 * The weights of one side under the encoder's own names, in the form in which they are stored, hashed and exported. Views of
 * the live arrays, where nothing was folded.
 */
export function storedWeights(retriever: Retriever, side: Side): EncoderWeights {
  const { encoder, weights } = retriever;
  const prefix = retriever.prefix(side);
  return encoder.fold(
    Object.fromEntries(encoder.specs.map(({ name }) => [name, weights[`${prefix}/${name}`]!])),
  );
}

/** Whether a bag of tokens is a plain mean in its stored form: then other programs have the same encoder. */
export function hasOnlyPlainWeights(retriever: Retriever, side: Side): boolean {
  return Object.keys(storedWeights(retriever, side)).every((name) => !retriever.encoder.isFoldable(name));
}
