import type { CrossEncoder, TextPair } from '../models/cross-encoder/cross-encoder.ts';
import type { CostLedger } from '../objective/cost-ledger.ts';
import type { ComputeOptions } from '../runtime/devices.ts';
import type { OptionTable, OptionValues } from '../util/option-table.ts';
import { scoreSequences } from './front-system.ts';
import type { PassageFront, Stretch } from './passage-front.ts';
import type { FoundPassages } from './passage-source.ts';
import type { Passages } from './passages.ts';

/** Reranker of the passages found for a text that a language model is about to predict. */
export interface PassageReranker {
  /** Name in tables: `log-probability`, `oracle`. */
  readonly name: string;
  /**
   * Scores the passages found for each stretch.
   *
   * @param ledger  ledger to which the cost is added
   * @returns for each stretch one number a passage; the passage with the largest is read
   */
  scores(
    stretches: readonly Stretch[],
    found: readonly FoundPassages[],
    ledger: CostLedger,
    compute: ComputeOptions,
  ): Promise<ArrayLike<number>[]>;
}

/** Names of the rerankers that a language model is without training. */
export const RERANKERS = ['log-probability', 'oracle'] as const;
/** Name of a reranker that a language model is without training. */
export type RerankerName = (typeof RERANKERS)[number];

/** Options of the rerankers. */
export const RERANKER_OPTIONS = {
  /** Tokens of running text that the reranker `log-probability` predicts. Default 16. Of a question it predicts all. */
  prefixTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 16,
    group: 'Choice among passages',
    help: 'running text: last tokens of the context whose likelihood decides, for the reranker log-probability',
  },
} as const satisfies OptionTable;

/**
 * Makes the zero-shot reranker of in-context RALM: log p(last tokens of the context | passage, earlier context). Of a question, all of
 * the prompt after the passage is predicted. The reranker needs no training, and does not see what is to be predicted.
 *
 * @param options.prefixTokens  tokens of running text that are predicted
 */
export const logProbabilityReranker = (
  front: PassageFront,
  { prefixTokens }: OptionValues<typeof RERANKER_OPTIONS>,
): PassageReranker =>
  likelihoodReranker('log-probability', front, ({ segment, from }) => {
    const { head = 0, query } = segment;
    return { segment, from: query === undefined ? Math.max(head, from - prefixTokens) : head, end: from };
  });

/** Makes the oracle: log p(tokens to score | passage, context). It sees what is to be predicted, and so is an upper bound only. */
export const oracleReranker = (front: PassageFront): PassageReranker =>
  likelihoodReranker('oracle', front, (stretch) => stretch);

/**
 * Makes a reranker of a cross-encoder, which scores each passage beside the text that was searched with. A cross-encoder that was trained
 * with the loss `marginal-likelihood` on lists of `rerankerLists` is the predictive reranker of in-context RALM.
 */
export const crossEncoderReranker = (encoder: CrossEncoder, passages: Passages): PassageReranker => ({
  name: 'cross-encoder',
  async scores(stretches, found, ledger, compute) {
    const pairs = stretches.map(({ query }, i) =>
      Array.from(found[i]!.rows, (row): TextPair => [query!.text, passages.text(row)]),
    );
    ledger.add('rerankPairs', pairs.flat().length, { of: 'pairs' });
    const scores = await encoder.scoreTexts(pairs.flat(), compute);
    return inLists(scores, pairs);
  },
});

/** Cuts values into lists of the lengths of others. */
function inLists<T extends { slice(start: number, end: number): T }>(
  values: T,
  lists: readonly { readonly length: number }[],
): T[] {
  let start = 0;
  return lists.map(({ length }) => {
    start += length;
    return values.slice(start - length, start);
  });
}

function likelihoodReranker(
  name: string,
  front: PassageFront,
  predicted: (stretch: Stretch) => Pick<Stretch, 'segment' | 'from' | 'end'>,
): PassageReranker {
  return {
    name,
    async scores(stretches, found, ledger, compute) {
      const sequences = stretches.map((stretch, i) =>
        Array.from(found[i]!.rows, (row) => front.sequence(predicted(stretch), row)),
      );
      const scored = await scoreSequences(front.model, sequences.flat(), ledger, compute);
      const sums = scored.map((values) => values.reduce((sum, value) => sum + value, 0));
      return inLists(sums, sequences);
    },
  };
}

/** Makes the reranker of a name. */
export const rerankers: Readonly<
  Record<
    RerankerName,
    (front: PassageFront, options: OptionValues<typeof RERANKER_OPTIONS>) => PassageReranker
  >
> = { 'log-probability': logProbabilityReranker, oracle: oracleReranker };
