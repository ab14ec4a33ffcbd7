import { add, gather, slice, unsqueeze } from '../../graph/ops.ts';
import { attentionBias } from '../../nn/attention.ts';
import { embeddingParameters, layerNormParameters } from '../../nn/parameters.ts';
import { relativeBias } from '../../nn/relative-bias.ts';
import { DataError } from '../../util/errors.ts';
import type { Architecture, TokenInputs } from './architecture.ts';
import { configFields } from './config-fields.ts';
import {
  checkPositions,
  type LayerNames,
  type PostNormConfig,
  postNormConfig,
  postNormEncoder,
  postNormParameters,
} from './post-norm.ts';

/** Fields of an MPNet `config.json`, under Hugging Face's names. */
export interface MpnetConfig extends PostNormConfig {
  model_type: 'mpnet';
  relative_attention_num_buckets: typeof BUCKETS;
}

const layer = (i: number) => `encoder.layer.${i}`;

const LAYER: LayerNames = {
  query: 'attention.attn.q',
  key: 'attention.attn.k',
  value: 'attention.attn.v',
  output: 'attention.attn.o',
  attentionNorm: 'attention.LayerNorm',
  inner: 'intermediate.dense',
  outer: 'output.dense',
  outerNorm: 'output.LayerNorm',
};

const RELATIVE_BIAS = 'encoder.relative_attention_bias';

/** Position of the first token; earlier positions belong to padding. */
const FIRST_POSITION = 2;

/** Number of buckets, which is fixed in the code of transformers whatever the configuration says. */
const BUCKETS = 32;

const DISTANCES = { buckets: BUCKETS, maxDistance: 128, bidirectional: true };

/**
 * MPNet (Song et al. 2020, arXiv:2004.09297): BERT's blocks without token types. Each head has a learned bias
 * for the distance between two tokens, shared by all layers, as in T5 (Raffel et al. 2020, arXiv:1910.10683).
 *
 *     embedded_t = words_t + positions_{2 + t}
 *     scores_{q,k} = … + R[bucket(k − q)]
 *
 * Difference: transformers numbers only tokens other than the padding token, so results differ for texts that
 * contain the padding token.
 */
export const mpnet: Architecture<MpnetConfig> = {
  modelType: 'mpnet',
  headPrefix: 'mpnet.',
  specialTokens: true,
  tokenTypes: false,
  moduleClass: 'Transformer',

  huggingFaceFields: (config) => ({
    architectures: ['MPNetModel'],
    attention_probs_dropout_prob: config.hidden_dropout_prob,
    initializer_range: 0.02,
  }),

  parseConfig(json, file) {
    const f = configFields(json, file);
    const buckets = f.count('relative_attention_num_buckets', BUCKETS);
    if (buckets !== BUCKETS) {
      throw new DataError(`relative_attention_num_buckets ${buckets} is not supported`, {
        file,
        help: `it must be ${BUCKETS}: transformers computes with that number whatever the file says`,
      });
    }
    const config = {
      model_type: 'mpnet' as const,
      ...postNormConfig(f),
      relative_attention_num_buckets: BUCKETS as typeof BUCKETS,
    };
    checkPositions(config, FIRST_POSITION, file);
    return config;
  },

  hiddenSize: (config) => config.hidden_size,
  maxTokens: (config) => config.max_position_embeddings - FIRST_POSITION,
  vocabSize: (config) => config.vocab_size,

  parameters(config) {
    const { hidden_size: hidden, intermediate_size: inner } = config;
    return [
      embeddingParameters('embeddings.word_embeddings', config.vocab_size, hidden, { lookup: true }),
      embeddingParameters('embeddings.position_embeddings', config.max_position_embeddings, hidden),
      ...layerNormParameters('embeddings.LayerNorm', hidden),
      ...Array.from({ length: config.num_hidden_layers }, (_, i) =>
        postNormParameters(layer(i), LAYER, { hidden, inner }),
      ).flat(),
      embeddingParameters(RELATIVE_BIAS, BUCKETS, config.num_attention_heads),
    ];
  },

  forward(config, p, inputs, options) {
    const embedded = ({ ids }: TokenInputs) => {
      const [axis, start, length] = [0, FIRST_POSITION, ids.shape[1]!];
      const positions = slice(p('embeddings.position_embeddings.weight'), { axis, start, length });
      return add(gather(p('embeddings.word_embeddings.weight'), ids), unsqueeze(positions, 0));
    };
    return postNormEncoder(inputs, p, {
      embedded,
      layers: config.num_hidden_layers,
      layer,
      names: LAYER,
      heads: config.num_attention_heads,
      epsilon: config.layer_norm_eps,
      activation: config.hidden_act,
      bias: ({ ids, mask }) =>
        add(relativeBias(p(`${RELATIVE_BIAS}.weight`), ids.shape[1]!, DISTANCES), attentionBias(mask)),
      ...options,
    });
  },
};
