import { MASKED_SCORE } from '../nn/masked-score.ts';
import type { RngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { type MaskedSlots, maskedSlots } from './masks.ts';
import type { SampledSlots } from './table-distribution.ts';
import type { TableScores } from './table-scores.ts';
import { checkDraws, unitNumbers } from './unit-numbers.ts';

/** Rows that are corrected for the queries of a call by default, if they are all different. */
const DEFAULT_ROWS = 2048;
/** Fewest and most candidates of a query by default, and fewest for each of its draws. */
const FEWEST = 16;
const MOST = 64;
const PER_DRAW = 8;
/** Smallest share of Z that is assumed to be left after draws without replacement, as Z is an estimate. */
const SMALLEST_SHARE = 1e-9;
/** Range of a normal number in an integral, and the distance of its points, in standard deviations. */
const WIDEST = 6;
const WIDTH = 0.25;

/** Correction of single rows of a table. */
export interface RowCorrection {
  /** Returns rows of the table as the corrector moves them now: f32[slots, D]. */
  correct(slots: Int32Array): Promise<Float32Array<ArrayBuffer>>;
  /**
   * Most rows that are corrected for the queries of a call. 0 for 2,048, of which each query has 16 to 64, or 8 for each of its
   * draws if that is more.
   */
  readonly mostRows: number;
}

/** Distribution of B queries over the slots of a table, such as `TableDistribution`. */
export interface SlotDistribution {
  /** log Z of each query, f32[B], or an estimate; `MASKED_SCORE` if no slot is left to draw from. */
  readonly logPartition: Float32Array;
  /** Draws k slots for each query, in the order of the draws; see `TableDistribution.draw`. */
  draw(
    k: number,
    key: RngKey,
    options?: { replacement?: boolean; exclude?: MaskedSlots },
  ): Promise<SampledSlots>;
}

/** Cost and error of draws from corrected rows. */
export interface CorrectedDrawsReport {
  /** Number of distinct rows that were corrected. */
  readonly rows: number;
  /**
   * Estimate of the probability that a draw is not the one that correction of all rows would give, averaged over the
   * queries: a bound of the total variation distance. It is made from how far the scores of the candidates were
   * moved, taken as normal, and does not know of rows that were moved much further than others.
   */
  readonly missed: number;
}

/** Returns the number of candidates of each query, by draws a query and the most rows for all B queries; 0 for the default. */
export function candidatesPerQuery(draws: number, B: number, mostRows = 0): number {
  const share = Math.floor((mostRows || DEFAULT_ROWS) / Math.max(1, B));
  return mostRows > 0 ? Math.max(draws, share) : Math.max(FEWEST, PER_DRAW * draws, Math.min(MOST, share));
}

/**
 * Softmax of B queries over the corrected rows of a table, from which slots are drawn while only few rows are
 * corrected:
 *
 *     P(n | b) = exp s̃(b, n) / Z̃_b       s̃: scores of the corrected rows       s: scores of the rows as they are
 *
 * Candidates are drawn from the softmax over the rows as they are, R for each query, and only they are
 * corrected. With exponential waiting times between them, they are the first arrivals of a Poisson process in
 * which row n arrives at the rate exp s_n. If the arrival times t of row n are divided by w_n = exp(s̃_n − s_n), its rate
 * becomes exp s̃_n. So the candidates in the order of t / w are independent draws from the softmax over the corrected rows;
 * without replacement, they are the order of the largest  s̃ + Gumbel noise. The noise is shared by both
 * distributions: if nothing is moved, the candidates are drawn in their own order.
 *
 * A draw is wrong only where a row that is not among the candidates, so that it arrives after time t_R, would have come
 * first: only rows with w > t_R / t, which is of the order of R, can do so. Selection by weights instead
 * (sampling importance resampling) has an error of the order of the variance of w over R.
 *
 * `logPartition` is an estimate: log Z + log of the mean of w over the candidates; without replacement, Des Raj's mean over
 * ordered draws ("Some estimators in sampling with varying probabilities without replacement", JASA 1956). It is
 * unbiased for Z̃, and exact if nothing is moved.
 *
 * Cost: at most B R rows corrected, whatever the size of the table.
 */
export class CorrectedDistribution implements SlotDistribution {
  readonly logPartition: Float32Array;
  /** Cost and error of the draws. */
  readonly report: CorrectedDrawsReport;
  private readonly queries: readonly Candidates[];
  private readonly replacement: boolean;

  private constructor(
    queries: readonly Candidates[],
    of: { rows: number; draws: number; replacement: boolean },
  ) {
    this.queries = queries;
    this.replacement = of.replacement;
    this.logPartition = Float32Array.from(queries, ({ logPartition }) => logPartition);
    const missed = queries.reduce((sum, own) => sum + (own.isAll ? 0 : missedBy(own, of.draws)), 0);
    this.report = { rows: of.rows, missed: missed / Math.max(1, queries.length) };
  }

  /**
   * Draws candidates, and corrects them.
   *
   * @param stale  softmax over the rows as they are
   * @param source  scores of the table
   * @param queries  f32[B, D], multiplied by 1/τ
   * @param options.draws  draws per query that are planned
   * @param options.replacement  whether they are independent
   * @param options.key  key of the candidates
   * @throws UsageError when there are more than 2²⁰ candidates a query
   */
  static async create(
    stale: SlotDistribution,
    source: TableScores,
    queries: Float32Array,
    options: { correction: RowCorrection; draws: number; replacement: boolean; key: RngKey },
  ): Promise<CorrectedDistribution> {
    const { correction, draws, replacement, key } = options;
    const { filled, dimension } = source.table;
    const B = queries.length / dimension;
    const wanted = candidatesPerQuery(draws, B, correction.mostRows);
    // One more than there are tells that all rows are candidates.
    const k = replacement ? wanted : Math.min(wanted, Math.max(draws, filled + 1));
    const drawn = await stale.draw(k, key, { replacement });
    const queryOf = drawn.slots.map((_, i) => Math.floor(i / k));
    const { scores, rows } = await correctedScores(source, correction, queries, {
      queryOf,
      slots: drawn.slots,
    });
    const own = Array.from({ length: B }, (_, b) => {
      const part = <T extends Int32Array | Float32Array>(values: T) =>
        values.subarray(b * k, (b + 1) * k) as T;
      return new Candidates({
        slots: part(drawn.slots),
        stale: part(drawn.scores),
        scores: part(scores),
        logPartition: stale.logPartition[b]!,
        replacement,
      });
    });
    return new CorrectedDistribution(own, { rows, draws, replacement });
  }

  /**
   * Draws k slots for each query, as `TableDistribution.draw` does. Draws of one call are in the order of the corrected
   * arrival times; another key gives other times to the same candidates.
   *
   * @throws UsageError when k is not a whole number from 0 to 2²⁰
   */
  async draw(k: number, key: RngKey, options: { exclude?: MaskedSlots } = {}): Promise<SampledSlots> {
    const { exclude } = options;
    checkDraws(k);
    const { queries, replacement } = this;
    const slots = new Int32Array(queries.length * k).fill(NONE);
    const scores = new Float32Array(queries.length * k).fill(MASKED_SCORE);
    for (const [b, own] of queries.entries()) {
      const out = new Set(exclude ? maskedSlots(exclude, b) : []);
      let at = b * k;
      for (const i of own.arrivals(key, b)) {
        if (at === (b + 1) * k) break;
        const slot = own.slots[i]!;
        if (out.has(slot)) continue;
        if (!replacement) out.add(slot);
        slots[at] = slot;
        scores[at++] = own.scores[i]!;
      }
    }
    return { k, slots, scores };
  }
}

/**
 * Computes the scores of single pairs with the corrected rows; `MASKED_SCORE` for the slot `NONE`.
 *
 * @param queries  f32[B, D], multiplied by 1/τ
 * @param pairs  query and slot of each of P pairs
 * @returns  f32[P], and the number of distinct rows that were corrected
 */
export async function correctedScores(
  source: TableScores,
  correction: RowCorrection,
  queries: Float32Array,
  { queryOf, slots }: { queryOf: Int32Array; slots: Int32Array },
): Promise<{ scores: Float32Array; rows: number }> {
  const distinct = Int32Array.from(new Set(slots.filter((slot) => slot !== NONE))).sort();
  if (distinct.length === 0) return { scores: new Float32Array(slots.length).fill(MASKED_SCORE), rows: 0 };
  const places = new Map([...distinct].map((slot, place) => [slot, place]));
  const scores = await source.pairScores(queries, {
    queryOf,
    slots: slots.map((slot) => places.get(slot) ?? NONE),
    rows: await correction.correct(distinct),
  });
  return { scores, rows: distinct.length };
}

/** Candidates of one query, in the order in which they were drawn. */
class Candidates {
  readonly slots: Int32Array;
  /** Scores of the corrected rows. */
  readonly scores: Float32Array;
  /** Estimate of log Z̃. */
  readonly logPartition: number;
  /** Number of candidates. */
  readonly count: number;
  /** Variance of log w over them. */
  readonly variance: number;
  /** Whether all rows that may be drawn are candidates. */
  readonly isAll: boolean;
  /** log w = s̃ − s of each candidate. */
  private readonly logWeights: Float64Array;
  /** Share of Z that each candidate was drawn from: 1 with replacement, less what was drawn before without. */
  private readonly left: Float64Array;

  constructor(of: {
    slots: Int32Array;
    stale: Float32Array;
    scores: Float32Array;
    logPartition: number;
    replacement: boolean;
  }) {
    const { stale, logPartition: logZ, replacement } = of;
    const found = of.slots.indexOf(NONE);
    const count = found < 0 ? of.slots.length : found;
    this.slots = of.slots.subarray(0, count);
    this.scores = of.scores.subarray(0, count);
    this.logWeights = Float64Array.from(this.scores, (score, i) => score - stale[i]!);
    this.left = new Float64Array(count).fill(1);
    this.count = count;
    this.isAll = count === 0 || (!replacement && count < of.slots.length);
    const mean = this.logWeights.reduce((sum, x) => sum + x, 0) / Math.max(1, count);
    this.variance = this.logWeights.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, count - 1);
    if (count === 0) {
      this.logPartition = MASKED_SCORE;
      return;
    }
    // Weights relative to the largest, and sums over the candidates before each one.
    const largest = this.logWeights.reduce((a, b) => Math.max(a, b));
    let [seen, seenWeight, total] = [0, 0, 0];
    for (let i = 0; i < count; i++) {
      const weight = Math.exp(this.logWeights[i]! - largest);
      if (!replacement) this.left[i] = Math.max(SMALLEST_SHARE, 1 - seen);
      total += seenWeight + weight * this.left[i]!;
      if (replacement) continue;
      const p = Math.exp(stale[i]! - logZ);
      seen += p;
      seenWeight += p * weight;
    }
    this.logPartition = logZ + largest + Math.log(this.isAll ? seenWeight : total / count);
  }

  /** Lists the candidates by corrected arrival time, first ones first. */
  arrivals(key: RngKey, b: number): number[] {
    const { logWeights, left } = this;
    const numbers = unitNumbers(key, b, 0, left.length);
    let time = 0;
    const times = Float64Array.from(left, (share, i) => {
      time += -Math.log1p(-numbers[2 * i]!) / share;
      return Math.log(time) - logWeights[i]!;
    });
    return [...times.keys()].sort((i, j) => times[i]! - times[j]! || i - j);
  }
}

/**
 * Estimates the mean probability that one of k draws is missed. A row with weight w that is drawn at the corrected time x has
 * an uncorrected arrival time of  x w / w̄, w̄ the mean weight, and the last of R candidates one of about R. The j-th draw has a time
 * of the gamma distribution of shape j. With log w normal of variance σ² over the rows, log(w / w̄) of a drawn row is normal too, of
 * mean σ²/2:
 *
 *     ∫ φ(z) Q(R exp(−σ²/2 − σ z)) dz,     Q(y) = (1/k) Σ_j P(x_j > y) = (1/k) Σ_j Σ_{l<j} e^{−y} y^l / l!
 */
function missedBy({ variance, count }: { variance: number; count: number }, k: number): number {
  const sigma = Math.sqrt(variance);
  let [missed, density] = [0, 0];
  for (let z = -WIDEST; z <= WIDEST; z += WIDTH) {
    const phi = Math.exp(-0.5 * z * z);
    density += phi;
    missed += phi * laterThan(count * Math.exp(-0.5 * variance - sigma * z), k);
  }
  return missed / density;
}

/** Computes the mean probability that the j-th point of a Poisson process of rate 1 comes after y, over j from 1 to k. */
function laterThan(y: number, k: number): number {
  // Beyond this point nothing is left in double precision.
  if (y > 40 + 2 * k + 9 * Math.sqrt(k)) return 0;
  let [term, tail, sum] = [Math.exp(-y), 0, 0];
  for (let l = 0; l < k; l++) {
    tail += term;
    sum += tail;
    term *= y / (l + 1);
  }
  return sum / k;
}
