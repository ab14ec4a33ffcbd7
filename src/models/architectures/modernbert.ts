import { add, gather, mul, split } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { attentionBias, localBias } from '../../nn/attention.ts';
import { layerNorm, linear } from '../../nn/layers.ts';
import { embeddingParameters, layerNormParameters, linearParameters } from '../../nn/parameters.ts';
import { rotaryFrequencies, rotaryTables, rotate } from '../../nn/rotary.ts';
import { TextRows } from '../../nn/text-rows.ts';
import { DataError } from '../../util/errors.ts';
import type { Json } from '../../util/json-objects.ts';
import type { Architecture } from './architecture.ts';
import { configFields } from './config-fields.ts';
import { ropeConfig } from './rope-config.ts';

/** Fields of a ModernBERT `config.json`, under Hugging Face's names. */
export interface ModernBertConfig {
  model_type: 'modernbert';
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  max_position_embeddings: number;
  /** Layers 0, n, 2n, … attend to the whole text; the others to `local_attention` tokens around each token. */
  global_attn_every_n_layers: number;
  local_attention: number;
  global_rope_theta: number;
  local_rope_theta: number;
  norm_eps: number;
  norm_bias: boolean;
  attention_bias: boolean;
  mlp_bias: boolean;
  hidden_activation: Activation;
}

/**
 * ModernBERT (Warner et al. 2024, arXiv:2412.13663): rotary positions, pre-norm blocks with a gated
 * feed-forward part, and attention that is local in most layers.
 *
 *     h = norm(words)
 *     h = h + W_o attention(norm(h));  h = h + W_2 (gelu(a) ∘ b), [a, b] = W_1 norm(h)      for each layer
 *     h = norm(h)
 *
 * The attention of the first layer has no norm before it, because its input is normalised already. Global and
 * local layers each have a rotary θ of their own. Difference: one dropout rate applies everywhere.
 */
export const modernbert: Architecture<ModernBertConfig> = {
  modelType: 'modernbert',
  headPrefix: 'model.',
  specialTokens: true,
  tokenTypes: false,
  moduleClass: 'Transformer',

  huggingFaceFields: () => ({
    architectures: ['ModernBertModel'],
    attention_dropout: 0,
    embedding_dropout: 0,
    mlp_dropout: 0,
    initializer_range: 0.02,
  }),

  parseConfig(json, file) {
    const f = configFields(json, file);
    const [hidden, heads] = [f.count('hidden_size'), f.heads('num_attention_heads', 'hidden_size')];
    if (hidden % (2 * heads) !== 0) {
      throw new DataError(`heads of ${hidden / heads} dimensions: rotary positions turn pairs of them`, {
        file,
      });
    }
    // The rotary positions of transformers follow this field, its attention does not.
    if (json.head_dim !== undefined && json.head_dim !== null) f.oneOf('head_dim', [hidden / heads]);
    const layers = f.layers('num_hidden_layers');
    return {
      model_type: 'modernbert',
      vocab_size: f.count('vocab_size'),
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      intermediate_size: f.count('intermediate_size'),
      max_position_embeddings: f.count('max_position_embeddings', 8192),
      global_attn_every_n_layers: wholeTextEvery(json, layers, file),
      local_attention: f.count('local_attention', 128),
      global_rope_theta: theta(json, { side: 'global', layers: 'full_attention', fallback: 160_000, file }),
      local_rope_theta: theta(json, { side: 'local', layers: 'sliding_attention', fallback: 10_000, file }),
      norm_eps: f.positive('norm_eps', 1e-5),
      norm_bias: f.flag('norm_bias', false),
      attention_bias: f.flag('attention_bias', false),
      mlp_bias: f.flag('mlp_bias', false),
      hidden_activation: f.oneOf('hidden_activation', activationNames, 'gelu'),
    };
  },

  hiddenSize: (config) => config.hidden_size,
  maxTokens: (config) => config.max_position_embeddings,
  vocabSize: (config) => config.vocab_size,

  parameters(config) {
    const { hidden_size: hidden, intermediate_size: inner } = config;
    const norm = (name: string) => layerNormParameters(name, hidden, { bias: config.norm_bias });
    const ofAttention = { bias: config.attention_bias };
    const ofMlp = { bias: config.mlp_bias };
    return [
      embeddingParameters('embeddings.tok_embeddings', config.vocab_size, hidden, { lookup: true }),
      ...norm('embeddings.norm'),
      ...Array.from({ length: config.num_hidden_layers }, (_, i) => [
        ...(i === 0 ? [] : norm(`layers.${i}.attn_norm`)),
        ...linearParameters(`layers.${i}.attn.Wqkv`, hidden, 3 * hidden, ofAttention),
        ...linearParameters(`layers.${i}.attn.Wo`, hidden, hidden, ofAttention),
        ...norm(`layers.${i}.mlp_norm`),
        ...linearParameters(`layers.${i}.mlp.Wi`, hidden, 2 * inner, ofMlp),
        ...linearParameters(`layers.${i}.mlp.Wo`, inner, hidden, ofMlp),
      ]).flat(),
      ...norm('final_norm'),
    ];
  },

  forward(config, p, inputs, options) {
    const rows = new TextRows(inputs, options);
    const { graph } = rows;
    const { hidden_size: hidden, intermediate_size: inner, num_attention_heads: heads } = config;
    const norm = (x: Tensor, name: string) =>
      layerNorm(x, p, name, config.norm_eps, { bias: config.norm_bias });
    const activation = activations[config.hidden_activation];

    const reach = Math.floor(config.local_attention / 2);
    const batches = inputs.map(({ ids, mask }) => {
      const tokens = ids.shape[1]!;
      const tables = (rope_theta: number) =>
        rotaryTables(graph, tokens, rotaryFrequencies(hidden / heads, { rope_theta, rope_scaling: null }));
      const padding = attentionBias(mask);
      return {
        whole: { bias: padding, tables: tables(config.global_rope_theta) },
        local: {
          bias: add(padding, localBias(graph, tokens, reach)),
          tables: tables(config.local_rope_theta),
        },
      };
    });

    let h = graph.scope('embeddings', () => {
      const words = inputs.map(({ ids }) => gather(p('embeddings.tok_embeddings.weight'), ids));
      return rows.dropout(norm(rows.join(words), 'embeddings.norm'), 'embeddings');
    });
    for (let i = 0; i < config.num_hidden_layers; i++) {
      options.onLayer?.(rows.split(h)[0]!);
      h = graph.layer(`layer.${i}`, () => {
        const name = `layers.${i}`;
        const sight = i % config.global_attn_every_n_layers === 0 ? 'whole' : 'local';
        const x = i === 0 ? h : norm(h, `${name}.attn_norm`);
        const all = linear(x, p, `${name}.attn.Wqkv`, { bias: config.attention_bias });
        const [query, key, value] = split(all, [hidden, hidden, hidden], 1);
        const attended = rows.attention([query!, key!, value!], (batch) => {
          const { bias, tables } = batches[batch]![sight];
          return { heads, bias, prepare: (each) => rotate(each, tables), site: `${name}.attn` };
        });
        const mixed = linear(attended, p, `${name}.attn.Wo`, { bias: config.attention_bias });
        const h1 = add(h, rows.dropout(mixed, `${name}.attn.Wo`));
        const both = linear(norm(h1, `${name}.mlp_norm`), p, `${name}.mlp.Wi`, { bias: config.mlp_bias });
        const [a, b] = split(both, [inner, inner], 1) as [Tensor, Tensor];
        const outer = graph.recomputed(() =>
          linear(mul(activation(a), b), p, `${name}.mlp.Wo`, { bias: config.mlp_bias }),
        );
        return add(h1, rows.dropout(outer, `${name}.mlp.Wo`));
      });
    }
    const last = rows.split(norm(h, 'final_norm'));
    options.onLayer?.(last[0]!);
    return last.map((hidden) => ({ kind: 'tokens', hidden }));
  },
};

/**
 * Reads n, where layers 0, n, 2n, … attend to the whole text: from a field of its own, or from the list that
 * transformers writes since version 5.
 */
function wholeTextEvery(json: Json, layers: number, file: string): number {
  const { layer_types: types } = json;
  if (types === undefined || types === null)
    return configFields(json, file).count('global_attn_every_n_layers', 3);
  const list = Array.isArray(types) ? types : [];
  const expected = (n: number) => (_: unknown, i: number) =>
    list[i] === (i % n === 0 ? 'full_attention' : 'sliding_attention');
  const places = Array.from({ length: layers });
  const n = places.findIndex((_, i) => places.every(expected(i + 1))) + 1;
  if (n === 0 || list.length !== layers) {
    throw new DataError(`"layer_types" ${JSON.stringify(types)} is not supported`, {
      file,
      help: `expected ${layers} entries: full_attention for the first and every n-th after it, else sliding_attention`,
    });
  }
  return n;
}

/** Reads θ for the layers of one kind, in old and new spelling. */
function theta(
  json: Json,
  { side, layers, fallback, file }: { side: string; layers: string; fallback: number; file: string },
): number {
  const { rope_parameters, rope_scaling } = json as Record<string, Json | null | undefined>;
  const own = (rope_parameters?.[layers] ?? rope_scaling ?? {}) as Json;
  const spelled = { rope_theta: json[`${side}_rope_theta`], ...own };
  const { rope_theta, rope_scaling: scaling } = ropeConfig({ rope_parameters: spelled }, file, {
    theta: fallback,
  });
  if (scaling) throw new DataError('scaled rotary positions of a ModernBERT are not supported', { file });
  return rope_theta;
}
