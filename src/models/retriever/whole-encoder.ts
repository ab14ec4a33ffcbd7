import { Graph } from '../../graph/graph.ts';
import { cast } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import type { EncoderWeights, FoldedParameters } from '../architectures/architecture.ts';
import type { Encoder } from './encoder.ts';
import type { PaddedTokens } from './token-feeds.ts';

/**
 * Name of the input i64[batch] with the number of tokens at the beginning of each text that pooling leaves out: the
 * prompt and the special tokens before it.
 */
export const PROMPT_LENGTH = 'prompt_length';

/**
 * Builds an encoder as a graph that holds its weights as constants.
 *
 *     inputs    input_ids, attention_mask, and token_type_ids where the encoder reads it: i64[batch, sequence]
 *               prompt_length where the pooling leaves out the prompt: i64[batch], the number of tokens of the prompt
 *     outputs   last_hidden_state    f32[batch, sequence, hidden size], where the encoder has one vector for each token
 *               sentence_embedding   f32[batch, D]: pooled, projected and normalised, as `Retriever.encode` gives it
 *
 * Token ids are rows of the whole table.
 *
 * @param name name of the graph
 * @param weights weights in the form that is stored (`storedWeights`)
 * @param options.tokens whether there is an output `last_hidden_state`
 */
export function wholeEncoder(
  name: string,
  encoder: Encoder,
  weights: EncoderWeights,
  { tokens }: { readonly tokens: boolean },
): Graph {
  const graph = new Graph(name);
  const shape = ['batch', 'sequence'];
  const ids = graph.input('input_ids', 'i64', shape);
  const mask = cast(graph.input('attention_mask', 'i64', shape), 'f32');
  const types = encoder.tokenTypes ? graph.input('token_type_ids', 'i64', shape) : undefined;

  const constants = new Map<string, Tensor>();
  const parameters: FoldedParameters = (name) => {
    const weight = weights[name];
    if (!weight) return undefined;
    const { dtype, dims, data } = weight;
    const made = constants.get(name) ?? graph.constant(dtype, dims, data, name);
    constants.set(name, made);
    return made;
  };
  const unpooled =
    encoder.config.includePrompt === false ? graph.input(PROMPT_LENGTH, 'i64', ['batch']) : undefined;
  const { hidden, embedding } = encoder.infer(parameters, {
    ids,
    mask,
    ...(types && { types }),
    ...(unpooled && { unpooled }),
  });
  if (hidden && tokens) graph.output('last_hidden_state', hidden);
  graph.output('sentence_embedding', embedding);

  return graph;
}

/**
 * Makes the inputs that `wholeEncoder` can have, for a padded batch, by name. Each is made when it is called for.
 *
 * @param unpooled number of tokens at the beginning of the texts that pooling leaves out
 */
export function wholeEncoderFeeds(
  { ids, mask, batch, tokens }: PaddedTokens,
  unpooled: number,
): Readonly<Record<string, () => HostTensor>> {
  const i64 = (values: ArrayLike<number>) =>
    hostTensor(
      'i64',
      [batch, tokens],
      BigInt64Array.from({ length: batch * tokens }, (_, i) => BigInt(values[i]!)),
    );
  return {
    input_ids: () => i64(ids),
    attention_mask: () => i64(mask),
    token_type_ids: () => i64(new Int32Array(batch * tokens)),
    [PROMPT_LENGTH]: () => hostTensor('i64', [batch], new BigInt64Array(batch).fill(BigInt(unpooled))),
  };
}
