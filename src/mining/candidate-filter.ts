import type { DuplicateMap } from '../cache/masks.ts';
import { UsageError } from '../util/errors.ts';

/** Documents that were found for a query, best first. */
export interface Ranking {
  /** Rows of the corpus. */
  readonly rows: ArrayLike<number>;
  /** In whatever unit the ranker has; descending. */
  readonly scores: ArrayLike<number>;
}

/**
 * Why a document is no negative, in the order in which this is asked: each counts under the first reason that applies.
 *
 * | reason | the document |
 * |---|---|
 * | `positive` | is a known positive of the query, or of a query of the same text |
 * | `duplicate` | has the text of one of these |
 * | `sameId` | is the query itself, or a copy of it |
 * | `empty` | has no text |
 * | `rank` | is better than rank `rankFrom` |
 * | `maxScore`, `minScore` | scores above or below these |
 * | `absoluteMargin`, `relativeMargin` | comes too near to the positive |
 * | `repeated` | has the text of a better candidate |
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
] as const;
export type Reason = (typeof REASONS)[number];

/** Which documents may be negatives of a query. Ranks and scores as the ranker gives them. */
export interface CandidateRules {
  /** First rank that may be one, 0 the best (0). */
  readonly rankFrom?: number | undefined;
  /** Rank before which candidates end (100). */
  readonly rankTo?: number | undefined;
  /** Drop a document where s + absoluteMargin > s⁺. */
  readonly absoluteMargin?: number | undefined;
  /** Drop a document where s > s⁺ − |s⁺| · relativeMargin. */
  readonly relativeMargin?: number | undefined;
  readonly maxScore?: number | undefined;
  readonly minScore?: number | undefined;
}

/** What is known of one query. */
export interface QueryFacts {
  /** Its own positives, whose lowest score s⁺ the margins are measured from. */
  readonly positives: ArrayLike<number>;
  /** Why a document is no negative whatever its score. */
  readonly reasonOf: (row: number) => Reason | undefined;
  readonly sameDocuments: DuplicateMap;
}

const RANK_TO = 100;

/** The ranks that are looked at. @throws UsageError where they make no sense */
export function rankRange({ rankFrom = 0, rankTo = RANK_TO }: CandidateRules): { from: number; to: number } {
  const whole = (rank: number) => Number.isSafeInteger(rank) && rank >= 0;
  if (!whole(rankFrom) || !whole(rankTo) || rankTo <= rankFrom) {
    throw new UsageError(`there is no rank from ${rankFrom} and before ${rankTo}`, {
      help: 'give whole numbers, the second one larger',
    });
  }
  return { from: rankFrom, to: rankTo };
}

/**
 * The documents of a ranking that may be negatives of its query.
 *
 *     s + absoluteMargin ≤ s⁺   and   s ≤ s⁺ − |s⁺| · relativeMargin,      s⁺ = lowest score of the query's positives
 *
 * A rank is a document's place among those that are no right answers (nor empty), so `rankFrom` and `rankTo` mean the same for
 * a query with one positive and for one with fifty. A positive that the ranking does not reach scores at most what the last
 * document of it does: with a margin, no candidate keeps its distance from it.
 *
 * The margins and the lowest positive as their anchor are those of sentence-transformers' `mine_hard_negatives` and of
 * NV-Retriever (arXiv:2407.15831; its TopK-PercPos at 95 % is a relative margin of 0.05). There `range_min` counts what the
 * margins have left; here ranks come first, as in the `rank-range` sampler.
 *
 * @param removed  counts of the reasons, added to
 * @returns  positions in the ranking, ascending
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

/** What a score alone decides. */
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

/** The lowest score of the positives; undefined where one of them is not in the ranking, or there is none. */
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
