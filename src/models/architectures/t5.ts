import { multiplyDims } from '../../graph/dims.ts';
import { add, concat, gather, max, mul, reshape, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { attendTo, attentionBias, attentionBiasOfPairs, splitHeads } from '../../nn/attention.ts';
import { dropout, linear, rmsNorm } from '../../nn/layers.ts';
import {
  embeddingParameters,
  layerNormParameters,
  linearParameters,
  type ParameterSpec,
  type Parameters,
} from '../../nn/parameters.ts';
import { type DistanceBuckets, relativeBias, relativeBiasBetween } from '../../nn/relative-bias.ts';
import { TextRows } from '../../nn/text-rows.ts';
import { DataError, UndriftError } from '../../util/errors.ts';
import type { Architecture, CrossDecoder, ForwardOptions, Hidden, TokenInputs } from './architecture.ts';
import { configFields } from './config-fields.ts';
import { attendedIn, seenBias } from './direction.ts';
import { partInputs } from './layer-states.ts';
import { readMemory } from './read-memory.ts';

/** Fields of a T5 `config.json`, under Hugging Face's names. */
export interface T5Config {
  model_type: 't5';
  vocab_size: number;
  d_model: number;
  /** Size of a head, not necessarily d_model / num_heads. */
  d_kv: number;
  d_ff: number;
  /** Number of layers of the encoder. */
  num_layers: number;
  num_decoder_layers: number;
  num_heads: number;
  relative_attention_num_buckets: number;
  relative_attention_max_distance: number;
  layer_norm_epsilon: number;
  /** `relu` or another activation function, or `gated-` before one. */
  feed_forward_proj: string;
  /** Whether the matrix of the logits is the table of token embeddings. */
  tie_word_embeddings: boolean;
  /** Whether states are multiplied by d_model^−1/2 before the logits. */
  scale_decoder_outputs: boolean;
  decoder_start_token_id: number;
}

type Side = 'encoder' | 'decoder';

const TABLE = 'shared';

/** Name of a part of a layer. Decoders have cross-attention between self-attention and the feed-forward part. */
const part = (side: Side, layer: number, number: 0 | 1 | 2): string =>
  `${side}.block.${layer}.layer.${number}`;

const feedForwardPart = (side: Side, layer: number): string => part(side, layer, side === 'encoder' ? 1 : 2);

const biasName = (side: Side): string => `${part(side, 0, 0)}.SelfAttention.relative_attention_bias`;

/**
 * Activation function of the feed-forward part, and whether a gate multiplies its result. As in transformers, `gated-gelu` is the gate
 * with `gelu_new`.
 */
function feedForwardOf({ feed_forward_proj: name }: Pick<T5Config, 'feed_forward_proj'>): {
  isGated: boolean;
  activation: Activation;
} {
  const isGated = name.startsWith('gated-');
  const activation = isGated ? name.slice('gated-'.length) : name;
  return { isGated, activation: (name === 'gated-gelu' ? 'gelu_new' : activation) as Activation };
}

/**
 * Lists the parameters of one side, without the table of tokens. Initial values are those of transformers, whose deviations make up for
 * the scale that T5's attention lacks.
 */
function sideParameters(config: T5Config, side: Side): ParameterSpec[] {
  const { d_model: hidden, d_ff: inner, num_heads: heads, d_kv: headSize } = config;
  const width = heads * headSize;
  const { isGated } = feedForwardOf(config);
  const matrix = (name: string, sizes: readonly [inputs: number, outputs: number], variance: number) =>
    linearParameters(name, ...sizes, { bias: false }).map((spec) => ({
      ...spec,
      init: { kind: 'normal', deviation: variance ** -0.5 } as const,
    }));
  const norm = (name: string) => layerNormParameters(name, hidden, { bias: false });
  const attention = (name: string) => [
    ...matrix(`${name}.q`, [hidden, width], hidden * headSize),
    ...matrix(`${name}.k`, [hidden, width], hidden),
    ...matrix(`${name}.v`, [hidden, width], hidden),
    ...matrix(`${name}.o`, [width, hidden], width),
  ];
  const layers = side === 'encoder' ? config.num_layers : config.num_decoder_layers;
  return [
    ...Array.from({ length: layers }, (_, i) => [
      ...attention(`${part(side, i, 0)}.SelfAttention`),
      ...(i === 0
        ? [
            embeddingParameters(biasName(side), config.relative_attention_num_buckets, heads, {
              deviation: hidden ** -0.5,
            }),
          ]
        : []),
      ...norm(`${part(side, i, 0)}.layer_norm`),
      ...(side === 'decoder'
        ? [...attention(`${part(side, i, 1)}.EncDecAttention`), ...norm(`${part(side, i, 1)}.layer_norm`)]
        : []),
      ...(isGated ? ['wi_0', 'wi_1'] : ['wi']).flatMap((name) =>
        matrix(`${feedForwardPart(side, i)}.DenseReluDense.${name}`, [hidden, inner], hidden),
      ),
      ...matrix(`${feedForwardPart(side, i)}.DenseReluDense.wo`, [inner, hidden], inner),
      ...norm(`${feedForwardPart(side, i)}.layer_norm`),
    ]).flat(),
    ...norm(`${side}.final_layer_norm`),
  ];
}

const tableParameter = ({ vocab_size, d_model }: T5Config): ParameterSpec =>
  embeddingParameters(TABLE, vocab_size, d_model, { lookup: true, deviation: 1 });

/** Mask and bias of the distances in a batch, f32 that broadcasts to [B, H, T, P + T]. */
function selfBias(config: T5Config, side: Side, table: Tensor, inputs: TokenInputs): Tensor {
  const { mask, positions, cache } = inputs;
  const tokens = mask.shape[1]!;
  const buckets: DistanceBuckets = {
    buckets: config.relative_attention_num_buckets,
    maxDistance: config.relative_attention_max_distance,
    bidirectional: side === 'encoder',
  };
  if (cache?.mask && !(positions && cache.positions))
    throw new UndriftError('biases for distances need the positions of all tokens');
  const distances = positions
    ? relativeBiasBetween(
        table,
        { queries: positions, keys: cache?.positions ? concat([cache.positions, positions], 1) : positions },
        buckets,
      )
    : relativeBias(table, tokens, buckets);
  return add(distances, seenBias(side === 'encoder' ? { is_causal: false } : {}, inputs));
}

/** Builds the layers of one side. */
function stack(
  side: Side,
  config: T5Config,
  p: Parameters,
  inputs: readonly TokenInputs[],
  options: ForwardOptions,
): Tensor[] {
  const rows = new TextRows(inputs, options);
  const norm = (x: Tensor, name: string) => rmsNorm(x, p(`${name}.weight`), config.layer_norm_epsilon);
  const plain = (x: Tensor, name: string) => linear(x, p, name, { bias: false });
  const { isGated, activation } = feedForwardOf(config);
  const biases = inputs.map((each) => selfBias(config, side, p(`${biasName(side)}.weight`), each));
  const partInput = partInputs(rows, norm, options.onState);
  const layers = side === 'encoder' ? config.num_layers : config.num_decoder_layers;
  const texts = inputs.map(({ ids }) => gather(p(`${TABLE}.weight`), ids));
  let h = rows.dropout(rows.join(texts), `${side}.embeddings`);
  for (let i = 0; i < layers; i++) {
    options.onLayer?.(rows.split(h)[0]!);
    h = rows.graph.layer(`${side}.layer.${i}`, () => {
      const self = `${part(side, i, 0)}.SelfAttention`;
      const x = partInput('attention', i, h, `${part(side, i, 0)}.layer_norm`);
      const [query, key, value] = ['q', 'k', 'v'].map((each) => plain(x, `${self}.${each}`));
      const attended = rows.attention([query!, key!, value!], (batch) => ({
        heads: config.num_heads,
        bias: biases[batch]!,
        scale: 1,
        attended: attendedIn(inputs[batch]!, i),
        site: self,
      }));
      const mixed = add(h, rows.dropout(plain(attended, `${self}.o`), `${self}.o`));
      const h1 = readMemory(rows, mixed, i, options.memory);
      const dense = `${feedForwardPart(side, i)}.DenseReluDense`;
      const x1 = partInput('feed-forward', i, h1, `${feedForwardPart(side, i)}.layer_norm`);
      const gate = plain(x1, `${dense}.${isGated ? 'wi_0' : 'wi'}`);
      const gated = isGated ? plain(x1, `${dense}.wi_1`) : undefined;
      const outer = rows.graph.recomputed(() => {
        const active = activations[activation](gate);
        const inner = gated ? mul(active, gated) : active;
        return plain(rows.dropout(inner, `${dense}.wi`), `${dense}.wo`);
      });
      return add(h1, rows.dropout(outer, `${dense}.wo`));
    });
  }
  const last = rows.split(rows.dropout(norm(h, `${side}.final_layer_norm`), `${side}.final_layer_norm`));
  options.onLayer?.(last[0]!);
  return last;
}

const tokens = (hidden: Tensor): Hidden => ({ kind: 'tokens', hidden });

/** Facts that both sides share. */
const shared = {
  modelType: 't5',
  specialTokens: true,
  tokenTypes: false,
  moduleClass: 'Transformer',
  parseConfig,
  hiddenSize: (config: T5Config) => config.d_model,
  // Distances have no limit: the last bucket holds all that are long.
  maxTokens: () => undefined,
  vocabSize: (config: T5Config) => config.vocab_size,
} as const;

/** Decoder of T5. */
const t5Decoder: CrossDecoder<T5Config> = {
  ...shared,
  causalClass: 'T5ForConditionalGeneration',

  huggingFaceFields: () => ({ is_encoder_decoder: true, dropout_rate: 0 }),

  parameters: (config) => [tableParameter(config), ...sideParameters(config, 'decoder')],

  logitParameter: (config) =>
    config.tie_word_embeddings
      ? tableParameter(config)
      : {
          ...linearParameters('lm_head', config.d_model, config.vocab_size, { bias: false })[0]!,
          init: { kind: 'normal', deviation: config.scale_decoder_outputs ? 1 : config.d_model ** -0.5 },
        },

  cacheShape: (config) => ({ layers: config.num_decoder_layers, heads: config.num_heads, size: config.d_kv }),

  tableCopies: ['encoder', 'decoder'].map((side) => `${side}.embed_tokens.weight`),

  startId: (config) => config.decoder_start_token_id,

  readsStates: (name) => /EncDecAttention\.[kv]\.weight$/.test(name),

  forward(config, p, inputs, options) {
    if (!options.memory)
      throw new UndriftError('the decoder of T5 reads the states of an encoder: give it as memory');
    const last = stack('decoder', config, p, inputs, options);
    return last.map((hidden) =>
      tokens(config.scale_decoder_outputs ? mul(hidden, config.d_model ** -0.5) : hidden),
    );
  },

  crossKeyValues(config, p, states, layer) {
    const [batch, length, size] = states.shape as [string, string, number];
    const rows = reshape(states, [multiplyDims(batch, length), size]);
    const [key, value] = ['k', 'v'].map((each) =>
      splitHeads(
        linear(rows, p, `${part('decoder', layer, 1)}.EncDecAttention.${each}`, { bias: false }),
        [batch, length],
        config.num_heads,
      ),
    );
    return { key: key!, value: value! };
  },

  crossAttention(config, p, { keyValues, mask }, { dropoutRatio = 0, dropoutKeys, onAttention } = {}) {
    if (dropoutRatio > 0 && !dropoutKeys) throw new UndriftError('dropout needs keys for every batch');
    const random = dropoutRatio > 0 ? { rateRatio: dropoutRatio, keys: dropoutKeys! } : undefined;
    const isShared = mask.shape.length === 2;
    const bias = isShared ? attentionBias(mask) : attentionBiasOfPairs(mask);
    // A softmax over masked states alone would be their mean.
    const most = max(mask, { axes: -1, keepDims: true });
    const any = isShared ? unsqueeze(most, 2) : most;
    return {
      read(layer, hidden) {
        const [batch, length, size] = hidden.shape as [string, string, number];
        const name = `${part('decoder', layer, 1)}.EncDecAttention`;
        const norm = p(`${part('decoder', layer, 1)}.layer_norm.weight`);
        const x = rmsNorm(hidden, norm, config.layer_norm_epsilon);
        const query = linear(reshape(x, [multiplyDims(batch, length), size]), p, `${name}.q`, {
          bias: false,
        });
        const read = keyValues(layer);
        const attended = attendTo(splitHeads(query, [batch, length], config.num_heads), [read], {
          batch,
          tokens: length,
          heads: config.num_heads,
          bias,
          scale: 1,
          onProbabilities: (probabilities) => onAttention?.(layer, { probabilities, values: read.value }),
          site: name,
          dropout: random,
        });
        const mixed = reshape(linear(attended, p, `${name}.o`, { bias: false }), [batch, length, size]);
        return mul(dropout(mixed, random, { site: `${name}.o`, perText: [length, size] }), any);
      },
    };
  },
};

/**
 * T5 (Raffel et al. 2020, arXiv:1910.10683): pre-norm blocks with RMS norms and without biases. Each head has a learned bias for the
 * bucket of the distance between two tokens, which all layers of a side share; products of queries and keys are not scaled.
 *
 *     h = words
 *     h = h + W_o attention(norm(h));  h = h + W_o crossAttention(norm(h), states);  h = h + W_2 relu(W_1 norm(h))      for each layer
 *     h = norm(h)
 *
 * The second part is the decoder's alone. With `feed_forward_proj: gated-gelu` (T5 1.1), the third is W_2 (gelu(W_0 x) ∘ W_1 x). The
 * architecture itself is the encoder; `decoder` reads its states. Cross-attention has no positions.
 */
export const t5: Architecture<T5Config> = {
  ...shared,

  huggingFaceFields: () => ({
    architectures: ['T5EncoderModel'],
    is_encoder_decoder: false,
    dropout_rate: 0,
  }),

  parameters: (config) => [tableParameter(config), ...sideParameters(config, 'encoder')],

  forward: (config, p, inputs, options) => stack('encoder', config, p, inputs, options).map(tokens),

  decoder: t5Decoder,
};

/** @throws DataError for a config that is damaged or that would run with other results */
function parseConfig(json: Readonly<Record<string, unknown>>, file: string): T5Config {
  const f = configFields(json, file);
  const layers = f.layers('num_layers');
  const tied = f.flag('tie_word_embeddings', true);
  const config: T5Config = {
    model_type: 't5',
    vocab_size: f.count('vocab_size'),
    d_model: f.count('d_model'),
    d_kv: f.count('d_kv', 64),
    d_ff: f.count('d_ff', 2048),
    num_layers: layers,
    num_decoder_layers: json.num_decoder_layers == null ? layers : f.layers('num_decoder_layers'),
    num_heads: f.count('num_heads', 8),
    relative_attention_num_buckets: f.count('relative_attention_num_buckets', 32),
    relative_attention_max_distance: f.count('relative_attention_max_distance', 128),
    layer_norm_epsilon: f.positive('layer_norm_epsilon', 1e-6),
    feed_forward_proj: f.oneOf(
      'feed_forward_proj',
      activationNames.flatMap((name) => [name, `gated-${name}`]),
      'relu',
    ),
    tie_word_embeddings: tied,
    // transformers scales unless the embeddings were declared as not tied.
    scale_decoder_outputs: f.flag('scale_decoder_outputs', tied),
    decoder_start_token_id: f.index('decoder_start_token_id', startIn(json)),
  };
  const { relative_attention_num_buckets: buckets, relative_attention_max_distance: longest } = config;
  if (buckets < 4 || longest <= buckets / 2) {
    throw new DataError(
      `relative_attention_num_buckets ${buckets} with relative_attention_max_distance ${longest} leaves no buckets for long distances`,
      { file, help: 'use 4 buckets or more, and a distance of more than half their number' },
    );
  }
  return config;
}

/** Id of the padding token, with which transformers lets targets begin where the config names no other token. */
const startIn = (json: Readonly<Record<string, unknown>>): number =>
  Number.isSafeInteger(json.pad_token_id) ? (json.pad_token_id as number) : 0;
