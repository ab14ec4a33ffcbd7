import { MASKED_SCORE } from '../nn/masked-score.ts';
import { UsageError } from '../util/errors.ts';
import type { RngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { type MaskedSlots, maskedSlots } from './masks.ts';
import { BLOCK_ROWS, GROUP_BLOCKS } from './score-graphs.ts';
import type { Cell } from './score-picks.ts';
import type { ScoreSums, TableScores } from './table-scores.ts';
import { checkDraws, unitNumbers } from './unit-numbers.ts';
import { cumulate, findAbove, logSumExp, maximum } from './weights.ts';

/** Slots chosen for B queries: those of query b are at positions `[b * k, (b + 1) * k)`. */
export interface SampledSlots {
  /** Slots per query. */
  readonly k: number;
  /** Chosen slots, i32[B, k]; `NONE` if a query has fewer slots to choose from. */
  readonly slots: Int32Array;
  /** Scores of the chosen slots in the table, f32[B, k]; `MASKED_SCORE` for `NONE`. */
  readonly scores: Float32Array;
}

/**
 * Softmax of B queries over the filled and unmasked slots of a table:
 *
 *     P(n | b) = exp s(b, n) / Z_b,     Z_b = Σ_n exp s(b, n)
 *
 * Draws are exact and cost little more than the scores. A group of blocks is drawn by its share of Z, then a
 * block by its share of the group, then a slot by its share of the block:
 *
 *     P(n) = (Z_group / Z) · (Z_block / Z_group) · (exp s_n / Z_block)
 *
 * Only the scores of the chosen blocks are computed again. The scheme follows the two-stage sampling of the
 * Negative Cache paper's shards (Lindgren et al., NeurIPS 2021), which takes the largest score with Gumbel
 * noise at each stage. Inverting the distribution function draws from the same distribution with one uniform
 * number instead of one Gumbel number per candidate, and with 384 exponentials for 2 million slots.
 *
 * The table must not change between `create` and the last draw.
 */
export class TableDistribution {
  /** log Z of each query, f32[B]; `MASKED_SCORE` if no slot is left to draw from. */
  readonly logPartition: Float32Array;
  private readonly weights: BlockWeights;

  private constructor(weights: BlockWeights) {
    this.weights = weights;
    this.logPartition = Float32Array.from({ length: weights.B }, (_, b) => weights.logPartition(b));
  }

  /**
   * Scores the table and makes the distribution.
   *
   * @param queries  f32[B, D], multiplied by 1/τ
   * @param masked  slots that are not drawn and not part of Z
   * @throws UsageError when `masked` has another number of queries
   */
  static async create(
    source: TableScores,
    queries: Float32Array,
    masked?: MaskedSlots,
  ): Promise<TableDistribution> {
    if (masked) checkMasks(masked, queries.length / source.table.dimension);
    const cells = masked ? cellsOf(masked, source.table.filled) : [];
    const sums = await source.sums(queries, cells);
    const weights = new BlockWeights(source, queries, sums);
    weights.know(cells, sums.picked);
    if (masked) await weights.leaveOut(masked);
    return new TableDistribution(weights);
  }

  /**
   * Draws k slots for each query.
   *
   * @param options.replacement  draw independently. By default each slot is drawn from those left, which is
   *   the distribution of the k largest of  s + Gumbel noise
   * @param options.exclude  further slots not to draw; `logPartition` still counts them
   * @throws UsageError when k is not a whole number from 0 to 2²⁰
   */
  async draw(
    k: number,
    key: RngKey,
    options: { replacement?: boolean; exclude?: MaskedSlots } = {},
  ): Promise<SampledSlots> {
    const { replacement = false, exclude } = options;
    checkDraws(k);
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
        if (own.length === 0) found[b] = k; // no slot is left: the remaining places stay `NONE`
        return own;
      });
      await weights.fetch(draws);
      // Without replacement, repeated draws are skipped: the order of first appearance in independent draws
      // has the same distribution as draws from the slots left. Slots found are removed before the next
      // round.
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

/** Weights Σ exp s of blocks and groups of blocks for B queries, from which slots can be removed. */
class BlockWeights {
  readonly B: number;
  private readonly blocks: number;
  private readonly groups: number;
  private readonly source: TableScores;
  private readonly queries: Float32Array;
  /** f32[B, blocks] and f32[B, groups]: log-sum-exp of the slots left in each; −∞ if none is left. */
  private sums: ScoreSums;
  /** Whether the sums belong to another object and must be copied before a change. */
  private isShared = false;
  /** Positions removed from blocks, by b · blocks + block. */
  private readonly takenOut = new Map<number, Set<number>>();
  /** Scores of some blocks for some queries, by b · blocks + block; `MASKED_SCORE` where removed. */
  private readonly scores = new Map<number, Float32Array>();
  /**
   * Running sums over the groups of a query, the blocks of a group and the slots of a block. `blocksOf` and
   * `slotsOf` name the group and block that the last two belong to.
   */
  private readonly overGroups: Float64Array;
  private readonly overBlocks = new Float64Array(GROUP_BLOCKS);
  private readonly overSlots = new Float64Array(BLOCK_ROWS);
  private blocksOf = NONE;
  private slotsOf = NONE;

  constructor(source: TableScores, queries: Float32Array, sums: ScoreSums) {
    this.source = source;
    this.queries = queries;
    this.B = queries.length / source.table.dimension;
    this.blocks = sums.blocks.length / this.B;
    this.groups = sums.groups.length / this.B;
    this.sums = sums;
    this.overGroups = new Float64Array(this.groups);
  }

  /** Copies the weights, so that slots can be removed from the copy alone. */
  copy(): BlockWeights {
    const copy = new BlockWeights(this.source, this.queries, this.sums);
    copy.isShared = true;
    for (const [at, positions] of this.takenOut) copy.takenOut.set(at, new Set(positions));
    for (const [at, scores] of this.scores) copy.scores.set(at, scores.slice());
    return copy;
  }

  logPartition(b: number): number {
    const own = this.groupSums(b);
    const largest = maximum(own);
    const total = cumulate(own, this.overGroups);
    return total > 0 ? largest + Math.log(total) : MASKED_SCORE;
  }

  /**
   * Draws one block per pair of random numbers; empty if no slot is left. The second number of each pair is
   * returned for the draw within the block.
   */
  drawBlocks(b: number, numbers: Float64Array): (Cell & { inside: number })[] {
    const total = cumulate(this.groupSums(b), this.overGroups);
    if (!(total > 0)) return [];
    return Array.from({ length: numbers.length / 2 }, (_, i) => {
      const target = numbers[2 * i]! * total;
      const group = findAbove(this.overGroups, target);
      // The position of the number within its group is again uniform.
      const below = group === 0 ? 0 : this.overGroups[group - 1]!;
      const share = Math.min(1, (target - below) / (this.overGroups[group]! - below));
      return { b, block: this.blockAtShare(b, group, share), inside: numbers[2 * i + 1]! };
    });
  }

  /** Draws a slot of a block whose scores have been fetched. */
  drawSlot(b: number, block: number, number: number): { slot: number; score: number } {
    const at = b * this.blocks + block;
    const scores = this.scores.get(at)!;
    if (this.slotsOf !== at) cumulate(scores, this.overSlots);
    this.slotsOf = at;
    const position = findAbove(this.overSlots, number * this.overSlots.at(-1)!);
    return { slot: block * BLOCK_ROWS + position, score: scores[position]! };
  }

  /** Removes slots, for each query its own. */
  async leaveOut(masked: MaskedSlots): Promise<void> {
    checkMasks(masked, this.B);
    const cells = new Set<number>();
    for (let b = 0; b < this.B; b++) {
      for (const slot of maskedSlots(masked, b)) {
        if (slot >= this.source.table.filled) continue;
        const at = this.cellOf(b, slot);
        const before = this.takenOut.get(at);
        if (before) before.add(slot % BLOCK_ROWS);
        else this.takenOut.set(at, new Set([slot % BLOCK_ROWS]));
        cells.add(at);
      }
    }
    if (cells.size === 0) return;
    await this.fetchBlocks([...cells]);
    const sums = this.ownSums();
    // The sum of a block is computed anew, since subtracting the removed weights would lose digits when most
    // of the sum goes.
    for (const at of cells) sums[at] = logSumExp(this.scores.get(at)!);
    this.changed(cells);
  }

  /** Stores scores of blocks that are already known. */
  know(cells: readonly Cell[], scores: readonly Float32Array[]): void {
    for (const [i, own] of scores.entries())
      this.scores.set(cells[i]!.b * this.blocks + cells[i]!.block, own);
  }

  /** Computes the scores of blocks that are not known yet. */
  async fetch(cells: readonly Cell[]): Promise<void> {
    await this.fetchBlocks(cells.map(({ b, block }) => b * this.blocks + block));
  }

  /** Removes a slot of a block whose scores have been fetched. */
  remove(b: number, slot: number): void {
    const at = this.cellOf(b, slot);
    const scores = this.scores.get(at)!;
    scores[slot % BLOCK_ROWS] = MASKED_SCORE;
    this.ownSums()[at] = logSumExp(scores);
    this.changed([at]);
  }

  private cellOf(b: number, slot: number): number {
    return b * this.blocks + Math.floor(slot / BLOCK_ROWS);
  }

  private async fetchBlocks(wanted: readonly number[]): Promise<void> {
    const { blocks } = this;
    const { kept } = this.sums;
    const missing = [...new Set(wanted)].filter((at) => !this.scores.has(at));
    const queryOf = missing.map((at) => Math.floor(at / blocks));
    const blockOf = missing.map((at) => at % blocks);
    const made = kept ? undefined : await this.source.blockScores(this.queries, { queryOf, blocks: blockOf });
    for (const [i, at] of missing.entries()) {
      const scores = made?.subarray(i * BLOCK_ROWS, (i + 1) * BLOCK_ROWS);
      this.scores.set(at, scores ?? kept!.block(queryOf[i]!, blockOf[i]!));
    }
    for (const at of wanted)
      for (const position of this.takenOut.get(at) ?? []) this.scores.get(at)![position] = MASKED_SCORE;
  }

  private groupSums(b: number): Float32Array {
    return this.sums.groups.subarray(b * this.groups, (b + 1) * this.groups);
  }

  /** Log-sum-exp of the blocks of a group. */
  private blockSums(b: number, group: number): Float32Array {
    const first = group * GROUP_BLOCKS;
    const end = Math.min(first + GROUP_BLOCKS, this.blocks);
    return this.sums.blocks.subarray(b * this.blocks + first, b * this.blocks + end);
  }

  /** Finds the block at which the running sum reaches a share of the group's weight. */
  private blockAtShare(b: number, group: number, share: number): number {
    const own = this.blockSums(b, group);
    const over = this.overBlocks.subarray(0, own.length);
    const cell = b * this.groups + group;
    if (this.blocksOf !== cell) cumulate(own, over);
    this.blocksOf = cell;
    return group * GROUP_BLOCKS + findAbove(over, share * over.at(-1)!);
  }

  /** Returns the block sums f32[B, blocks], after copying them if they are shared. */
  private ownSums(): Float32Array {
    if (this.isShared) {
      const { blocks, groups } = this.sums;
      this.sums = { ...this.sums, blocks: blocks.slice(), groups: groups.slice() };
      this.isShared = false;
    }
    return this.sums.blocks;
  }

  /**
   * Recomputes the sums of groups with changed blocks.
   *
   * @param cells  b · blocks + block
   */
  private changed(cells: Iterable<number>): void {
    const { blocks, groups } = this;
    const stale = new Set<number>();
    for (const at of cells) {
      stale.add(Math.floor(at / blocks) * groups + Math.floor((at % blocks) / GROUP_BLOCKS));
    }
    for (const cell of stale) {
      this.sums.groups[cell] = logSumExp(this.blockSums(Math.floor(cell / groups), cell % groups));
    }
    this.blocksOf = NONE;
    this.slotsOf = NONE;
  }
}

function checkMasks({ offsets }: MaskedSlots, B: number): void {
  if (offsets.length !== B + 1) throw new UsageError(`masks of ${offsets.length - 1} queries for ${B}`);
}

/** Lists the blocks that hold masked slots, each once for each query. */
function cellsOf(masked: MaskedSlots, filled: number): Cell[] {
  return Array.from({ length: masked.offsets.length - 1 }, (_, b) => {
    const slots = maskedSlots(masked, b).filter((slot) => slot < filled);
    return [...new Set(slots.map((slot) => Math.floor(slot / BLOCK_ROWS)))].map((block) => ({ b, block }));
  }).flat();
}
