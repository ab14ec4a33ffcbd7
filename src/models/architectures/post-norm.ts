import { add } from '../../graph/ops.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type Activation, activationNames, activations } from '../../nn/activations.ts';
import { layerNorm, linear } from '../../nn/layers.ts';
import {
  layerNormParameters,
  linearParameters,
  type ParameterSpec,
  type Parameters,
} from '../../nn/parameters.ts';
import { TextRows } from '../../nn/text-rows.ts';
import { DataError } from '../../util/errors.ts';
import type { ForwardOptions, Hidden, TokenInputs } from './architecture.ts';
import type { configFields } from './config-fields.ts';

/** Fields of a `config.json` that BERT and most of its successors share. */
export interface PostNormConfig {
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  max_position_embeddings: number;
  layer_norm_eps: number;
  hidden_act: Activation;
  hidden_dropout_prob: number;
}

/** Reads the shared fields, and refuses variants of the same name that would run with wrong results. */
export function postNormConfig(f: ReturnType<typeof configFields>): PostNormConfig {
  f.oneOf('position_embedding_type', ['absolute'], 'absolute');
  f.oneOf('is_decoder', [false], false);
  f.oneOf('add_cross_attention', [false], false);
  const hidden = f.count('hidden_size');
  return {
    vocab_size: f.count('vocab_size'),
    hidden_size: hidden,
    num_hidden_layers: f.layers('num_hidden_layers'),
    num_attention_heads: f.heads('num_attention_heads', 'hidden_size'),
    intermediate_size: f.count('intermediate_size', 4 * hidden),
    max_position_embeddings: f.count('max_position_embeddings', 512),
    layer_norm_eps: f.positive('layer_norm_eps', 1e-12),
    hidden_act: f.oneOf('hidden_act', activationNames, 'gelu'),
    hidden_dropout_prob: f.ratio('hidden_dropout_prob', 0),
  };
}

/**
 * Checks that there are positions for a text when positions begin at `first`.
 *
 * @throws DataError when there are none
 */
export function checkPositions(
  { max_position_embeddings: positions }: PostNormConfig,
  first: number,
  file: string,
): void {
  if (positions > first) return;
  throw new DataError(`max_position_embeddings ${positions} leaves no position for a text`, {
    file,
    help: `the positions of texts begin at ${first}`,
  });
}

/** Names of the parts of a family's layers, after the name of the layer. */
export interface LayerNames {
  query: string;
  key: string;
  value: string;
  /** Linear map after the heads. */
  output: string;
  attentionNorm: string;
  inner: string;
  outer: string;
  outerNorm: string;
}

/** Lists the parameters of one layer. */
export function postNormParameters(
  layer: string,
  names: LayerNames,
  { hidden, inner }: { hidden: number; inner: number },
): ParameterSpec[] {
  return [
    ...linearParameters(`${layer}.${names.query}`, hidden, hidden),
    ...linearParameters(`${layer}.${names.key}`, hidden, hidden),
    ...linearParameters(`${layer}.${names.value}`, hidden, hidden),
    ...linearParameters(`${layer}.${names.output}`, hidden, hidden),
    ...layerNormParameters(`${layer}.${names.attentionNorm}`, hidden),
    ...linearParameters(`${layer}.${names.inner}`, hidden, inner),
    ...linearParameters(`${layer}.${names.outer}`, inner, hidden),
    ...layerNormParameters(`${layer}.${names.outerNorm}`, hidden),
  ];
}

/**
 * Builds an encoder of post-norm blocks, as in Vaswani et al. 2017 (arXiv:1706.03762) and BERT:
 *
 *     h = norm(embedded)
 *     h = norm(h + W_o attention(h));  h = norm(h + W_2 f(W_1 h))      for each layer
 *
 * @param options.embedded  makes the input of the first norm for a batch, f32[B, T, D]; called in the scope
 *   of the embeddings
 * @param options.layer  makes the name of a layer
 * @param options.bias  makes the attention bias of a batch
 */
export function postNormEncoder(
  inputs: readonly TokenInputs[],
  p: Parameters,
  options: {
    embedded: (inputs: TokenInputs) => Tensor;
    layers: number;
    layer: (i: number) => string;
    names: LayerNames;
    heads: number;
    epsilon: number;
    activation: Activation;
    bias: (inputs: TokenInputs) => Tensor;
  } & ForwardOptions,
): Hidden[] {
  const { names, activation, epsilon, heads } = options;
  const rows = new TextRows(inputs, options);
  const { graph } = rows;
  const norm = (x: Tensor, name: string) => layerNorm(x, p, name, epsilon);

  let h = graph.scope('embeddings', () => {
    const sum = rows.join(inputs.map(options.embedded));
    return rows.dropout(norm(sum, 'embeddings.LayerNorm'), 'embeddings');
  });
  options.onLayer?.(rows.split(h)[0]!);
  const biases = inputs.map(options.bias);
  for (let i = 0; i < options.layers; i++) {
    const name = options.layer(i);
    h = graph.layer(`layer.${i}`, () => {
      const part = (x: Tensor, of: keyof LayerNames) => linear(x, p, `${name}.${names[of]}`);
      const attended = rows.attention([part(h, 'query'), part(h, 'key'), part(h, 'value')], (i) => ({
        heads,
        bias: biases[i]!,
        site: `${name}.attention.self`,
      }));
      const mixed = rows.dropout(part(attended, 'output'), `${name}.attention.output`);
      const h1 = norm(add(mixed, h), `${name}.${names.attentionNorm}`);
      const inner = part(h1, 'inner');
      const result = graph.recomputed(() => part(activations[activation](inner), 'outer'));
      const outer = rows.dropout(result, `${name}.output`);
      return norm(add(outer, h1), `${name}.${names.outerNorm}`);
    });
    options.onLayer?.(rows.split(h)[0]!);
  }
  return rows.split(h).map((hidden) => ({ kind: 'tokens', hidden }));
}
