import { multiplyDims } from '../../graph/dims.ts';
import { add, gather, gelu, geluTanh, relu, reshape, slice, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { attention, attentionBias } from '../../nn/attention.ts';
import { dropout, layerNorm, linear } from '../../nn/layers.ts';
import { embeddingParameters, layerNormParameters, linearParameters } from '../../nn/parameters.ts';
import { DataError } from '../../util/errors.ts';
import type { Architecture } from '../architecture.ts';
import { configFields } from '../config-fields.ts';

/** Fields of a BERT `config.json`, under Hugging Face's names. */
export interface BertConfig {
  model_type: 'bert';
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  max_position_embeddings: number;
  type_vocab_size: number;
  layer_norm_eps: number;
  hidden_act: 'gelu' | 'gelu_new' | 'relu';
  hidden_dropout_prob: number;
}

/** A wild number in a damaged file must not make a graph that fills the memory. */
const MOST_LAYERS = 1000;

const ACTIVATIONS = { gelu, gelu_new: geluTanh, relu } as const;

/**
 * BERT (Devlin et al. 2019, arXiv:1810.04805): learned positions, post-norm blocks, gelu.
 *
 *     h = norm(words + positions + type)
 *     h = norm(h + W_o attention(h));  h = norm(h + W_2 gelu(W_1 h))      for each layer
 *
 * Differs: no pooler (the pooling is the encoder's), no dropout of attention probabilities apart from the hidden one's rate.
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
    // Variants that go by the same name and would run, with other results.
    f.oneOf('position_embedding_type', ['absolute'], 'absolute');
    f.oneOf('is_decoder', [false], false);
    f.oneOf('add_cross_attention', [false], false);
    const hidden = f.count('hidden_size');
    const config: BertConfig = {
      model_type: 'bert',
      vocab_size: f.count('vocab_size'),
      hidden_size: hidden,
      num_hidden_layers: f.count('num_hidden_layers'),
      num_attention_heads: f.count('num_attention_heads'),
      intermediate_size: f.count('intermediate_size', 4 * hidden),
      max_position_embeddings: f.count('max_position_embeddings', 512),
      type_vocab_size: f.count('type_vocab_size', 2),
      layer_norm_eps: f.positive('layer_norm_eps', 1e-12),
      hidden_act: f.oneOf('hidden_act', ['gelu', 'gelu_new', 'relu'], 'gelu'),
      hidden_dropout_prob: f.ratio('hidden_dropout_prob', 0),
    };
    if (config.num_hidden_layers > MOST_LAYERS) {
      throw new DataError(`num_hidden_layers ${config.num_hidden_layers} is more than ${MOST_LAYERS}`, {
        file,
      });
    }
    if (hidden % config.num_attention_heads !== 0) {
      throw new DataError(
        `hidden_size ${hidden} is no multiple of num_attention_heads ${config.num_attention_heads}`,
        { file, help: 'each head gets an equal share of the hidden size' },
      );
    }
    return config;
  },

  hiddenSize: (config) => config.hidden_size,
  maxTokens: (config) => config.max_position_embeddings,
  vocabSize: (config) => config.vocab_size,

  parameters(config) {
    const { hidden_size: hidden, intermediate_size: inner } = config;
    const layer = (i: number) => `encoder.layer.${i}`;
    return [
      embeddingParameters('embeddings.word_embeddings', config.vocab_size, hidden, { lookup: true }),
      embeddingParameters('embeddings.position_embeddings', config.max_position_embeddings, hidden),
      embeddingParameters('embeddings.token_type_embeddings', config.type_vocab_size, hidden),
      ...layerNormParameters('embeddings.LayerNorm', hidden),
      ...Array.from({ length: config.num_hidden_layers }, (_, i) => [
        ...linearParameters(`${layer(i)}.attention.self.query`, hidden, hidden),
        ...linearParameters(`${layer(i)}.attention.self.key`, hidden, hidden),
        ...linearParameters(`${layer(i)}.attention.self.value`, hidden, hidden),
        ...linearParameters(`${layer(i)}.attention.output.dense`, hidden, hidden),
        ...layerNormParameters(`${layer(i)}.attention.output.LayerNorm`, hidden),
        ...linearParameters(`${layer(i)}.intermediate.dense`, hidden, inner),
        ...linearParameters(`${layer(i)}.output.dense`, inner, hidden),
        ...layerNormParameters(`${layer(i)}.output.LayerNorm`, hidden),
      ]).flat(),
    ];
  },

  forward(config, p, { ids, mask, types }, options) {
    const { graph } = ids;
    const [batch, tokens] = ids.shape as [string, string];
    const hidden = config.hidden_size;
    const norm = (x: Tensor, name: string) => layerNorm(x, p, name, config.layer_norm_eps);
    const activation = ACTIVATIONS[config.hidden_act];
    const drop = (x: Tensor, site: string) =>
      dropout(x, options.dropout, { site, perText: [tokens, hidden] });

    let h = graph.scope('embeddings', () => {
      const words = gather(p('embeddings.word_embeddings.weight'), ids);
      const positions = slice(p('embeddings.position_embeddings.weight'), { axis: 0, length: tokens });
      const segments = p('embeddings.token_type_embeddings.weight');
      const sum = types
        ? add(add(words, gather(segments, types)), unsqueeze(positions, 0))
        : add(words, unsqueeze(add(positions, slice(segments, { axis: 0, length: 1 })), 0));
      return drop(
        norm(reshape(sum, [multiplyDims(batch, tokens), hidden]), 'embeddings.LayerNorm'),
        'embeddings',
      );
    });
    const texts = (rows: Tensor) => reshape(rows, [batch, tokens, hidden]);
    options.onLayer?.(texts(h));
    const bias = attentionBias(mask);
    for (let i = 0; i < config.num_hidden_layers; i++) {
      const name = `encoder.layer.${i}`;
      h = graph.scope(`layer.${i}`, () => {
        const self = `${name}.attention.self`;
        const [query, key, value] = ['query', 'key', 'value'].map((part) => linear(h, p, `${self}.${part}`));
        const attended = attention(query!, key!, value!, {
          batch,
          tokens,
          heads: config.num_attention_heads,
          bias,
          site: self,
          dropout: options.dropout,
        });
        const mixed = drop(linear(attended, p, `${name}.attention.output.dense`), `${name}.attention.output`);
        const h1 = norm(add(mixed, h), `${name}.attention.output.LayerNorm`);
        const inner = activation(linear(h1, p, `${name}.intermediate.dense`));
        const outer = drop(linear(inner, p, `${name}.output.dense`), `${name}.output`);
        return norm(add(outer, h1), `${name}.output.LayerNorm`);
      });
      options.onLayer?.(texts(h));
    }
    return { kind: 'tokens', hidden: texts(h) };
  },
};
