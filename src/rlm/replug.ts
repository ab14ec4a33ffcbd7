import type { LanguageModel } from '../models/language/language-model.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { frontSystem } from './front-system.ts';
import type { LanguageSystem } from './language-system.ts';
import { PassageFront, type PassageFrontOptions } from './passage-front.ts';
import type { PassageSource } from './passage-source.ts';

/** Options of `replugSystem`. */
export interface ReplugOptions extends PassageFrontOptions {
  /** Passages k in the ensemble, ≥ 1. Default 4. */
  readonly ensemble?: number | undefined;
  /**
   * Temperature γ of the passages' weights, > 0. Default 0.1, which suits scores such as cosines, and is the temperature with which
   * REPLUG LSR trains a retriever. Scores of BM25 are some hundred times larger.
   */
  readonly scoreTemperature?: number | undefined;
}

/**
 * Makes the system REPLUG: the language model reads k passages, each alone in front of the context, and the probabilities of every next
 * token are mixed,
 *
 *     p(y_t | x, y_<t) = Σ_d λ_d p(y_t | d, x, y_<t),   λ = softmax_d(s_d / γ)
 *
 * with the scores s of the source. Neither model is trained. Running text is retrieved for as in `inContextSystem`, which k = 1 equals.
 *
 * @param source  source of passages, which belongs to the caller
 * @throws UsageError for an option out of range
 * @paper Shi et al. 2023: "REPLUG: Retrieval-Augmented Black-Box Language Models".
 */
export function replugSystem(
  model: LanguageModel,
  source: PassageSource,
  options: ReplugOptions = {},
): LanguageSystem {
  const { ensemble = 4, scoreTemperature = 0.1 } = options;
  if (!(scoreTemperature > 0 && Number.isFinite(scoreTemperature))) {
    throw new UsageError(`${option('scoreTemperature')} must be a number above 0, found ${scoreTemperature}`);
  }
  return frontSystem({
    name: 'replug',
    front: new PassageFront(model, source.passages, options),
    source,
    candidates: ensemble,
    choose: async (_, found) =>
      found.map(({ rows, scores }) => ({ rows, logWeights: logEnsembleWeights(scores, scoreTemperature) })),
  });
}

/** Computes log softmax(s / γ) of the scores of passages. */
export function logEnsembleWeights(scores: ArrayLike<number>, temperature: number): Float64Array {
  const scaled = Float64Array.from(scores, (score) => score / temperature);
  const largest = scaled.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const logSum = Math.log(scaled.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  return scaled.map((value) => value - largest - logSum);
}
