import type { Pooling } from '../../nn/layers.ts';
import type { Tokenizer } from '../../text/tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { projectionTo } from './encoder.ts';
import { Retriever, type RetrieverConfig } from './retriever.ts';

/** Settings of {@link createRetriever}. */
export interface NewRetrieverOptions {
  /** Kind of encoder. `static`: a bag of subword vectors. `transformer`: a BERT. */
  kind: 'static' | 'transformer';
  /** Tokenizer, whose vocabulary the embedding table must cover. */
  tokenizer: Tokenizer;
  /** Size of token vectors and, without a projection, of the embedding, ≥ 1. Default 256. */
  hidden?: number;
  /** Number of layers of a transformer, ≥ 1. Default 2. A static encoder has none. */
  layers?: number;
  /**
   * Number of attention heads of a transformer, ≥ 1. Default: heads of 32 dimensions, or of 64 above a hidden
   * size of 384.
   */
  heads?: number;
  /** Size inside the feed-forward part of a transformer's layers, ≥ 1. Default 4 · hidden. */
  intermediate?: number;
  /** Rows of the embedding table. Default: the tokenizer's vocabulary. */
  vocabSize?: number;
  /** Longest query, in tokens, special tokens included. Default 32. */
  maxQueryTokens?: number;
  /** Longest document, in tokens, special tokens included. Default 256 for `static`, 128 for `transformer`. */
  maxDocTokens?: number;
  /** Pooling of token vectors. Default `mean`. */
  pooling?: Pooling;
  /** Normalise vectors to unit length. Default true. */
  normalize?: boolean;
  /** Size of a linear map after pooling. Default none. */
  projectionSize?: number;
  /** Whether queries and documents share an encoder. Default `shared`. */
  towers?: RetrieverConfig['towers'];
  /** Texts to put before every query and document. Default ''. */
  prompts?: Partial<RetrieverConfig['prompts']>;
  /**
   * Dropout rate of a transformer's hidden states in training, as written to its config.json, in [0, 1).
   * Default 0.
   */
  dropout?: number;
  /** Seed of the initial weights. Default 0. */
  seed?: number;
}

const TRANSFORMER_ONLY = ['heads', 'intermediate', 'dropout'] as const;

/**
 * Creates a retriever with initial weights.
 *
 * @throws UsageError when an option has an impossible value, or options contradict each other
 */
export function createRetriever(options: NewRetrieverOptions): Retriever {
  const { kind, tokenizer, pooling = 'mean', normalize = true, towers = 'shared', seed = 0 } = options;
  const { hidden = 256, vocabSize = tokenizer.vocabSize, projectionSize } = options;
  const { maxQueryTokens = 32, maxDocTokens = kind === 'static' ? 256 : 128 } = options;
  const counts = { hidden, vocabSize, projectionSize, maxQueryTokens, maxDocTokens };
  for (const [name, value] of Object.entries(counts)) requireCount(name, value);
  if (kind !== 'static' && kind !== 'transformer') {
    throw new UsageError(`unknown kind of model "${String(kind)}"`, { help: 'use static or transformer' });
  }
  const maxTokens = { query: maxQueryTokens, document: maxDocTokens };
  const model = kind === 'static' ? bag(options, hidden) : bert(options, { hidden, pooling, maxTokens });
  return new Retriever(
    {
      encoder: {
        model: { ...model, vocab_size: vocabSize },
        pooling,
        normalize,
        ...projectionTo(projectionSize),
      },
      towers,
      prompts: { query: '', document: '', ...options.prompts },
      maxTokens,
    },
    tokenizer,
    { seed },
  );
}

interface Sizes {
  hidden: number;
  pooling: Pooling;
  maxTokens: RetrieverConfig['maxTokens'];
}

function bert(options: NewRetrieverOptions, { hidden, pooling, maxTokens }: Sizes) {
  const { layers = 2, heads = defaultHeads(hidden), intermediate = 4 * hidden, dropout = 0 } = options;
  for (const [name, value] of Object.entries({ layers, heads, intermediate })) requireCount(name, value);
  if (hidden % heads !== 0) {
    throw new UsageError(`a hidden size of ${hidden} cannot be shared by ${heads} heads`, {
      help: `use a number of heads that divides ${hidden}`,
    });
  }
  if (!(dropout >= 0 && dropout < 1)) throw new UsageError(`dropout must be in [0, 1), found ${dropout}`);
  const special = options.tokenizer.wrapperTokens;
  if (pooling === 'cls' && special === 0) {
    throw new UsageError("cls pooling takes a text's first special token, and this tokenizer adds none", {
      help: 'use mean pooling, or a tokenizer with a template such as [CLS] … [SEP]',
    });
  }
  for (const [side, tokens] of [
    ['queries', maxTokens.query],
    ['documents', maxTokens.document],
  ] as const) {
    if (tokens <= special) {
      throw new UsageError(
        `${side} of ${tokens} tokens have no room for text beside ${special} special tokens`,
        {
          help: `use ${special + 1} or more`,
        },
      );
    }
  }
  return {
    model_type: 'bert',
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: intermediate,
    // No more positions than texts can have: vectors of unused positions would never be trained.
    max_position_embeddings: Math.max(maxTokens.query, maxTokens.document),
    hidden_dropout_prob: dropout,
  };
}

function bag(options: NewRetrieverOptions, hidden: number) {
  const foreign = TRANSFORMER_ONLY.find((name) => options[name]);
  if (foreign) {
    throw new UsageError(`a static encoder has no ${foreign}`, {
      help: `leave it out, or use ${option('model', 'transformer')}`,
    });
  }
  return { model_type: 'undrift-static', hidden_size: hidden };
}

function defaultHeads(hidden: number): number {
  const sizes = hidden > 384 ? [64, 32] : [32, 64];
  const size = sizes.find((each) => hidden % each === 0);
  if (size) return hidden / size;
  if (hidden < 32) return 1;
  throw new UsageError(`a hidden size of ${hidden} is no multiple of 32`, {
    help: 'use a multiple of 32, or say the number of heads',
  });
}

function requireCount(name: string, value: number | undefined): void {
  if (value === undefined || (Number.isSafeInteger(value) && value > 0)) return;
  throw new UsageError(`${name} must be a whole number ≥ 1, found ${value}`);
}
