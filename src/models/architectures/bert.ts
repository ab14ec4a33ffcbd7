import { add, gather, slice, unsqueeze } from '../../graph/ops.ts';
import { attentionBias } from '../../nn/attention.ts';
import { embeddingParameters, layerNormParameters, type ParameterSpec } from '../../nn/parameters.ts';
import type { Architecture, TokenInputs } from './architecture.ts';
import { configFields } from './config-fields.ts';
import {
  type LayerNames,
  type PostNormConfig,
  postNormConfig,
  postNormEncoder,
  postNormParameters,
} from './post-norm.ts';

/** Fields of a BERT `config.json`, under Hugging Face's names. */
export interface BertConfig extends PostNormConfig {
  model_type: 'bert';
  type_vocab_size: number;
}

const layer = (i: number) => `encoder.layer.${i}`;

/** Names of the parts of a BERT layer. */
export const BERT_LAYER: LayerNames = {
  query: 'attention.self.query',
  key: 'attention.self.key',
  value: 'attention.self.value',
  output: 'attention.output.dense',
  attentionNorm: 'attention.output.LayerNorm',
  inner: 'intermediate.dense',
  outer: 'output.dense',
  outerNorm: 'output.LayerNorm',
};

/** Lists the parameters of BERT, which RoBERTa shares. */
export function bertParameters(config: PostNormConfig & { type_vocab_size: number }): ParameterSpec[] {
  const { hidden_size: hidden, intermediate_size: inner } = config;
  return [
    embeddingParameters('embeddings.word_embeddings', config.vocab_size, hidden, { lookup: true }),
    embeddingParameters('embeddings.position_embeddings', config.max_position_embeddings, hidden),
    embeddingParameters('embeddings.token_type_embeddings', config.type_vocab_size, hidden),
    ...layerNormParameters('embeddings.LayerNorm', hidden),
    ...Array.from({ length: config.num_hidden_layers }, (_, i) =>
      postNormParameters(layer(i), BERT_LAYER, { hidden, inner }),
    ).flat(),
  ];
}

/**
 * BERT (Devlin et al. 2019, arXiv:1810.04805): learned positions, token types, post-norm blocks, gelu.
 *
 *     embedded = words + positions + type
 *
 * Differences: there is no pooler, because pooling is part of the encoder, and attention probabilities have
 * the dropout rate of hidden states.
 */
export const bert: Architecture<BertConfig> = {
  modelType: 'bert',
  headPrefix: 'bert.',
  specialTokens: true,
  tokenTypes: true,
  moduleClass: 'Transformer',

  huggingFaceFields: (config) => ({
    architectures: ['BertModel'],
    attention_probs_dropout_prob: config.hidden_dropout_prob,
    initializer_range: 0.02,
    position_embedding_type: 'absolute',
  }),

  parseConfig(json, file) {
    const f = configFields(json, file);
    return { model_type: 'bert', ...postNormConfig(f), type_vocab_size: f.count('type_vocab_size', 2) };
  },

  hiddenSize: (config) => config.hidden_size,
  maxTokens: (config) => config.max_position_embeddings,
  vocabSize: (config) => config.vocab_size,

  parameters: bertParameters,

  forward(config, p, inputs, options) {
    const embedded = ({ ids, types }: TokenInputs) => {
      const words = gather(p('embeddings.word_embeddings.weight'), ids);
      const positions = slice(p('embeddings.position_embeddings.weight'), { axis: 0, length: ids.shape[1]! });
      const segments = p('embeddings.token_type_embeddings.weight');
      return types
        ? add(add(words, gather(segments, types)), unsqueeze(positions, 0))
        : add(words, unsqueeze(add(positions, slice(segments, { axis: 0, length: 1 })), 0));
    };
    return postNormEncoder(inputs, p, {
      embedded,
      layers: config.num_hidden_layers,
      layer,
      names: BERT_LAYER,
      heads: config.num_attention_heads,
      epsilon: config.layer_norm_eps,
      activation: config.hidden_act,
      bias: ({ mask }) => attentionBias(mask),
      ...options,
    });
  },
};
