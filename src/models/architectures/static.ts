import {
  div,
  fill,
  gather,
  matmul,
  maximum,
  mul,
  reshape,
  scatterAdd,
  softplus,
  squeeze,
  sum,
} from '../../graph/ops.ts';
import { pool } from '../../nn/layers.ts';
import { embeddingParameters, ROWS_INPUT } from '../../nn/parameters.ts';
import { float32, hostTensor } from '../../runtime/host-tensor.ts';
import type { Architecture } from './architecture.ts';
import { configFields } from './config-fields.ts';

/** Fields of the `config.json` of a static encoder. */
export interface StaticConfig {
  model_type: 'undrift-static';
  vocab_size: number;
  hidden_size: number;
}

/** Initial logit of a token weight: softplus(0.5413) = 1. */
const UNIT_LOGIT = Math.fround(Math.log(Math.E - 1));

/** Name of the table of token vectors. */
export const STATIC_TABLE = 'embedding.weight';
const LOGITS = 'token_logits.weight';

/**
 * Static encoder, a bag of subwords: the weighted mean of one vector for each token, with a learned weight
 * for each token of the vocabulary.
 *
 *     y = Σ_t w(t) E(t) / Σ_t w(t),     w = softplus(a)
 *
 * The encoder knows no word order, trains in a minute, and is strong where single words decide.
 *
 * With n(b, u) the number of times that text b has the batch's distinct token u, the sums are one matrix
 * product  (n ∘ w) E,  [B, U]·[U, D]. The gradient of the table is then a matrix product too, instead of a
 * scatter of B·T rows.
 */
export const staticEmbedding: Architecture<StaticConfig> = {
  modelType: 'undrift-static',
  specialTokens: false,
  tokenTypes: false,
  moduleClass: 'StaticEmbedding',

  parseConfig(json, file) {
    const f = configFields(json, file);
    return {
      model_type: 'undrift-static',
      vocab_size: f.count('vocab_size'),
      hidden_size: f.count('hidden_size'),
    };
  },

  hiddenSize: (config) => config.hidden_size,
  maxTokens: () => undefined,
  vocabSize: (config) => config.vocab_size,

  parameters: ({ vocab_size, hidden_size }) => [
    // Sums of a few dozen tokens then have about unit variance. The scale does not affect the cosine, but it
    // affects Adam's relative step.
    embeddingParameters('embedding', vocab_size, hidden_size, { lookup: true, deviation: 0.1 }),
    {
      name: LOGITS,
      shape: [vocab_size, 1],
      init: { kind: 'constant', value: UNIT_LOGIT },
      decay: false,
      lookup: ROWS_INPUT,
    },
  ],

  forward: (_config, p, inputs) =>
    inputs.map(({ ids, mask }) => {
      const table = p(STATIC_TABLE);
      const [batch, rows] = [ids.shape[0]!, table.shape[0]!];
      const counts = scatterAdd(fill(ids.graph, 0, [batch, rows]), ids, mask, { axis: 1 });
      const weights = softplus(reshape(p(LOGITS), [1, rows]));
      const weighted = mul(counts, weights);
      const total = sum(weighted, { axes: 1, keepDims: true });
      return { kind: 'pooled', hidden: div(matmul(weighted, table), maximum(total, 1e-9)) };
    }),

  foldable: [LOGITS],

  /**
   * Multiplies token weights into the table if only the direction of y matters: Σ w(t) E(t) / Σ w(t) and the
   * plain mean of the rows w(t) E(t) differ by a positive factor.
   *
   * The plain mean is what StaticEmbedding of sentence-transformers computes. Folding rounds, so vectors may
   * move by an ulp. Folding a folded encoder changes nothing.
   */
  fold(weights, lengthMatters) {
    const { [LOGITS]: logits, ...rest } = weights;
    const a = float32(logits, LOGITS);
    if (a.every((logit) => logit === UNIT_LOGIT)) return rest;
    if (lengthMatters) return weights;
    const { dims, data } = weights[STATIC_TABLE]!;
    const D = dims[1]!;
    const folded = new Float32Array(data.length);
    for (let t = 0; t < a.length; t++) {
      const w = Math.max(a[t]!, 0) + Math.log1p(Math.exp(-Math.abs(a[t]!)));
      for (let i = t * D; i < (t + 1) * D; i++) folded[i] = w * (data[i] as number);
    }
    return { ...rest, [STATIC_TABLE]: hostTensor('f32', dims, folded) };
  },

  /**
   * Gathers a row of the table for each token. Counts in [B, V], as training has them in [B, U], would cost V
   * columns a text.
   */
  infer(_config, p, { ids, mask }) {
    const logits = p(LOGITS);
    const weights = logits ? mul(mask, softplus(squeeze(gather(logits, ids), -1))) : mask;
    return { kind: 'pooled', hidden: pool(gather(p(STATIC_TABLE)!, ids), weights, 'mean') };
  },
};
