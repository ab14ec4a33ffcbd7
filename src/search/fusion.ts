import { UsageError } from '../util/errors.ts';

/** Ranked rows of one search, best first. */
export interface RankedRows {
  /** Rows, each at most once. */
  readonly rows: ArrayLike<number>;
  /** Score of each row, descending. */
  readonly scores: ArrayLike<number>;
}

/** Fused ranking, best first. */
export interface FusedRows {
  readonly rows: number[];
  readonly scores: number[];
}

/** Constant of reciprocal rank fusion (Cormack, Clarke, Büttcher: "Reciprocal Rank Fusion", SIGIR 2009). */
export const RANK_CONSTANT = 60;

/**
 * Fuses rankings by the reciprocal ranks of their rows:
 *
 *     score(d) = Σ_i w_i / (c + rank_i(d)),     rank from 1; a ranking without d adds nothing
 *
 * Scores of the rankings are not looked at, so that they need no common scale. Equal scores are ordered by row.
 *
 * @param weights  weight of each ranking. Default 1
 * @param constant  c
 * @throws UsageError if there are not as many weights as rankings
 */
export function fuseRanks(
  rankings: readonly RankedRows[],
  weights: readonly number[] = rankings.map(() => 1),
  constant = RANK_CONSTANT,
): FusedRows {
  return fuse(rankings, weights, (_ranking, place) => 1 / (constant + place + 1));
}

/**
 * Fuses rankings by their scores, each scaled to [0, 1] over its own rows:
 *
 *     score(d) = Σ_i w_i (s_i(d) − min_i) / (max_i − min_i),     a ranking without d adds nothing
 *
 * Equal scores are ordered by row.
 *
 * @param weights  weight of each ranking
 * @throws UsageError if there are not as many weights as rankings
 */
export function fuseScores(rankings: readonly RankedRows[], weights: readonly number[]): FusedRows {
  return fuse(rankings, weights, ({ scores }, place) => {
    const [most, least] = [scores[0]!, scores[scores.length - 1]!];
    return most === least ? 1 : (scores[place]! - least) / (most - least);
  });
}

function fuse(
  rankings: readonly RankedRows[],
  weights: readonly number[],
  part: (ranking: RankedRows, place: number) => number,
): FusedRows {
  if (weights.length !== rankings.length) {
    throw new UsageError(`${rankings.length} rankings need as many weights, found ${weights.length}`);
  }
  const sums = new Map<number, number>();
  for (const [i, ranking] of rankings.entries()) {
    for (let place = 0; place < ranking.rows.length; place++) {
      const row = ranking.rows[place]!;
      sums.set(row, (sums.get(row) ?? 0) + weights[i]! * part(ranking, place));
    }
  }
  const best = [...sums].sort(([a, x], [b, y]) => y - x || a - b);
  return { rows: best.map(([row]) => row), scores: best.map(([, score]) => score) };
}
