import type { LanguageModel } from '../models/language/language-model.ts';
import { frontSystem } from './front-system.ts';
import type { LanguageSystem } from './language-system.ts';
import { PassageFront, type PassageFrontOptions } from './passage-front.ts';
import type { PassageSource } from './passage-source.ts';
import { type PassageReranker, type RerankerName, rerankers } from './rerankers.ts';

/** Options of `inContextSystem`. */
export interface InContextOptions extends PassageFrontOptions {
  /** Passages that are found for each retrieval, among which the reranker chooses, ≥ 1. Default 1, or 4 with a reranker. */
  readonly candidates?: number | undefined;
  /** Reranker, or the name of one that the language model itself is. Default: the source's best passage is read. */
  readonly reranker?: RerankerName | PassageReranker | undefined;
  /** Tokens of the context that the reranker `log-probability` predicts, ≥ 1. Default 16. */
  readonly prefixTokens?: number | undefined;
}

/** Candidates of a reranker, by default. */
const CANDIDATES = 4;

/**
 * Makes the system in-context RALM: one passage in front of the context of a language model, which is not trained. Running text is
 * retrieved for every `stride` tokens, with the last `queryTokens` tokens before them; the text before the first token to score must not
 * be empty, or that stretch is read without a passage. A question is retrieved for once, with its own text.
 *
 * The leak filter of the source gets the document of the segment and the tokens to score.
 *
 * @param source  source of passages, which belongs to the caller
 * @throws UsageError for an option out of range
 * @paper Ram et al. 2023: "In-Context Retrieval-Augmented Language Models".
 */
export function inContextSystem(
  model: LanguageModel,
  source: PassageSource,
  options: InContextOptions = {},
): LanguageSystem {
  const front = new PassageFront(model, source.passages, options);
  const reranker =
    typeof options.reranker === 'string' ? rerankers[options.reranker](front, options) : options.reranker;
  return frontSystem({
    name: 'in-context',
    front,
    source,
    candidates: options.candidates ?? (reranker ? CANDIDATES : 1),
    async choose(stretches, found, ledger, compute) {
      const scores =
        (await reranker?.scores(stretches, found, ledger, compute)) ?? found.map((each) => each.scores);
      return found.map(({ rows }, i) => ({
        rows: rows.slice(best(scores[i]!), best(scores[i]!) + 1),
        logWeights: new Float64Array(1),
      }));
    },
  });
}

/** Returns the place of the largest value, the first of several. */
function best(values: ArrayLike<number>): number {
  let place = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[place]!) place = i;
  return place;
}
