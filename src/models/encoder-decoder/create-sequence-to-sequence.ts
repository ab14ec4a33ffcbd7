import { initialValue } from '../../nn/parameters.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { EncoderDecoder } from './encoder-decoder.ts';
import { SequenceToSequenceModel } from './sequence-to-sequence.ts';

/** Feed-forward parts of new sequence-to-sequence models: gated as in T5 1.1, or plain as in T5 1.0. */
export const FEED_FORWARDS = ['gated-gelu', 'relu'] as const;

/** Settings of {@link createSequenceToSequence}. */
export interface NewSequenceToSequenceOptions {
  /** Tokenizer, whose vocabulary the embedding table covers. */
  tokenizer: Tokenizer;
  /** Width of the hidden states, ≥ 1. Default 256. */
  hidden?: number | undefined;
  /** Number of layers of the encoder, ≥ 1. Default 4. */
  layers?: number | undefined;
  /** Number of layers of the decoder, ≥ 1. Default `layers`. */
  decoderLayers?: number | undefined;
  /** Number of attention heads, ≥ 1. Default: heads of 64 dimensions where they divide `hidden`, else of 32, or else one head. */
  heads?: number | undefined;
  /** Size of a head, ≥ 1. Default `hidden` / `heads`, rounded up. */
  headSize?: number | undefined;
  /** Width inside the feed-forward parts, ≥ 1. Default: 8/3 of `hidden` in multiples of 32 if gated, else 4 · `hidden`. */
  intermediate?: number | undefined;
  /** Feed-forward part. Default `gated-gelu`. */
  feedForward?: (typeof FEED_FORWARDS)[number] | undefined;
  /** Whether the matrix of the logits is the table of token embeddings. Default true. */
  tied?: boolean | undefined;
  /** Seed of the initial weights. Default 0. */
  seed?: number | undefined;
}

/**
 * Creates a T5 with initial weights. Targets begin after the tokenizer's padding token, or else its start or end token.
 *
 * @throws UsageError for an option with an impossible value, and for a tokenizer without an end token
 */
export function createSequenceToSequence(options: NewSequenceToSequenceOptions): SequenceToSequenceModel {
  const { tokenizer, hidden = 256, layers = 4, feedForward = 'gated-gelu', tied = true, seed = 0 } = options;
  if (!FEED_FORWARDS.includes(feedForward)) {
    throw new UsageError(`feedForward: unknown kind ${JSON.stringify(feedForward)}`, {
      help: `use ${FEED_FORWARDS.join(' or ')}`,
    });
  }
  const { decoderLayers = layers, heads = defaultHeads(hidden) } = options;
  const { headSize = Math.ceil(hidden / heads) } = options;
  const { intermediate = feedForward === 'relu' ? 4 * hidden : 32 * Math.ceil(hidden / 12) } = options;
  for (const [name, value] of Object.entries({
    hidden,
    layers,
    decoderLayers,
    heads,
    headSize,
    intermediate,
  })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new UsageError(`${name} should be a whole number of at least 1, found ${value}`);
  }
  const { bos, eos, pad, sep } = tokenizer.specialIds;
  const end = eos ?? sep;
  if (end === undefined) {
    throw new UsageError('the tokenizer has no end token, with which targets end', {
      help: 'use a tokenizer with a token </s>, <|endoftext|> or [SEP]',
    });
  }
  const network = new EncoderDecoder({
    model_type: 't5',
    vocab_size: tokenizer.vocabSize,
    d_model: hidden,
    d_kv: headSize,
    d_ff: intermediate,
    num_layers: layers,
    num_decoder_layers: decoderLayers,
    num_heads: heads,
    feed_forward_proj: feedForward,
    tie_word_embeddings: tied,
    decoder_start_token_id: pad ?? bos ?? end,
  });
  const weights = Object.fromEntries(
    network.specs.map((spec) => [spec.name, hostTensor('f32', spec.shape, initialValue(spec, seed))]),
  );
  return new SequenceToSequenceModel(network, tokenizer, weights, { endIds: [end] });
}

const defaultHeads = (hidden: number): number => {
  const size = [64, 32].find((each) => hidden % each === 0);
  return size === undefined ? 1 : hidden / size;
};
