import type { DuplicateMap } from '../data/text-identity.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { checkOption, type GivenOptions, optionValues } from '../util/option-table.ts';
import { RULE_OPTIONS } from './mining-options.ts';

/** Documents found for a query, best first. */
export interface Ranking {
  /** Rows of the corpus, best first. */
  readonly rows: ArrayLike<number>;
  /** Scores in the ranker's own unit, descending. */
  readonly scores: ArrayLike<number>;
}

/**
 * Reasons to reject a document as a negative, in the order of the checks. A document counts under the first
 * reason that applies.
 *
 * | reason | the document |
 * |---|---|
 * | `positive` | is a known positive of the query, or of a query of the same text |
 * | `duplicate` | has the text of one of these |
 * | `sameId` | is the query itself: has its id (`dropSameId`) or its text |
 * | `empty` | has no text |
 * | `rank` | is better than rank `rankFrom` |
 * | `maxScore`, `minScore` | scores above or below these |
 * | `absoluteMargin`, `relativeMargin` | comes too near to the positive |
 * | `repeated` | has the text of a better candidate |
 * | `check` | is too near to the positive by the model that checks negatives |
 */
export const REASONS = [
  'positive',
  'duplicate',
  'sameId',
  'empty',
  'rank',
  'maxScore',
  'minScore',
  'absoluteMargin',
  'relativeMargin',
  'repeated',
  'check',
] as const;
/** Reason to reject a document as a negative; see {@link REASONS}. */
export type Reason = (typeof REASONS)[number];

/** Rules on ranks and scores for negatives of a query. Ranks and scores are those of the ranker. */
export interface CandidateRules extends Readonly<GivenOptions<typeof RULE_OPTIONS>> {}

/** Facts about one query that the filter needs. */
export interface QueryFacts {
  /** Rows of the query's own positives. Margins are measured from their lowest score s⁺. */
  readonly positives: ArrayLike<number>;
  /** Reason to reject a document whatever its score; undefined if there is none. */
  readonly reasonOf: (row: number) => Reason | undefined;
  /** Documents with the same text as a document. */
  readonly sameDocuments: DuplicateMap;
}

/**
 * Returns the range of ranks that may be negatives, from `from` to before `to`.
 *
 * @throws UsageError when the range is empty or not of whole numbers ≥ 0
 */
export function rankRange(rules: CandidateRules): { from: number; to: number } {
  const { rankFrom, rankTo } = optionValues(RULE_OPTIONS, { ...rules });
  checkOption('rankFrom', RULE_OPTIONS.rankFrom, rankFrom);
  checkOption('rankTo', RULE_OPTIONS.rankTo, rankTo);
  if (rankTo <= rankFrom) {
    throw new UsageError(`there is no rank from ${rankFrom} and before ${rankTo}`, {
      help: `give a larger ${option('rankTo')}, or a smaller ${option('rankFrom')}`,
    });
  }
  return { from: rankFrom, to: rankTo };
}

/**
 * Selects the documents of a ranking that may be negatives of its query.
 *
 *     s + absoluteMargin ≤ s⁺   and   s ≤ s⁺ − |s⁺| · relativeMargin,      s⁺ = lowest score of the query's positives
 *
 * The rank of a document is its place among those that are neither right answers nor empty. So `rankFrom` and
 * `rankTo` mean the same for a query with one positive and for a query with fifty. A positive below the end
 * of the ranking scores at most as much as the last document; if there is a margin, no candidate is accepted
 * then.
 *
 * Margins, and the lowest positive as their anchor, are those of sentence-transformers' `mine_hard_negatives`
 * and of NV-Retriever (arXiv:2407.15831; its TopK-PercPos at 95 % is a relative margin of 0.05). In
 * sentence-transformers `range_min` counts the documents left by the margins; here ranks are counted first,
 * as in the `rank-range` sampler.
 *
 * @param removed  counts of the reasons, which this function increases
 * @returns positions in the ranking, ascending
 * @throws UsageError for an invalid range of ranks
 */
export function filterCandidates(
  ranking: Ranking,
  facts: QueryFacts,
  rules: CandidateRules,
  removed: Record<Reason, number>,
): number[] {
  const { rows, scores } = ranking;
  const { reasonOf, sameDocuments } = facts;
  const { from, to } = rankRange(rules);
  const reasonOfScore = scoreRule(ranking, facts, rules);
  const kept: number[] = [];
  const taken = new Set<number>();
  let rank = 0;
  for (let i = 0; i < rows.length && rank < to; i++) {
    const row = rows[i]!;
    const known = reasonOf(row);
    if (known) {
      removed[known]++;
      continue;
    }
    const reason =
      rank++ < from ? 'rank' : (reasonOfScore(scores[i]!) ?? repeated(sameDocuments(row), taken));
    if (reason) {
      removed[reason]++;
      continue;
    }
    taken.add(row);
    kept.push(i);
  }
  return kept;
}

/** Makes the check that depends on the score alone. */
function scoreRule(
  ranking: Ranking,
  { positives }: QueryFacts,
  rules: CandidateRules,
): (score: number) => Reason | undefined {
  const { absoluteMargin, relativeMargin } = rules;
  const { maxScore = Number.POSITIVE_INFINITY, minScore = Number.NEGATIVE_INFINITY } = rules;
  const hasMargin = absoluteMargin !== undefined || relativeMargin !== undefined;
  const anchor = hasMargin ? lowestScore(ranking, positives) : undefined;
  return (score) => {
    if (score > maxScore) return 'maxScore';
    if (score < minScore) return 'minScore';
    if (absoluteMargin !== undefined && (anchor === undefined || score + absoluteMargin > anchor))
      return 'absoluteMargin';
    if (
      relativeMargin !== undefined &&
      (anchor === undefined || score > anchor - Math.abs(anchor) * relativeMargin)
    )
      return 'relativeMargin';
    return undefined;
  };
}

/** Finds the lowest score of the positives; undefined if a positive is not in the ranking or there is none. */
function lowestScore({ rows, scores }: Ranking, positives: ArrayLike<number>): number | undefined {
  const missing = new Set(Array.from(positives));
  let lowest: number | undefined;
  for (let i = 0; i < rows.length && missing.size > 0; i++) if (missing.delete(rows[i]!)) lowest = scores[i]!;
  return missing.size === 0 ? lowest : undefined;
}

function repeated(twins: ArrayLike<number>, taken: ReadonlySet<number>): Reason | undefined {
  for (let i = 0; i < twins.length; i++) if (taken.has(twins[i]!)) return 'repeated';
  return undefined;
}
