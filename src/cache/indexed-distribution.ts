import { MASKED_SCORE } from '../nn/masked-score.ts';
import { float32, hostTensor, int32Words, int64Tensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';
import { type RngKey, randomInts } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { HAZARD_BLOCK, rankCellsGraph } from './cell-graphs.ts';
import type { CellIndex } from './cell-index.ts';
import { DrawList } from './draw-list.ts';
import { type MaskedSlots, maskedSlotLists, maskedSlots } from './masks.ts';
import { ProbedRows } from './probed-rows.ts';
import { type SampledSlots, TableDistribution } from './table-distribution.ts';
import type { TableScores } from './table-scores.ts';
import { type UniformCandidates, uniformCandidates } from './uniform-rows.ts';
import { checkDraws } from './unit-numbers.ts';

/** Cells that every query probes, and most cells that it may probe. */
const LEAST_PROBES = 2;
const MOST_PROBES = 64;
/** Widths by which the score of a row may exceed that of its centroid before its cell is probed. */
const PROBE_WIDTHS = 5;
/** Uniform candidates for √N rows, and most scores of them at once. */
const CANDIDATES_PER_ROOT = 8;
const CANDIDATE_SCORES = 2 ** 21;
/** Pilot rows for √N rows. */
const PILOT_PER_ROOT = 2;
/** Batches of candidates beyond those expected after which the rows of a query are all scored. */
const MOST_BATCHES = 24;

/** Cost and error of draws by an index. */
export interface SearchReport {
  /** Number of scores of queries with rows and centroids. */
  readonly scored: number;
  /**
   * Estimate of the total variation distance to the softmax, averaged over the queries: the probability of rows
   * outside the probed cells above the bound that draws assume.
   */
  readonly missed: number;
}

/**
 * Softmax of B queries over the filled and unmasked slots of a table, as {@link TableDistribution}, from which
 * slots are drawn without scoring all rows:
 *
 *     P(n | b) = exp s(b, n) / Z_b
 *
 * The rows of cells near a query are scored, which gives their share Z_S of Z exactly. All other rows are
 * assumed to score at most  β = log(a / N) + log Z,  so that no one of them has a probability above a / N.
 * Draws are by rejection: each trial takes the scored rows with probability  Z_S / (Z_S + N e^β)  and draws one
 * of them; otherwise it takes a uniform row, which is accepted with probability  exp(s − β)  unless it is a
 * scored one. After about a trials one is accepted. The uniform rows are the same for all queries, so that their
 * scores are one matrix product.
 *
 * This is lazy Gumbel sampling (Mussmann, Levy, Ermon: "Fast amortized inference and learning in log-linear
 * models with randomly perturbed approximate inference", UAI 2017), written as a rejection sampler: there the
 * largest perturbed score of the scored rows tells how many uniform rows may exceed it.
 *
 * Draws are exact unless a row above the bound is in a cell that was not probed. `report` estimates the
 * probability that is missed.
 *
 * `logPartition` is an estimate: Z_S and N times the mean of exp s over the uniform rows of other cells. It is
 * unbiased for Z.
 *
 * Cost, with c of the order of 10: c √N rows scored for each query. The table must not change between `create`
 * and the last draw.
 */
export class IndexedDistribution {
  /** Estimate of log Z of each query, f32[B]; `MASKED_SCORE` if no slot is left to draw from. */
  readonly logPartition: Float32Array;
  /** Cost and error so far. */
  get report(): SearchReport {
    return { scored: this.scored + this.of.probed.scored, missed: this.missed };
  }
  private readonly of: Prepared;
  private readonly first: UniformCandidates;
  /** Number of candidates that each query has used. */
  private readonly used: Float64Array;
  private scored: number;
  private readonly missed: number;

  private constructor(of: Prepared, first: UniformCandidates, scored: number) {
    const { probed, B, index } = of;
    const { bounds } = first;
    this.of = of;
    this.first = first;
    this.used = new Float64Array(B);
    this.scored = scored;
    this.logPartition = new Float32Array(B);
    const perCandidate = index.table.filled / first.slots.length;
    let missed = 0;
    for (let b = 0; b < B; b++) {
      // Both parts of Z relative to the bound.
      const unit = bounds[b]!;
      const rest = perCandidate * first.weights[b]!;
      const total = Math.exp(probed.logSum(b) - unit) + rest;
      this.logPartition[b] = total > 0 ? unit + Math.log(total) : MASKED_SCORE;
      if (total > 0) missed += Math.min(1, (perCandidate * first.excess[b]!) / total);
    }
    this.missed = missed / B;
  }

  /**
   * Probes cells, scores their rows and a first batch of uniform rows.
   *
   * @param source  scores of the table of the index
   * @param index  index that is up to date
   * @param queries  f32[B, D], multiplied by 1/τ
   * @param options.draws  draws per query that are planned; they decide the bound
   * @param options.key  key of the uniform rows
   * @param options.masked  slots that are not drawn and not part of Z
   * @throws UsageError when the table is not indexed, or `masked` has another number of queries
   */
  static async create(
    source: TableScores,
    index: CellIndex,
    queries: Float32Array,
    options: { draws: number; key: RngKey; masked?: MaskedSlots | undefined },
  ): Promise<IndexedDistribution> {
    const { draws, key, masked } = options;
    const { filled, dimension } = index.table;
    if (!index.cells) throw new UsageError('the table is not indexed', { help: 'call update() first' });
    const B = queries.length / dimension;
    if (masked && masked.offsets.length !== B + 1) {
      throw new UsageError(`masks of ${masked.offsets.length - 1} queries for ${B}`);
    }
    const { batchRows, trials } = trialsOf(filled, B, draws);
    const request = { source, index, queries, masked, key, B, batchRows };
    const share = Math.log(trials / filled);
    const { probed, cuts, estimates, scored } = await probe(request, share);
    const bounds = estimates.map((estimate) => estimate + share);
    const prepared = { ...request, probed, cuts, share };
    const of = range(B);
    const first = await uniformCandidates(index, { ...prepared, bounds, of }, candidateBatch(prepared, 0));
    return new IndexedDistribution(prepared, first, scored + B * batchRows);
  }

  /**
   * Tells whether draws by an index score fewer rows than all: not where many draws are made from a small table.
   *
   * @param filled  rows of the table
   * @param B  number of queries
   * @param draws  draws per query
   */
  static pays(filled: number, B: number, draws: number): boolean {
    return draws * trialsOf(filled, B, draws).trials <= filled / 2;
  }

  /**
   * Draws k slots for each query; see `TableDistribution.draw`.
   *
   * @throws UsageError when k is not a whole number from 0 to 2²⁰
   */
  async draw(
    k: number,
    key: RngKey,
    options: { replacement?: boolean; exclude?: MaskedSlots } = {},
  ): Promise<SampledSlots> {
    const { replacement = false, exclude } = options;
    const { of, used } = this;
    const { B, probed, batchRows } = of;
    checkDraws(k);
    const lists = Array.from({ length: B }, (_, b) => {
      const out = new Set(exclude ? maskedSlots(exclude, b) : []);
      for (const slot of out) probed.remove(b, slot);
      return new DrawList(of, b, { key, out, replacement });
    });
    let open = k > 0 ? lists : [];
    const expected = k * Math.exp(of.share) * of.index.table.filled;
    const last = Math.max(...used) + MOST_BATCHES * batchRows + 2 * expected;
    for (let start = 0; open.length > 0 && start < last; start += batchRows) {
      const own = open.filter(({ b }) => used[b]! < start + batchRows);
      if (own.length === 0) continue;
      const candidates = start === 0 ? this.first : await this.candidates(own, start);
      for (const list of own) used[list.b] = start + list.take(candidates, used[list.b]! - start, k);
      open = open.filter(({ slots }) => slots.length < k);
    }
    if (open.length > 0) await this.scoreAll(open, k, key);
    const slots = new Int32Array(B * k).fill(NONE);
    for (const { b, slots: own } of lists) slots.set(own, b * k);
    const queryOf = slots.map((_, i) => Math.floor(i / k));
    return { k, slots, scores: await of.source.pairScores(of.queries, { queryOf, slots }) };
  }

  private async candidates(lists: readonly DrawList[], start: number): Promise<UniformCandidates> {
    const { of, logPartition } = this;
    this.scored += lists.length * of.batchRows;
    // Z is known better after the first batch. A bound may change between trials by what earlier trials have shown.
    const bounds = Float64Array.from(logPartition, (logZ) => logZ + of.share);
    return await uniformCandidates(
      of.index,
      { ...of, bounds, of: lists.map(({ b }) => b) },
      candidateBatch(of, start),
    );
  }

  /** Completes draws that took too many trials, by scoring all rows. */
  private async scoreAll(lists: readonly DrawList[], k: number, key: RngKey): Promise<void> {
    const { source, queries, masked, index } = this.of;
    const D = index.table.dimension;
    const own = new Float32Array(lists.length * D);
    for (const [i, { b }] of lists.entries()) own.set(queries.subarray(b * D, (b + 1) * D), i * D);
    const given = masked && maskedSlotLists(lists.length, (i) => maskedSlots(masked, lists[i]!.b));
    const distribution = await TableDistribution.create(source, own, given);
    this.scored += lists.length * index.table.filled;
    const exclude = maskedSlotLists(lists.length, (i) => lists[i]!.out);
    const replacement = lists[0]!.replacement;
    const drawn = await distribution.draw(k, key, { replacement, exclude });
    for (const [i, list] of lists.entries())
      list.slots.push(...drawn.slots.subarray(i * k, (i + 1) * k - list.slots.length));
  }
}

/** Queries and the rows that they probe. */
interface Prepared {
  readonly source: TableScores;
  readonly index: CellIndex;
  readonly queries: Float32Array;
  readonly masked: MaskedSlots | undefined;
  readonly key: RngKey;
  readonly B: number;
  /** Uniform candidates that are scored together. */
  readonly batchRows: number;
  readonly probed: ProbedRows;
  /** Score of centroids above which a query probes the cell. */
  readonly cuts: Float64Array;
  /** Log of a / N, the largest probability that a row of another cell is assumed to have. */
  readonly share: number;
}

/**
 * Chooses the number of uniform rows in a batch, and the mean number of trials of a draw. Several draws share the
 * batches, so that each has fewer trials, down to an eighth.
 */
function trialsOf(filled: number, B: number, draws: number): { batchRows: number; trials: number } {
  const most = Math.max(HAZARD_BLOCK, Math.floor(CANDIDATE_SCORES / B));
  const rows = Math.min(CANDIDATES_PER_ROOT * Math.sqrt(filled), most);
  const batchRows = HAZARD_BLOCK * Math.ceil(rows / HAZARD_BLOCK);
  return { batchRows, trials: batchRows * Math.max(1 / 16, Math.min(1 / 2, 4 / Math.max(1, draws))) };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

const candidateBatch = ({ batchRows: count, key }: Pick<Prepared, 'batchRows' | 'key'>, first: number) => ({
  count,
  first,
  key,
});

/**
 * Chooses the cells that each query probes, and scores their rows: the nearest few, and those that may hold a
 * row of a larger probability than the draws assume.
 *
 * @param share  log of the largest probability that a row elsewhere is assumed to have
 */
async function probe(
  of: Pick<Prepared, 'index' | 'queries' | 'masked' | 'key' | 'B'>,
  share: number,
): Promise<{ probed: ProbedRows; cuts: Float64Array; estimates: Float64Array; scored: number }> {
  const { index, queries, masked, B } = of;
  const { table } = index;
  const { centroids, pages } = index.cells!;
  const cells = centroids.dims[0]!;
  const k = Math.min(cells, MOST_PROBES + 1);
  const pilotRows = pilotSlots(of);
  const rank = await index.program(`rank-cells-${k}`, (graph) => rankCellsGraph(graph, table, k));
  const q = hostTensor('f32', [B, table.dimension], queries as Float32Array<ArrayBuffer>);
  const made = await rank.run({
    queries: q,
    centroids,
    table: table.block(0, table.rows),
    pilotRows: int64Tensor(pilotRows),
    pilotCells: int64Tensor(pilotRows.map((slot) => pages.cellOf[slot]!)),
  });
  const [scores, width, pilot] = [float32(made.scores), float32(made.width), float32(made.pilot)];
  const ranked = int32Words(made.ranked!.data as BigInt64Array);
  const scoresOf = (b: number) => scores.subarray(b * k, (b + 1) * k);
  const probed = new ProbedRows(index, q);
  const counts = new Int32Array(B);
  const cuts = new Float64Array(B);
  const probeUpTo = async (wanted: (b: number) => number): Promise<void> => {
    const probes: { b: number; cell: number }[] = [];
    for (let b = 0; b < B; b++) {
      const { count, cut } = cutAt(scoresOf(b), Math.max(counts[b]!, wanted(b)), cells);
      for (let i = counts[b]!; i < count; i++) probes.push({ b, cell: ranked[2 * (b * k + i)]! });
      if (count >= counts[b]!) [counts[b], cuts[b]] = [count, cut];
    }
    if (probes.length > 0) await probed.add(probes);
  };
  await probeUpTo(() => LEAST_PROBES);
  const perPilot = Math.log(table.filled / pilotRows.length);
  const estimate = (b: number) => logAdd(probed.logSum(b), pilot[b]! + perPilot);
  await probeUpTo((b) => {
    const least = estimate(b) + share - PROBE_WIDTHS * width[b]!;
    return countAbove(scoresOf(b), least);
  });
  if (masked) {
    for (let b = 0; b < B; b++)
      for (const slot of maskedSlots(masked, b)) if (slot < table.filled) probed.remove(b, slot);
  }
  const estimates = Float64Array.from({ length: B }, (_, b) => estimate(b));
  return { probed, cuts, estimates, scored: B * (cells + pilotRows.length) };
}

/** Draws the rows from which Z is first estimated. Masked rows, which often score high, are left out. */
function pilotSlots({ index, masked, key }: Pick<Prepared, 'index' | 'masked' | 'key'>): Int32Array {
  const { filled } = index.table;
  const slots = new Int32Array(Math.ceil(PILOT_PER_ROOT * Math.sqrt(filled)));
  randomInts({ ...key, purpose: key.purpose ^ 1 }, filled, slots);
  if (!masked) return slots;
  const out = new Set(masked.slots);
  const left = slots.filter((slot) => !out.has(slot));
  return left.length > 0 ? left : slots;
}

/**
 * Finds a number of cells, `wanted` or a few more, and a score that separates them from the next. Equal scores
 * stay together, since the scores of centroids are computed a second time and may differ in the last digits.
 *
 * @param scores  scores of the best cells, descending
 * @param cells  number of all cells
 */
function cutAt(scores: Float32Array, wanted: number, cells: number): { count: number; cut: number } {
  const most = scores.length === cells ? cells : scores.length - 1;
  const isApart = (count: number) =>
    count === 0 ||
    count === cells ||
    scores[count - 1]! - scores[count]! > 1e-5 * (1 + Math.abs(scores[count]!));
  let count = Math.min(wanted, most);
  while (count < most && !isApart(count)) count += 1;
  while (!isApart(count)) count -= 1;
  if (count === cells) return { count, cut: -1e38 };
  return { count, cut: count === 0 ? 1e38 : (scores[count - 1]! + scores[count]!) / 2 };
}

function countAbove(scores: Float32Array, least: number): number {
  let count = 0;
  while (count < scores.length && scores[count]! > least) count += 1;
  return count;
}

function logAdd(a: number, b: number): number {
  const largest = Math.max(a, b);
  return largest === Number.NEGATIVE_INFINITY
    ? largest
    : largest + Math.log(Math.exp(a - largest) + Math.exp(b - largest));
}
