import { add, cast, gather, matmul, slice, split, unsqueeze } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { layerNorm } from '../../nn/layers.ts';
import {
  embeddingParameters,
  layerNormParameters,
  linearParameters,
  type ParameterSpec,
  type Parameters,
} from '../../nn/parameters.ts';
import { TextRows } from '../../nn/text-rows.ts';
import type { Architecture } from './architecture.ts';
import { configFields } from './config-fields.ts';
import { attendedIn, type Direction, direction, isFusable, positionsIn, seenBias } from './direction.ts';
import { partInputs } from './layer-states.ts';
import { readMemory } from './read-memory.ts';

/** Fields of a GPT-2 `config.json`, under Hugging Face's names. */
export interface Gpt2Config extends Direction {
  model_type: 'gpt2';
  vocab_size: number;
  n_positions: number;
  n_embd: number;
  n_layer: number;
  n_head: number;
  n_inner: number;
  activation_function: Activation;
  layer_norm_epsilon: number;
  tie_word_embeddings: boolean;
}

/**
 * GPT-2 (Radford et al. 2019): a causal decoder with learned positions and pre-norm blocks.
 *
 *     h = words + positions
 *     h = h + W_o attention(norm(h));  h = h + W_2 gelu(W_1 norm(h))      for each layer
 *     h = norm(h)
 *
 * Matrices are stored as [inputs, outputs]. With `is_causal: false` every token sees the whole text. Difference: padding stands at the end, so positions count from
 * the first token of the text.
 */
export const gpt2: Architecture<Gpt2Config> = {
  modelType: 'gpt2',
  headPrefix: 'transformer.',
  specialTokens: true,
  tokenTypes: false,
  documents: true,
  moduleClass: 'Transformer',

  huggingFaceFields: () => ({
    architectures: ['GPT2Model'],
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
    initializer_range: 0.02,
  }),

  parseConfig(json, file) {
    const f = configFields(json, file);
    // Refuses variants of the same name that would run with wrong results.
    f.oneOf('scale_attn_weights', [true], true);
    f.oneOf('scale_attn_by_inverse_layer_idx', [false], false);
    f.oneOf('add_cross_attention', [false], false);
    const hidden = f.count('n_embd');
    return {
      model_type: 'gpt2',
      vocab_size: f.count('vocab_size'),
      n_positions: f.count('n_positions', 1024),
      n_embd: hidden,
      n_layer: f.layers('n_layer'),
      n_head: f.heads('n_head', 'n_embd'),
      n_inner: f.count('n_inner', 4 * hidden),
      activation_function: f.oneOf('activation_function', activationNames, 'gelu_new'),
      layer_norm_epsilon: f.positive('layer_norm_epsilon', 1e-5),
      tie_word_embeddings: f.flag('tie_word_embeddings', true),
      ...direction(json, file),
    };
  },

  hiddenSize: (config) => config.n_embd,
  maxTokens: (config) => config.n_positions,
  vocabSize: (config) => config.vocab_size,

  parameters(config) {
    const { n_embd: hidden, n_inner: inner } = config;
    return [
      embeddingParameters('wte', config.vocab_size, hidden, { lookup: true }),
      embeddingParameters('wpe', config.n_positions, hidden),
      ...Array.from({ length: config.n_layer }, (_, i) => [
        ...layerNormParameters(`h.${i}.ln_1`, hidden),
        ...transposedParameters(`h.${i}.attn.c_attn`, hidden, 3 * hidden),
        ...transposedParameters(`h.${i}.attn.c_proj`, hidden, hidden),
        ...layerNormParameters(`h.${i}.ln_2`, hidden),
        ...transposedParameters(`h.${i}.mlp.c_fc`, hidden, inner),
        ...transposedParameters(`h.${i}.mlp.c_proj`, inner, hidden),
      ]).flat(),
      ...layerNormParameters('ln_f', hidden),
    ];
  },

  logitParameter: (config) =>
    config.tie_word_embeddings
      ? embeddingParameters('wte', config.vocab_size, config.n_embd, { lookup: true })
      : linearParameters('lm_head', config.n_embd, config.vocab_size, { bias: false })[0]!,

  causalClass: 'GPT2LMHeadModel',

  cacheShape: ({ n_layer, n_head, n_embd }) => ({ layers: n_layer, heads: n_head, size: n_embd / n_head }),

  forward(config, p, inputs, options) {
    const rows = new TextRows(inputs, options);
    const { graph } = rows;
    const hidden = config.n_embd;
    const norm = (x: Tensor, name: string) => layerNorm(x, p, name, config.layer_norm_epsilon);
    const activation = activations[config.activation_function];

    const biases = inputs.map((each) => seenBias(config, each));
    const partInput = partInputs(rows, norm, options.onState);
    let h = graph.scope('embeddings', () => {
      const texts = inputs.map((each) => {
        const table = p('wpe.weight');
        const positions = positionsIn(each);
        const places = positions
          ? gather(table, cast(positions, 'i64'))
          : unsqueeze(slice(table, { axis: 0, length: each.ids.shape[1]! }), 0);
        return add(gather(p('wte.weight'), each.ids), places);
      });
      return rows.dropout(rows.join(texts), 'embeddings');
    });
    for (let i = 0; i < config.n_layer; i++) {
      options.onLayer?.(rows.split(h)[0]!);
      h = graph.layer(`layer.${i}`, () => {
        const x = partInput('attention', i, h, `h.${i}.ln_1`);
        const all = transposedLinear(x, p, `h.${i}.attn.c_attn`);
        const [query, key, value] = split(all, [hidden, hidden, hidden], 1);
        const attended = rows.attention([query!, key!, value!], (batch) => ({
          heads: config.n_head,
          bias: biases[batch]!,
          attended: attendedIn(inputs[batch]!, i),
          fused: isFusable(config, inputs[batch]!, options, hidden / config.n_head) ? {} : undefined,
          site: `h.${i}.attn`,
        }));
        const mixed = transposedLinear(attended, p, `h.${i}.attn.c_proj`);
        const attentive = add(h, rows.dropout(mixed, `h.${i}.attn.c_proj`));
        const h1 = readMemory(rows, attentive, i, options.memory);
        const x1 = partInput('feed-forward', i, h1, `h.${i}.ln_2`);
        const inner = transposedLinear(x1, p, `h.${i}.mlp.c_fc`);
        const outer = graph.recomputed(() => transposedLinear(activation(inner), p, `h.${i}.mlp.c_proj`));
        return add(h1, rows.dropout(outer, `h.${i}.mlp.c_proj`));
      });
    }
    const last = rows.split(norm(h, 'ln_f'));
    options.onLayer?.(last[0]!);
    return last.map((hidden) => ({ kind: 'tokens', hidden }));
  },
};

/** Lists the parameters of a linear map whose weight is stored as [inputs, outputs] (`Conv1D`). */
const transposedParameters = (name: string, inputs: number, outputs: number): ParameterSpec[] =>
  linearParameters(name, inputs, outputs).map((spec) => ({
    ...spec,
    shape: [...spec.shape].reverse(),
    ...(spec.linear && { linear: 'inputs-outputs' as const }),
  }));

/**
 * Computes y = x W + b.
 *
 * @param x  f32[B·T, inputs]
 */
const transposedLinear = (x: Tensor, p: Parameters, name: string): Tensor =>
  add(matmul(x, p(`${name}.weight`)), p(`${name}.bias`));
