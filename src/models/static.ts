import { div, fill, matmul, maximum, mul, reshape, scatterAdd, softplus, sum } from '../graph/ops.ts';
import { embeddingParameters } from '../nn/parameters.ts';
import type { Architecture } from './architecture.ts';
import { configFields } from './config-fields.ts';

export interface StaticConfig {
  model_type: 'undrift-static';
  vocab_size: number;
  hidden_size: number;
}

/** softplus(0.5413) = 1: a fresh token weighs one. */
const UNIT_LOGIT = Math.log(Math.E - 1);

/**
 * A bag of subwords: the weighted mean of one vector for each token, with a learned weight for each token of the vocabulary.
 *
 *     y = Σ_t w(t) E(t) / Σ_t w(t),     w = softplus(a)
 *
 * It knows no word order, trains in a minute, and is strong wherever words decide. With n(b, u) the number of times that
 * text b has the batch's distinct token u, the sums are one matrix product  (n ∘ w) E  [B, U]·[U, D]: the gradient of the
 * table is a matrix product too, not a scatter of B·T rows.
 */
export const staticEmbedding: Architecture<StaticConfig> = {
  modelType: 'undrift-static',
  specialTokens: false,

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
    // Unit-variance sums of a few dozen tokens; the cosine does not see the scale, Adam's relative step does.
    embeddingParameters('embedding', vocab_size, hidden_size, { lookup: true, deviation: 0.1 }),
    {
      name: 'token_logits.weight',
      shape: [vocab_size, 1],
      init: { kind: 'constant', value: UNIT_LOGIT },
      decay: false,
      lookup: true,
    },
  ],

  forward(_config, p, { ids, mask }) {
    const table = p('embedding.weight');
    const [batch, rows] = [ids.shape[0]!, table.shape[0]!];
    const counts = scatterAdd(fill(ids.graph, 0, [batch, rows]), ids, mask, { axis: 1 });
    const weights = softplus(reshape(p('token_logits.weight'), [1, rows]));
    const weighted = mul(counts, weights);
    const total = sum(weighted, { axes: 1, keepDims: true });
    return { kind: 'pooled', hidden: div(matmul(weighted, table), maximum(total, 1e-9)) };
  },
};
