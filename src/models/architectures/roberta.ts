import { add, gather, slice, unsqueeze } from '../../graph/ops.ts';
import { attentionBias } from '../../nn/attention.ts';
import type { Architecture, TokenInputs } from './architecture.ts';
import { BERT_LAYER, bertParameters } from './bert.ts';
import { configFields } from './config-fields.ts';
import { checkPositions, type PostNormConfig, postNormConfig, postNormEncoder } from './post-norm.ts';

/** Fields of a RoBERTa `config.json`, under Hugging Face's names. */
export interface RobertaConfig<Type extends string> extends PostNormConfig {
  model_type: Type;
  type_vocab_size: number;
  /** Id of the padding token; positions of texts begin after this number. */
  pad_token_id: number;
}

const layer = (i: number) => `encoder.layer.${i}`;

/**
 * Makes RoBERTa (Liu et al. 2019, arXiv:1907.11692): BERT's blocks and names. Positions begin after the
 * padding token's id P, and there is one token type:
 *
 *     embedded_t = words_t + positions_{P + 1 + t} + type_0
 *
 * Difference: transformers numbers only tokens other than the padding token, so results differ for texts that
 * contain the padding token.
 */
export const robertaAs = <Type extends string>(
  modelType: Type,
  modelClass: string,
): Architecture<RobertaConfig<Type>> => ({
  modelType,
  headPrefix: 'roberta.',
  specialTokens: true,
  tokenTypes: false,
  moduleClass: 'Transformer',

  huggingFaceFields: (config) => ({
    architectures: [modelClass],
    attention_probs_dropout_prob: config.hidden_dropout_prob,
    initializer_range: 0.02,
    position_embedding_type: 'absolute',
  }),

  parseConfig(json, file) {
    const f = configFields(json, file);
    const config = {
      model_type: modelType,
      ...postNormConfig(f),
      type_vocab_size: f.count('type_vocab_size', 2),
      pad_token_id: f.index('pad_token_id', 1),
    };
    checkPositions(config, config.pad_token_id + 1, file);
    return config;
  },

  hiddenSize: (config) => config.hidden_size,
  maxTokens: (config) => config.max_position_embeddings - config.pad_token_id - 1,
  vocabSize: (config) => config.vocab_size,

  parameters: bertParameters,

  forward(config, p, inputs, options) {
    const embedded = ({ ids }: TokenInputs) => {
      const words = gather(p('embeddings.word_embeddings.weight'), ids);
      const start = config.pad_token_id + 1;
      const positions = slice(p('embeddings.position_embeddings.weight'), {
        axis: 0,
        start,
        length: ids.shape[1]!,
      });
      const type = slice(p('embeddings.token_type_embeddings.weight'), { axis: 0, length: 1 });
      return add(words, unsqueeze(add(positions, type), 0));
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
});

/** RoBERTa (Liu et al. 2019, arXiv:1907.11692). */
export const roberta = robertaAs('roberta', 'RobertaModel');
