import { UsageError } from '../util/errors.ts';
import { type RngKey, randomInts } from '../util/rng.ts';
import { MASKED_SCORE, type MaskedSlots, maskedSlots } from './masks.ts';
import { NONE } from './score-table.ts';
import { BLOCK_ROWS, notANumber, type TableScores } from './table-scores.ts';

/** Slots chosen for each of B queries: query b owns `[b * k, (b + 1) * k)`. */
export interface SampledSlots {
  readonly k: number;
  /** i32[B, k]; `NONE` where a query has fewer slots to choose from. */
  readonly slots: Int32Array;
  /** f32[B, k]: their scores in the table; `MASKED_SCORE` where there is none. */
  readonly scores: Float32Array;
}

/** Numbers of the random sequence that one draw takes, and draws that a query can make. */
const WORDS_PER_DRAW = 4;
const DRAWS_PER_QUERY = 2 ** 20;

/**
 * The softmax of B queries over the filled and unmasked slots of a table:
 *
 *     P(n | b) = exp s(b, n) / Z_b,     Z_b = Σ_n exp s(b, n)
 *
 * Draws are exact and cost little more than the scores. A block of slots is drawn by its share of Z, then a slot by its share of
 * the block:  P(n) = (Z_block / Z) · (exp s_n / Z_block). Only the chosen blocks' scores are made again. This is the
 * two-stage sampling of the Negative Cache paper's shards (Lindgren et al., NeurIPS 2021), which takes the largest of scores
 * with Gumbel noise at both stages; inverting the distribution function draws from the same distribution with one uniform
 * number per stage instead of one Gumbel number per candidate.
 *
 * The table must not change between `create` and the last draw.
 */
export class TableDistribution {
  /** f32[B]: log Z; `MASKED_SCORE` where nothing is left to draw from. */
  readonly logPartition: Float32Array;
  private readonly weights: BlockWeights;

  private constructor(weights: BlockWeights) {
    this.weights = weights;
    this.logPartition = Float32Array.from({ length: weights.B }, (_, b) => weights.logPartition(b));
  }

  /**
   * @param queries  f32[B, D], multiplied by 1/τ
   * @param masked  slots that are not drawn and not part of Z
   */
  static async create(
    source: TableScores,
    queries: Float32Array,
    masked?: MaskedSlots,
  ): Promise<TableDistribution> {
    const weights = new BlockWeights(source, queries, await source.blockLogSumExp(queries));
    if (masked) await weights.leaveOut(masked);
    weights.cumulateAll();
    return new TableDistribution(weights);
  }

  /**
   * Draws k slots for each query.
   *
   * @param options.replacement  independent draws; otherwise one after the other, each from what is left, which is the
   *   distribution of the k largest of  s + Gumbel noise
   * @param options.exclude  further slots not to draw; `logPartition` does not know of them
   */
  async draw(
    k: number,
    key: RngKey,
    options: { replacement?: boolean; exclude?: MaskedSlots } = {},
  ): Promise<SampledSlots> {
    const { replacement = false, exclude } = options;
    if (!Number.isInteger(k) || k < 0 || k > DRAWS_PER_QUERY) {
      throw new UsageError(`draws per query must be a whole number up to ${DRAWS_PER_QUERY}, got ${k}`);
    }
    const weights = this.weights.copy();
    if (exclude) await weights.leaveOut(exclude);
    const { B } = weights;
    const slots = new Int32Array(B * k).fill(NONE);
    const scores = new Float32Array(B * k).fill(MASKED_SCORE);
    const found = new Uint32Array(B);
    const drawn = new Uint32Array(B);
    let open = Array.from({ length: k > 0 ? B : 0 }, (_, b) => b);
    while (open.length > 0) {
      const draws = open.flatMap((b) => {
        const wanted = k - found[b]!;
        const numbers = unitNumbers(key, b, drawn[b]!, wanted);
        drawn[b]! += wanted;
        const own = weights.drawBlocks(b, numbers);
        if (own.length === 0) found[b] = k; // nothing is left: the others stay `NONE`
        return own;
      });
      await weights.fetch(draws);
      // Without replacement, what is drawn again is skipped. The order of first appearance in independent draws is
      // that of draws from what is left; before the next round, what has been found is taken out.
      const taken: { b: number; slot: number }[] = [];
      for (const { b, block, inside } of draws) {
        const { slot, score } = weights.drawSlot(b, block, inside);
        const from = b * k;
        if (!replacement && slots.subarray(from, from + found[b]!).includes(slot)) continue;
        slots[from + found[b]!] = slot;
        scores[from + found[b]!] = score;
        found[b]! += 1;
        taken.push({ b, slot });
      }
      open = open.filter((b) => found[b]! < k);
      if (open.length > 0) for (const { b, slot } of taken) weights.remove(b, slot);
    }
    return { k, slots, scores };
  }
}

/** The weights Σ exp s of the blocks for B queries, from which slots can be taken out. */
class BlockWeights {
  readonly B: number;
  private readonly blocks: number;
  private readonly source: TableScores;
  private readonly queries: Float32Array;
  /** f32[B, blocks]: log-sum-exp of what is left of a block; −∞ for nothing. */
  private readonly sums: Float32Array;
  /** f64[B, blocks]: running sums of exp(sum − largest sum), as they were when made for all queries. */
  private cumulative: Float64Array;
  /** Queries whose running sums have changed since. */
  private readonly changed: Set<number> = new Set();
  /** Positions in blocks that were left out, by b · blocks + block. */
  private readonly takenOut = new Map<number, Set<number>>();
  /** Scores of some blocks for some queries, likewise; `MASKED_SCORE` where taken out. */
  private readonly scores = new Map<number, Float32Array>();
  private readonly scratch: Float64Array;

  constructor(source: TableScores, queries: Float32Array, sums: Float32Array) {
    this.source = source;
    this.queries = queries;
    this.B = queries.length / source.table.dimension;
    this.blocks = sums.length / this.B;
    this.sums = sums;
    this.cumulative = new Float64Array(0);
    this.scratch = new Float64Array(this.blocks);
  }

  /** The same weights, from which others can be taken out. */
  copy(): BlockWeights {
    const copy = new BlockWeights(this.source, this.queries, this.sums.slice());
    copy.cumulative = this.cumulative;
    for (const [at, positions] of this.takenOut) copy.takenOut.set(at, new Set(positions));
    for (const [at, scores] of this.scores) copy.scores.set(at, scores.slice());
    return copy;
  }

  cumulateAll(): void {
    this.cumulative = new Float64Array(this.sums.length);
    for (let b = 0; b < this.B; b++) cumulate(this.sumsOf(b), this.cumulative.subarray(...this.range(b)));
    this.changed.clear();
  }

  logPartition(b: number): number {
    const largest = maximum(this.sumsOf(b));
    return largest <= MASKED_SCORE ? MASKED_SCORE : largest + Math.log(this.cumulativeOf(b).at(-1)!);
  }

  /** One block for each pair of numbers, of which the second is kept for the draw inside; none where nothing is left. */
  drawBlocks(b: number, numbers: Float64Array): { b: number; block: number; inside: number }[] {
    const cumulative = this.cumulativeOf(b);
    if (!(cumulative.at(-1)! > 0)) return [];
    return Array.from({ length: numbers.length / 2 }, (_, i) => ({
      b,
      block: findAbove(cumulative, numbers[2 * i]! * cumulative.at(-1)!),
      inside: numbers[2 * i + 1]!,
    }));
  }

  /** A slot of a block that has been fetched. */
  drawSlot(b: number, block: number, number: number): { slot: number; score: number } {
    const scores = this.scores.get(b * this.blocks + block)!;
    const total = cumulate(scores, insideBlock);
    const position = findAbove(insideBlock, number * total);
    return { slot: block * BLOCK_ROWS + position, score: scores[position]! };
  }

  /** Takes slots out, for each query its own. */
  async leaveOut(masked: MaskedSlots): Promise<void> {
    if (masked.offsets.length !== this.B + 1) {
      throw new UsageError(`masks of ${masked.offsets.length - 1} queries for ${this.B}`);
    }
    const queryOf: number[] = [];
    const slots: number[] = [];
    for (let b = 0; b < this.B; b++) {
      for (const slot of maskedSlots(masked, b)) {
        if (slot >= this.source.table.filled) continue;
        queryOf.push(b);
        slots.push(slot);
      }
    }
    const scores = await this.source.pairScores(this.queries, { queryOf, slots });
    const shares = new Map<number, number>();
    for (const [i, slot] of slots.entries()) {
      const at = this.blockAt(queryOf[i]!, slot);
      const before = this.takenOut.get(at);
      if (before?.has(slot % BLOCK_ROWS)) continue;
      if (before) before.add(slot % BLOCK_ROWS);
      else this.takenOut.set(at, new Set([slot % BLOCK_ROWS]));
      shares.set(at, (shares.get(at) ?? 0) + Math.exp(scores[i]! - this.sums[at]!));
      this.changed.add(queryOf[i]!);
    }
    // A small share of a block's sum can be subtracted. Where more goes, the little that is left is summed up anew.
    const large = [...shares].filter(([, share]) => !(share < 0.5)).map(([at]) => at);
    await this.fetchBlocks(large);
    for (const [at, share] of shares) if (share < 0.5) this.sums[at]! += Math.log1p(-share);
    for (const at of large) this.sums[at] = logSumExp(this.scores.get(at)!);
  }

  /** Has the scores of blocks made that are not known yet. */
  async fetch(cells: readonly { b: number; block: number }[]): Promise<void> {
    await this.fetchBlocks(cells.map(({ b, block }) => b * this.blocks + block));
  }

  /** Takes out a slot of a fetched block. */
  remove(b: number, slot: number): void {
    const at = this.blockAt(b, slot);
    const scores = this.scores.get(at)!;
    scores[slot % BLOCK_ROWS] = MASKED_SCORE;
    this.sums[at] = logSumExp(scores);
    this.changed.add(b);
  }

  private blockAt(b: number, slot: number): number {
    return b * this.blocks + Math.floor(slot / BLOCK_ROWS);
  }

  private async fetchBlocks(wanted: readonly number[]): Promise<void> {
    const missing = [...new Set(wanted)].filter((at) => !this.scores.has(at));
    const made = await this.source.blockScores(this.queries, {
      queryOf: missing.map((at) => Math.floor(at / this.blocks)),
      blocks: missing.map((at) => at % this.blocks),
    });
    for (const [i, at] of missing.entries()) {
      this.scores.set(at, made.subarray(i * BLOCK_ROWS, (i + 1) * BLOCK_ROWS));
    }
    for (const at of wanted)
      for (const position of this.takenOut.get(at) ?? []) this.scores.get(at)![position] = MASKED_SCORE;
  }

  private range(b: number): [number, number] {
    return [b * this.blocks, (b + 1) * this.blocks];
  }

  private sumsOf(b: number): Float32Array {
    return this.sums.subarray(...this.range(b));
  }

  private cumulativeOf(b: number): Float64Array {
    if (!this.changed.has(b)) return this.cumulative.subarray(...this.range(b));
    cumulate(this.sumsOf(b), this.scratch);
    return this.scratch;
  }
}

/** log Σ exp in double precision; −∞ where all are masked. */
function logSumExp(values: Float32Array): number {
  const largest = maximum(values);
  if (largest <= MASKED_SCORE) return Number.NEGATIVE_INFINITY;
  let total = 0;
  for (let i = 0; i < values.length; i++) total += Math.exp(values[i]! - largest);
  return largest + Math.log(total);
}

function maximum(values: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) if (values[i]! > largest) largest = values[i]!;
  return largest;
}

/** Running sums of the weights exp(value − largest); returns the total. All are 0 where nothing has weight. */
function cumulate(values: Float32Array, cumulative: Float64Array): number {
  const largest = maximum(values);
  if (largest <= MASKED_SCORE) {
    if (values.some(Number.isNaN)) throw notANumber();
    cumulative.fill(0);
    return 0;
  }
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    total += Math.exp(values[i]! - largest);
    cumulative[i] = total;
  }
  if (Number.isNaN(total)) throw notANumber();
  return total;
}

/** Position of a target of [0, total): the first whose running sum is above it, which has a weight of its own. */
function findAbove(cumulative: Float64Array, target: number): number {
  let [low, high] = [0, cumulative.length - 1];
  const total = cumulative[high]!;
  while (low < high) {
    const middle = (low + high) >> 1;
    // The second condition: where rounding has made the target equal to the total.
    if (cumulative[middle]! > target || cumulative[middle] === total) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Running sums inside one block. */
const insideBlock = new Float64Array(BLOCK_ROWS);

/** f64[2 · count] of [0, 1) with 53 random bits: two for each of a query's draws from number `first` on. */
function unitNumbers(key: RngKey, query: number, first: number, count: number): Float64Array {
  const words = new Uint32Array(WORDS_PER_DRAW * count);
  randomInts(key, 2 ** 32, words, WORDS_PER_DRAW * (query * DRAWS_PER_QUERY + first));
  const numbers = new Float64Array(2 * count);
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = ((words[2 * i]! >>> 5) * 2 ** 26 + (words[2 * i + 1]! >>> 6)) * 2 ** -53;
  }
  return numbers;
}
