import { add, gather, slice, unsqueeze } from '../../graph/ops.ts';
import { type Activation, activationNames } from '../../nn/activations.ts';
import { attentionBias } from '../../nn/attention.ts';
import { embeddingParameters, layerNormParameters } from '../../nn/parameters.ts';
import type { Architecture, TokenInputs } from './architecture.ts';
import { configFields } from './config-fields.ts';
import { type LayerNames, postNormEncoder, postNormParameters } from './post-norm.ts';

/** Fields of a DistilBERT `config.json`, under Hugging Face's names. */
export interface DistilBertConfig {
  model_type: 'distilbert';
  vocab_size: number;
  dim: number;
  n_layers: number;
  n_heads: number;
  hidden_dim: number;
  max_position_embeddings: number;
  activation: Activation;
  dropout: number;
}

const layer = (i: number) => `transformer.layer.${i}`;

const LAYER: LayerNames = {
  query: 'attention.q_lin',
  key: 'attention.k_lin',
  value: 'attention.v_lin',
  output: 'attention.out_lin',
  attentionNorm: 'sa_layer_norm',
  inner: 'ffn.lin1',
  outer: 'ffn.lin2',
  outerNorm: 'output_layer_norm',
};

/** Epsilon of the layer norms, which is not a field of the configuration. */
const EPSILON = 1e-12;

/**
 * DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT's blocks without token types.
 *
 *     embedded = words + positions
 *
 * Differences: there is dropout after the attention too, as in BERT. Sinusoidal positions are read from the
 * file like learned ones, and trained.
 */
export const distilbert: Architecture<DistilBertConfig> = {
  modelType: 'distilbert',
  headPrefix: 'distilbert.',
  specialTokens: true,
  tokenTypes: false,
  moduleClass: 'Transformer',

  huggingFaceFields: (config) => ({
    architectures: ['DistilBertModel'],
    attention_dropout: config.dropout,
    initializer_range: 0.02,
    sinusoidal_pos_embds: false,
  }),

  parseConfig(json, file) {
    const f = configFields(json, file);
    const dim = f.count('dim');
    return {
      model_type: 'distilbert',
      vocab_size: f.count('vocab_size'),
      dim,
      n_layers: f.layers('n_layers'),
      n_heads: f.heads('n_heads', 'dim'),
      hidden_dim: f.count('hidden_dim', 4 * dim),
      max_position_embeddings: f.count('max_position_embeddings', 512),
      activation: f.oneOf('activation', activationNames, 'gelu'),
      dropout: f.ratio('dropout', 0),
    };
  },

  hiddenSize: (config) => config.dim,
  maxTokens: (config) => config.max_position_embeddings,
  vocabSize: (config) => config.vocab_size,

  parameters: ({ vocab_size, max_position_embeddings, n_layers, dim, hidden_dim }) => [
    embeddingParameters('embeddings.word_embeddings', vocab_size, dim, { lookup: true }),
    embeddingParameters('embeddings.position_embeddings', max_position_embeddings, dim),
    ...layerNormParameters('embeddings.LayerNorm', dim),
    ...Array.from({ length: n_layers }, (_, i) =>
      postNormParameters(layer(i), LAYER, { hidden: dim, inner: hidden_dim }),
    ).flat(),
  ],

  forward(config, p, inputs, options) {
    const embedded = ({ ids }: TokenInputs) => {
      const positions = slice(p('embeddings.position_embeddings.weight'), { axis: 0, length: ids.shape[1]! });
      return add(gather(p('embeddings.word_embeddings.weight'), ids), unsqueeze(positions, 0));
    };
    return postNormEncoder(inputs, p, {
      embedded,
      layers: config.n_layers,
      layer,
      names: LAYER,
      heads: config.n_heads,
      epsilon: EPSILON,
      activation: config.activation,
      bias: ({ mask }) => attentionBias(mask),
      ...options,
    });
  },
};
