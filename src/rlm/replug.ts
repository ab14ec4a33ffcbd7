import type { LanguageModel } from '../models/language/language-model.ts';
import { checkedValues, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import { frontSystem } from './front-system.ts';
import { FRONT_CONTROLS } from './in-context.ts';
import type { LanguageSystem } from './language-system.ts';
import { FRONT_OPTIONS, PassageFront, type PassageFrontOptions } from './passage-front.ts';
import type { PassageSource } from './passage-source.ts';
import { SOURCE_OPTIONS, withSource } from './source-options.ts';
import type { SystemSpec } from './system-spec.ts';

/** Options of an ensemble of passages. */
export const ENSEMBLE_OPTIONS = {
  /** Passages k in the ensemble. Default 4. */
  ensemble: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 4,
    group: 'Ensemble',
    help: 'passages that are read, each in a pass of its own',
  },
  /**
   * Temperature γ of the passages' weights. Default 0.1, which suits cosines, and with which REPLUG LSR trains a retriever. Scores of BM25
   * are some hundred times larger.
   */
  scoreTemperature: {
    type: 'number',
    above: 0,
    default: 0.1,
    group: 'Ensemble',
    help: "temperature of the passages' weights, softmax(score / temperature); 0.1 suits cosines, and 5 scores of BM25",
  },
} as const satisfies OptionTable;

/** Options of `replugSystem`. */
export interface ReplugOptions extends PassageFrontOptions, GivenOptions<typeof ENSEMBLE_OPTIONS> {}

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
  const { ensemble, scoreTemperature } = checkedValues(ENSEMBLE_OPTIONS, options);
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

/** Options of REPLUG, as commands take them. */
const OPTIONS = { ...SOURCE_OPTIONS, ...ENSEMBLE_OPTIONS, ...FRONT_OPTIONS } as const satisfies OptionTable;

/** REPLUG as a kind of language system. */
export const replug: SystemSpec = {
  id: 'replug',
  summary: 'several passages, each read alone in front of the context, with their predictions mixed',
  paper: {
    title: 'REPLUG: Retrieval-Augmented Black-Box Language Models',
    year: 2023,
    url: 'https://arxiv.org/abs/2301.12652',
  },
  options: OPTIONS,
  controls: FRONT_CONTROLS,
  async open(model, options, context) {
    const given = checkedValues(OPTIONS, options);
    return await withSource(options, context, (source) => replugSystem(model, source, given));
  },
};
