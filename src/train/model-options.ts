import { POOLINGS } from '../nn/layers.ts';
import type { OptionTable } from '../util/option-table.ts';

/**
 * Options of the shape of a new model. A given model keeps its own shape, except for towers, pooling, normalisation and
 * projection.
 */
export const MODEL_OPTIONS = {
  /** Width of a new model, in dimensions: embedding size for `static` (default 512), hidden size for `transformer` (default 256). */
  hidden: {
    type: 'integer',
    min: 1,
    max: 16_384,
    defaultHelp: '512 for static, 256 for transformer',
    help: 'width of a new model',
    group: 'Model',
    aliases: ['hidden_size', 'word_embedding_dimension'],
  },
  /** Layers of a new transformer. Default 2. */
  layers: {
    type: 'integer',
    min: 1,
    max: 256,
    default: 2,
    help: 'transformer: layers',
    group: 'Model',
    aliases: ['num_hidden_layers'],
  },
  /** Attention heads of a new transformer. Default: heads of 32 dimensions; of 64 dimensions above a hidden size of 384. */
  heads: {
    type: 'integer',
    min: 1,
    max: 1024,
    defaultHelp: '32 dimensions each, above a hidden size of 384 64 each',
    help: 'transformer: attention heads; their number must divide --hidden',
    group: 'Model',
    aliases: ['num_attention_heads'],
  },
  /** Whether queries and documents share one encoder or have one each. Default: as a given model says, `shared` for a new one. */
  towers: {
    type: 'choice',
    choices: ['shared', 'separate'],
    defaultHelp: 'as the model says, shared for a new one',
    help: 'one encoder for queries and documents, or one for each',
    group: 'Model',
  },
  /** Rule by which the vectors of a text's tokens become one. Default: as a given model says, `mean` for a new one. */
  pooling: {
    type: 'choice',
    choices: POOLINGS,
    defaultHelp: 'as the model says, mean for a new one',
    help: "how the vectors of a text's tokens become one",
    group: 'Model',
    aliases: ['pooling_mode'],
  },
  /** Whether embeddings are scaled to length one, so that scores are cosines. Default: as a given model says, true for a new one. */
  normalize: {
    type: 'switch',
    negative: true,
    help: 'do not scale embeddings to length one: scores are then dot products, not cosines',
    group: 'Model',
    aliases: ['normalize_embeddings'],
  },
  /** Output size of a linear projection after the pooling, in dimensions. Default: no projection. */
  projection: {
    type: 'integer',
    min: 1,
    max: 16_384,
    defaultHelp: 'no projection',
    help: 'output size of a linear projection after the pooling',
    group: 'Model',
    aliases: ['out_features', 'embeddingSize', 'embedding_size'],
  },
} as const satisfies OptionTable;

/** Options of how a model reads texts. */
export const TEXT_OPTIONS = {
  /** Path of the `tokenizer.json` of a new model. Default: a vocabulary is trained on the data. */
  tokenizer: {
    type: 'text',
    value: 'file',
    defaultHelp: 'a vocabulary is trained on the data',
    help: 'tokenizer.json of a new model',
    group: 'Text',
    aliases: ['tokenizer_name_or_path'],
  },
  /** Kind of vocabulary to train. Default `wordpiece`. */
  vocabulary: {
    type: 'choice',
    choices: ['wordpiece', 'bpe'],
    default: 'wordpiece',
    help: 'kind of vocabulary that is trained',
    group: 'Text',
  },
  /** Largest number of tokens of a trained vocabulary. Default 4096 for `static`, 8192 for `transformer`. */
  vocabSize: {
    type: 'integer',
    min: 64,
    max: 1_000_000,
    defaultHelp: '4096 for static, 8192 for transformer',
    help: 'tokens of a trained vocabulary, at most',
    group: 'Text',
    aliases: ['vocab_size', 'vocabularySize'],
  },
  /** Largest length of a query, in tokens; longer queries are truncated. Default: as a given model says, 64 for a new one. */
  maxQueryTokens: {
    type: 'integer',
    min: 1,
    max: 65_536,
    defaultHelp: '64 for a new model',
    help: 'truncate queries to n tokens',
    group: 'Text',
    aliases: ['maxQueryLength', 'query_max_len'],
  },
  /**
   * Largest length of a document, in tokens; longer documents are truncated. Default: as a given model says; for a new one 256
   * (`static`) or 128.
   */
  maxDocTokens: {
    type: 'integer',
    min: 1,
    max: 65_536,
    defaultHelp: '256 for static, 128 for transformer',
    help: 'truncate documents to n tokens',
    group: 'Text',
    aliases: [
      'max_seq_length',
      'maxSeqLength',
      'max_length',
      'maxLength',
      'passage_max_len',
      'maxDocumentTokens',
    ],
  },
  /** Text put before every query, such as `"query: "`. Default: as a given model says, none for a new one. */
  queryPrompt: {
    type: 'text',
    help: 'text put before every query, such as "query: "',
    group: 'Text',
    aliases: ['prompts', 'query_instruction'],
  },
  /** Text put before every document. Default: as a given model says, none for a new one. */
  docPrompt: {
    type: 'text',
    help: 'text put before every document',
    group: 'Text',
    aliases: ['documentPrompt', 'passage_instruction'],
  },
} as const satisfies OptionTable;
