import type { RngKey } from '../util/rng.ts';
import { NONE } from '../util/vector-rows.ts';
import { HAZARD_BLOCK } from './cell-graphs.ts';
import type { CellIndex } from './cell-index.ts';
import type { ProbedRows } from './probed-rows.ts';
import type { UniformCandidates } from './uniform-rows.ts';
import { unitNumbers } from './unit-numbers.ts';

/** Rows from which a query draws. */
export interface DrawSource {
  readonly index: CellIndex;
  readonly probed: ProbedRows;
}

/** Draws of one query by rejection; see `IndexedDistribution`. */
export class DrawList {
  readonly b: number;
  readonly slots: number[] = [];
  /** Slots that are not drawn. */
  readonly out: Set<number>;
  readonly replacement: boolean;
  private readonly of: DrawSource;
  private readonly key: RngKey;
  /** Hazard of a trial that the scored rows are taken, and the hazard left until the next acceptance. */
  private scoredHazard = 0;
  private left: number | undefined;
  private numbers = 0;

  constructor(of: DrawSource, b: number, draws: { key: RngKey; out: Set<number>; replacement: boolean }) {
    this.of = of;
    this.b = b;
    this.key = draws.key;
    this.out = draws.out;
    this.replacement = draws.replacement;
  }

  /**
   * Draws until k slots are found or the candidates are used up.
   *
   * @param from  first candidate that is not used yet
   * @returns  number of used candidates
   */
  take(candidates: UniformCandidates, from: number, k: number): number {
    const { b } = this;
    const bound = candidates.bounds[b]!;
    this.scoredHazard = this.hazardOfScored(bound);
    let at = from;
    while (this.slots.length < k) {
      const next = this.next(candidates, at);
      if (next === candidates.slots.length) return next;
      at = next + 1;
      const columns = candidates.columnOf.size;
      const hazard = candidates.hazards[next * columns + candidates.columnOf.get(b)!]!;
      const [which, first, second] = this.threeNumbers();
      // Trial `next` is accepted. The scored rows are taken before the uniform row is looked at.
      const ofScored = -Math.expm1(-this.scoredHazard) / -Math.expm1(-this.scoredHazard - hazard);
      const slot = which < ofScored ? this.of.probed.draw(b, first, second).slot : candidates.slots[next]!;
      if (slot === NONE || this.out.has(slot)) continue;
      this.slots.push(slot);
      if (this.replacement) continue;
      this.out.add(slot);
      this.of.probed.remove(b, slot);
      this.scoredHazard = this.hazardOfScored(bound);
    }
    return at;
  }

  /** Finds the next trial that is accepted, or the number of candidates if there is none. */
  private next({ hazards, blocks, columnOf, slots }: UniformCandidates, from: number): number {
    const columns = columnOf.size;
    const column = columnOf.get(this.b)!;
    const own = this.scoredHazard;
    let left = this.left ?? -Math.log1p(-this.threeNumbers()[0]);
    let at = from;
    while (at < slots.length) {
      if (at % HAZARD_BLOCK === 0) {
        const whole = blocks[(at / HAZARD_BLOCK) * columns + column]! + HAZARD_BLOCK * own;
        if (left >= whole) {
          left -= whole;
          at += HAZARD_BLOCK;
          continue;
        }
      }
      const hazard = hazards[at * columns + column]! + own;
      if (left < hazard) {
        this.left = undefined;
        return at;
      }
      left -= hazard;
      at += 1;
    }
    this.left = left;
    return at;
  }

  /** −log(1 − p) of the probability  p = Z_S / (Z_S + N e^β)  that a trial takes the scored rows. */
  private hazardOfScored(bound: number): number {
    const { probed, index } = this.of;
    const ratio = probed.logSum(this.b) - bound - Math.log(index.table.filled);
    return Math.log1p(Math.exp(ratio));
  }

  private threeNumbers(): [number, number, number] {
    const numbers = unitNumbers(this.key, this.b, 2 * this.numbers++, 2);
    return [numbers[0]!, numbers[1]!, numbers[2]!];
  }
}
