import { initialValue } from '../../nn/parameters.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { MaskedLanguageModel } from './masked-language-model.ts';
import { MaskedNetwork } from './masked-network.ts';

/** Settings of {@link createMaskedLanguageModel}. */
export interface NewMaskedLanguageModelOptions {
  /** Tokenizer with a token for masks, whose vocabulary the embedding table covers. */
  tokenizer: Tokenizer;
  /** Width of the hidden states, ≥ 1. Default 256. */
  hidden?: number | undefined;
  /** Number of layers, ≥ 1. Default 4. */
  layers?: number | undefined;
  /** Number of attention heads, which divides `hidden`. Default: heads of 64 dimensions where they divide `hidden`, else of 32, or else one head. */
  heads?: number | undefined;
  /** Width inside the feed-forward parts, ≥ 1. Default 4 · `hidden`. */
  intermediate?: number | undefined;
  /** Longest sequence, in tokens, ≥ 3. Default 256. */
  maxTokens?: number | undefined;
  /** Seed of the initial weights. Default 0. */
  seed?: number | undefined;
}

/**
 * Creates a BERT with a head for masked tokens, with initial weights.
 *
 * @throws UsageError for an option with an impossible value, and for a tokenizer without a token for masks
 */
export function createMaskedLanguageModel(options: NewMaskedLanguageModelOptions): MaskedLanguageModel {
  const { tokenizer, hidden = 256, layers = 4, maxTokens = 256, seed = 0 } = options;
  const size = [64, 32].find((each) => hidden % each === 0) ?? hidden;
  const { heads = hidden / size, intermediate = 4 * hidden } = options;
  for (const [name, value] of Object.entries({ hidden, layers, heads, intermediate })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new UsageError(`${name} should be a whole number of at least 1, found ${value}`);
  }
  if (!(Number.isSafeInteger(maxTokens) && maxTokens >= 3))
    throw new UsageError(`maxTokens should be a whole number of at least 3, found ${maxTokens}`);
  if (hidden % heads !== 0) {
    throw new UsageError(`a width of ${hidden} cannot be shared by ${heads} heads`, {
      help: `use a number that divides ${hidden}: ${option('heads', 1)}`,
    });
  }
  const network = new MaskedNetwork({
    model_type: 'bert',
    vocab_size: tokenizer.vocabSize,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: intermediate,
    max_position_embeddings: maxTokens,
  });
  const weights = Object.fromEntries(
    network.specs.map((spec) => [spec.name, hostTensor('f32', spec.shape, initialValue(spec, seed))]),
  );
  return new MaskedLanguageModel(network, tokenizer, weights);
}
