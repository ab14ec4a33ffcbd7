import type { TokenState } from '../models/language/decoder.ts';
import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { checkPositive, checkShare } from './check-number.ts';
import type { LanguageSystem } from './language-system.ts';
import { mixLogProbabilities } from './recalled-tokens.ts';
import { Recaller } from './recaller.ts';
import type { TokenMemory } from './token-datastore.ts';

/** Weights and temperatures of kNN-LM. */
export interface KnnLmWeights {
  /** Temperature τ of the softmax of −‖q − k‖² / τ over the neighbours, > 0. Its right value depends on the model's keys. */
  readonly temperature: number;
  /** Weight λ of the neighbours, from 0 to 1. */
  readonly lambda: number;
  /** Scale θ of the softmax of θ q · k over the earlier tokens of the window, > 0. Read only where `cacheLambda` is above 0. */
  readonly cacheTheta: number;
  /** Weight of the earlier tokens of the window, from 0 to 1 − λ. */
  readonly cacheLambda: number;
}

/** Options of `knnLmSystem`. */
export interface KnnLmOptions extends KnnLmWeights {
  /** Neighbours of each token, ≥ 1. Default 1,024. A datastore of fewer tokens is searched whole. */
  readonly neighbours?: number | undefined;
  /** State that is the key of a token, where there is no datastore. Default `feed-forward-input`. */
  readonly keys?: TokenState | undefined;
}

/**
 * Makes the system kNN-LM: the prediction of a language model mixed with that of the nearest tokens of a datastore, and with that of
 * the earlier tokens of the window (continuous cache).
 *
 *     p(x_t) = (1 − λ − λ_c) p_LM(x_t) + λ Σ_{i: v_i = x_t} softmax_i(−‖q_t − k_i‖² / τ) + λ_c Σ_{j < t: x_j = x_t} softmax_j(θ q_t · q_j)
 *
 * q_t is the state that predicts x_t, of the kind that the datastore has as keys. The sums go over the k nearest tokens, and over the
 * tokens of the window before x_t. Nothing is trained. Tokens of the segment's own document are left out of the datastore. With λ = 0
 * nothing is searched, and with λ = λ_c = 0 the scores are those of the language model to the bit.
 *
 * @param memory  datastore, which belongs to the caller; undefined for the cache alone
 * @throws UsageError for weights and temperatures out of range
 * @paper Khandelwal et al. 2020: "Generalization through Memorization: Nearest Neighbor Language Models"; Grave et al. 2017: "Improving
 *   Neural Language Models with a Continuous Cache".
 */
export function knnLmSystem(
  model: LanguageModel,
  memory: TokenMemory | undefined,
  options: KnnLmOptions,
): LanguageSystem {
  checkWeights(options, memory);
  const { temperature, lambda, cacheTheta, cacheLambda, neighbours, keys } = options;
  const recaller = new Recaller(model, {
    memory: lambda > 0 ? memory : undefined,
    neighbours,
    keys: memory?.keys ?? keys,
    cache: cacheLambda > 0,
  });
  return {
    name: 'knn-lm',
    model,
    ledger: recaller.ledger,
    async score(segments, scoring = {}) {
      const scores: Float32Array[] = [];
      for await (const recall of recaller.recall(segments, scoring)) {
        const memories = [
          { recalled: recall.neighbours, scale: 1 / temperature, weight: lambda },
          { recalled: recall.cache, scale: cacheTheta, weight: cacheLambda },
        ].flatMap(({ recalled, scale, weight }) =>
          recalled ? [{ logProbabilities: recalled.logProbabilities(scale), weight }] : [],
        );
        scores.push(mixLogProbabilities(recall.base, memories));
      }
      return scores;
    },
    dispose: () => recaller.dispose(),
  };
}

function checkWeights(
  { temperature, lambda, cacheTheta, cacheLambda }: KnnLmOptions,
  memory: TokenMemory | undefined,
): void {
  checkShare('lambda', lambda);
  checkShare('cacheLambda', cacheLambda, lambda);
  if (lambda > 0) checkPositive('temperature', temperature);
  if (cacheLambda > 0) checkPositive('cacheTheta', cacheTheta);
  if (lambda > 0 && !memory) throw new UsageError('the weight lambda is above 0, and there is no datastore');
}
