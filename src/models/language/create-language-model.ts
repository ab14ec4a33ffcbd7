import { initialValue } from '../../nn/parameters.ts';
import { hostTensor } from '../../runtime/host-tensor.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { Decoder, type ModelConfig } from './decoder.ts';
import { LanguageModel } from './language-model.ts';

/** Architectures of new language models. */
export const NEW_LANGUAGE_MODELS = ['llama', 'gpt2'] as const;
/** Architecture of a new language model. */
export type NewLanguageModel = (typeof NEW_LANGUAGE_MODELS)[number];

/** Settings of {@link createLanguageModel}. */
export interface NewLanguageModelOptions {
  /** Architecture. `llama`: rotary positions, RMS norms, gated feed-forward part. `gpt2`: learned positions, layer norms. */
  kind: NewLanguageModel;
  /** Tokenizer, whose vocabulary the embedding table covers. */
  tokenizer: Tokenizer;
  /** Width of the hidden states, ≥ 1. Default 256. */
  hidden?: number | undefined;
  /** Number of layers, ≥ 1. Default 6. */
  layers?: number | undefined;
  /** Number of attention heads, which divides `hidden`. Default: heads of 32 dimensions, or of 64 from a width of 512 on. */
  heads?: number | undefined;
  /** Number of heads of keys and values of a `llama`, which divides `heads`. Default `heads`. */
  keyHeads?: number | undefined;
  /** Width inside the feed-forward part, ≥ 1. Default: 8/3 of `hidden` for `llama`, in multiples of 32; 4 · `hidden` for `gpt2`. */
  intermediate?: number | undefined;
  /** Longest sequence, in tokens, ≥ 2. Default 256. */
  maxTokens?: number | undefined;
  /** Whether the matrix of the logits is the table of token embeddings. Default true. */
  tied?: boolean | undefined;
  /** Seed of the initial weights. Default 0. */
  seed?: number | undefined;
}

/**
 * Creates a language model with initial weights.
 *
 * @throws UsageError for an option with an impossible value, and for options that contradict each other
 */
export function createLanguageModel(options: NewLanguageModelOptions): LanguageModel {
  const { kind, tokenizer, hidden = 256, layers = 6, maxTokens = 256, tied = true, seed = 0 } = options;
  if (!(NEW_LANGUAGE_MODELS as readonly string[]).includes(kind)) {
    throw new UsageError(`unknown architecture "${String(kind)}"`, {
      help: `new language models are ${NEW_LANGUAGE_MODELS.join(' or ')}`,
    });
  }
  const { heads = defaultHeads(hidden), keyHeads = heads } = options;
  const { intermediate = kind === 'llama' ? 32 * Math.ceil(hidden / 12) : 4 * hidden } = options;
  for (const [name, value] of Object.entries({ hidden, layers, heads, keyHeads, intermediate })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new UsageError(`${name} should be a whole number of at least 1, found ${value}`);
  }
  if (!(Number.isSafeInteger(maxTokens) && maxTokens >= 2))
    throw new UsageError(`maxTokens should be a whole number of at least 2, found ${maxTokens}`);
  checkHeads({ kind, hidden, heads, keyHeads });
  const { bos, eos } = tokenizer.specialIds;
  const shared = {
    vocab_size: tokenizer.vocabSize,
    tie_word_embeddings: tied,
    ...(bos !== undefined && { bos_token_id: bos }),
    ...(eos !== undefined && { eos_token_id: eos }),
  };
  const config: ModelConfig =
    kind === 'llama'
      ? {
          model_type: 'llama',
          ...shared,
          hidden_size: hidden,
          num_hidden_layers: layers,
          num_attention_heads: heads,
          num_key_value_heads: keyHeads,
          intermediate_size: intermediate,
          max_position_embeddings: maxTokens,
          rms_norm_eps: 1e-5,
        }
      : {
          model_type: 'gpt2',
          ...shared,
          n_embd: hidden,
          n_layer: layers,
          n_head: heads,
          n_inner: intermediate,
          n_positions: maxTokens,
        };
  const decoder = new Decoder(config);
  const weights = Object.fromEntries(
    decoder.specs.map((spec) => [spec.name, hostTensor('f32', spec.shape, initialValue(spec, seed))]),
  );
  return new LanguageModel(decoder, tokenizer, weights);
}

function defaultHeads(hidden: number): number {
  const sizes = hidden >= 512 ? [64, 32] : [32, 64];
  const size = sizes.find((each) => hidden % each === 0);
  if (size !== undefined) return hidden / size;
  if (hidden < 32) return 1;
  throw new UsageError(`a width of ${hidden} is no multiple of 32`, {
    help: `use a multiple of 32, or give the number of heads: ${option('heads')}`,
  });
}

function checkHeads({
  kind,
  hidden,
  heads,
  keyHeads,
}: {
  kind: NewLanguageModel;
  hidden: number;
  heads: number;
  keyHeads: number;
}): void {
  if (hidden % heads !== 0) {
    throw new UsageError(`a width of ${hidden} cannot be shared by ${heads} heads`, {
      help: `use a number of heads that divides ${hidden}`,
    });
  }
  if (kind === 'gpt2' && keyHeads !== heads) {
    throw new UsageError(
      `gpt2 has as many heads of keys as of queries, ${heads}: ${option('keyHeads', keyHeads)} is for llama`,
    );
  }
  if (heads % keyHeads !== 0) {
    throw new UsageError(
      `${keyHeads} heads of keys and values cannot serve ${heads} heads of queries equally`,
      {
        help: `use a number that divides ${heads}`,
      },
    );
  }
  if (kind === 'llama' && (hidden / heads) % 2 !== 0) {
    throw new UsageError(`heads of ${hidden / heads} dimensions: rotary positions turn pairs of them`, {
      help: `use a number of heads for which ${hidden} / heads is even`,
    });
  }
}
