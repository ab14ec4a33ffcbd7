import { add, gather, mul } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { linear, rmsNorm } from '../../nn/layers.ts';
import { embeddingParameters, layerNormParameters, linearParameters } from '../../nn/parameters.ts';
import { type RopeConfig, rotaryFrequencies, rotaryTables, rotate } from '../../nn/rotary.ts';
import { TextRows } from '../../nn/text-rows.ts';
import { DataError } from '../../util/errors.ts';
import type { Architecture } from './architecture.ts';
import { configFields } from './config-fields.ts';
import { attendedIn, type Direction, direction, isFusable, positionsIn, seenBias } from './direction.ts';
import { partInputs } from './layer-states.ts';
import { readMemory } from './read-memory.ts';
import { ropeConfig } from './rope-config.ts';

type ModelType = 'llama' | 'qwen2' | 'qwen3';

/** Fields of the `config.json` of Llama, Qwen2 and Qwen3, under Hugging Face's names. */
export interface LlamaConfig extends RopeConfig, Direction {
  model_type: ModelType;
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  /** Size of a head, not necessarily hidden_size / num_attention_heads. */
  head_dim: number;
  intermediate_size: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  hidden_act: Activation;
  attention_bias: boolean;
  tie_word_embeddings: boolean;
}

/** Differences between the members of the family. */
interface Member {
  modelType: ModelType;
  modelClass: string;
  /** Tells which of the attention's linear maps have a bias. */
  biases: (config: LlamaConfig) => { input: boolean; output: boolean };
  /** Whether the heads of queries and keys go through a norm before the rotation. */
  headNorm: boolean;
  defaults: { head_dim?: number; max_position_embeddings: number };
}

const TABLE = 'embed_tokens';

/**
 * Llama (Touvron et al. 2023, arXiv:2302.13971) and its relatives: a causal decoder with rotary positions,
 * pre-norm blocks with RMS norm, grouped key and value heads, and a gated feed-forward part.
 *
 *     h = words
 *     h = h + W_o attention(norm(h));  h = h + W_down (silu(W_gate x) ∘ W_up x), x = norm(h)      for each layer
 *     h = norm(h)
 *
 * Embeddings usually take the state of the last token, the only one that has seen the whole text. With
 * `is_causal: false` every token sees the whole text.
 * Differences: padding stands at the end, so positions count from the first token of the text. Dropout
 * applies to attention weights.
 */
const decoder = ({
  modelType,
  modelClass,
  biases,
  headNorm,
  defaults,
}: Member): Architecture<LlamaConfig> => ({
  modelType,
  headPrefix: 'model.',
  specialTokens: true,
  tokenTypes: false,
  documents: true,
  moduleClass: 'Transformer',

  huggingFaceFields: () => ({ architectures: [modelClass], attention_dropout: 0, initializer_range: 0.02 }),

  parseConfig: (json, file) => parseConfig(json, file, { modelType, defaults }),

  hiddenSize: (config) => config.hidden_size,
  maxTokens: (config) => config.max_position_embeddings,
  vocabSize: (config) => config.vocab_size,

  parameters(config) {
    const { hidden_size: hidden, head_dim: headSize, intermediate_size: inner } = config;
    const queries = config.num_attention_heads * headSize;
    const keys = config.num_key_value_heads * headSize;
    const { input, output } = biases(config);
    const norm = (name: string, size = hidden) => layerNormParameters(name, size, { bias: false });
    return [
      embeddingParameters(TABLE, config.vocab_size, hidden, { lookup: true }),
      ...Array.from({ length: config.num_hidden_layers }, (_, i) => [
        ...norm(`layers.${i}.input_layernorm`),
        ...linearParameters(`layers.${i}.self_attn.q_proj`, hidden, queries, { bias: input }),
        ...linearParameters(`layers.${i}.self_attn.k_proj`, hidden, keys, { bias: input }),
        ...linearParameters(`layers.${i}.self_attn.v_proj`, hidden, keys, { bias: input }),
        ...(headNorm ? norm(`layers.${i}.self_attn.q_norm`, headSize) : []),
        ...(headNorm ? norm(`layers.${i}.self_attn.k_norm`, headSize) : []),
        ...linearParameters(`layers.${i}.self_attn.o_proj`, queries, hidden, { bias: output }),
        ...norm(`layers.${i}.post_attention_layernorm`),
        ...linearParameters(`layers.${i}.mlp.gate_proj`, hidden, inner, { bias: false }),
        ...linearParameters(`layers.${i}.mlp.up_proj`, hidden, inner, { bias: false }),
        ...linearParameters(`layers.${i}.mlp.down_proj`, inner, hidden, { bias: false }),
      ]).flat(),
      ...norm('norm'),
    ];
  },

  logitParameter: (config) =>
    config.tie_word_embeddings
      ? embeddingParameters(TABLE, config.vocab_size, config.hidden_size, { lookup: true })
      : linearParameters('lm_head', config.hidden_size, config.vocab_size, { bias: false })[0]!,

  causalClass: modelClass.replace(/Model$/, 'ForCausalLM'),

  cacheShape: (config) => ({
    layers: config.num_hidden_layers,
    heads: config.num_key_value_heads,
    size: config.head_dim,
  }),

  forward(config, p, inputs, options) {
    const rows = new TextRows(inputs, options);
    const { graph } = rows;
    const norm = (x: Tensor, name: string) => rmsNorm(x, p(`${name}.weight`), config.rms_norm_eps);
    const activation = activations[config.hidden_act];
    const { input, output } = biases(config);

    const frequencies = rotaryFrequencies(config.head_dim, config);
    const batches = inputs.map((each) => ({
      bias: seenBias(config, each),
      tables: rotaryTables(graph, each.ids.shape[1]!, frequencies, positionsIn(each)),
      isFused: isFusable(config, each, options, config.head_dim),
    }));
    const partInput = partInputs(rows, norm, options.onState);
    let h = rows.join(inputs.map(({ ids }) => gather(p(`${TABLE}.weight`), ids)));
    for (let i = 0; i < config.num_hidden_layers; i++) {
      options.onLayer?.(rows.split(h)[0]!);
      h = graph.layer(`layer.${i}`, () => {
        const self = `layers.${i}.self_attn`;
        const x = partInput('attention', i, h, `layers.${i}.input_layernorm`);
        const [query, key, value] = ['q', 'k', 'v'].map((part) =>
          linear(x, p, `${self}.${part}_proj`, { bias: input }),
        );
        const normHeads = (each: Tensor, of: 'query' | 'key') =>
          headNorm ? norm(each, `${self}.${of === 'query' ? 'q' : 'k'}_norm`) : each;
        const attended = rows.attention([query!, key!, value!], (batch) => {
          const { bias, tables, isFused } = batches[batch]!;
          return {
            heads: config.num_attention_heads,
            keyHeads: config.num_key_value_heads,
            bias,
            prepare: (each, of) => rotate(normHeads(each, of), tables),
            attended: attendedIn(inputs[batch]!, i),
            fused: isFused ? { tables, headNorm: normHeads } : undefined,
            site: self,
          };
        });
        const mixed = add(h, linear(attended, p, `${self}.o_proj`, { bias: output }));
        const h1 = readMemory(rows, mixed, i, options.memory);
        const x1 = partInput('feed-forward', i, h1, `layers.${i}.post_attention_layernorm`);
        const [gate, up] = ['gate', 'up'].map((part) =>
          linear(x1, p, `layers.${i}.mlp.${part}_proj`, { bias: false }),
        );
        const gated = () => mul(activation(gate!), up!);
        const down = `layers.${i}.mlp.down_proj`;
        return add(
          h1,
          graph.recomputed(() => linear(gated(), p, down, { bias: false })),
        );
      });
    }
    const last = rows.split(norm(h, 'norm'));
    options.onLayer?.(last[0]!);
    return last.map((hidden) => ({ kind: 'tokens', hidden }));
  },
});

/** @throws DataError for a config that is damaged or that would run with other results */
function parseConfig(
  json: Readonly<Record<string, unknown>>,
  file: string,
  { modelType, defaults }: Pick<Member, 'modelType' | 'defaults'>,
): LlamaConfig {
  const f = configFields(json, file);
  f.oneOf('mlp_bias', [false], false);
  f.oneOf('use_sliding_window', [false], false);
  f.listOf('layer_types', ['full_attention']);
  const [hidden, heads] = [f.count('hidden_size'), f.count('num_attention_heads')];
  const keyHeads = f.count('num_key_value_heads', heads);
  const share = Number.isInteger(hidden / heads) ? hidden / heads : undefined;
  const headSize = f.count('head_dim', defaults.head_dim ?? share);
  if (heads % keyHeads !== 0) {
    throw new DataError(`num_attention_heads ${heads} is no multiple of num_key_value_heads ${keyHeads}`, {
      file,
      help: 'each key head serves an equal share of the query heads',
    });
  }
  if (headSize % 2 !== 0) {
    throw new DataError(`head_dim ${headSize} is odd: rotary positions turn pairs`, { file });
  }
  return {
    model_type: modelType,
    vocab_size: f.count('vocab_size'),
    hidden_size: hidden,
    num_hidden_layers: f.layers('num_hidden_layers'),
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    head_dim: headSize,
    intermediate_size: f.count('intermediate_size'),
    max_position_embeddings: f.count('max_position_embeddings', defaults.max_position_embeddings),
    rms_norm_eps: f.positive('rms_norm_eps', 1e-6),
    hidden_act: f.oneOf('hidden_act', activationNames, 'silu'),
    attention_bias: f.flag('attention_bias', false),
    tie_word_embeddings: f.flag('tie_word_embeddings', false),
    ...direction(json, file),
    ...ropeConfig(json, file, { theta: 10_000 }),
  };
}

/** Llama (Touvron et al. 2023, arXiv:2302.13971). */
export const llama = decoder({
  modelType: 'llama',
  modelClass: 'LlamaModel',
  biases: ({ attention_bias }) => ({ input: attention_bias, output: attention_bias }),
  headNorm: false,
  defaults: { max_position_embeddings: 2048 },
});

/** Qwen2 (Yang et al. 2024, arXiv:2407.10671): Llama with a bias for queries, keys and values. */
export const qwen2 = decoder({
  modelType: 'qwen2',
  modelClass: 'Qwen2Model',
  biases: () => ({ input: true, output: false }),
  headNorm: false,
  defaults: { max_position_embeddings: 32_768 },
});

/** Qwen3 (Yang et al. 2025, arXiv:2505.09388): Llama with a norm on the heads of queries and keys. */
export const qwen3 = decoder({
  modelType: 'qwen3',
  modelClass: 'Qwen3Model',
  biases: ({ attention_bias }) => ({ input: attention_bias, output: attention_bias }),
  headNorm: true,
  defaults: { head_dim: 128, max_position_embeddings: 32_768 },
});
