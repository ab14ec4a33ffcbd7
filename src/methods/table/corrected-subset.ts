import type { ScoreTable } from '../../cache/score-table.ts';
import { TableScores } from '../../cache/table-scores.ts';
import { permutation, randomInts, rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';
import type { TableOptions } from './table-options.ts';

/**
 * Choice of the rows of a large table that are corrected for a batch, where not all rows are:
 *
 * - `random`: M rows, uniformly. Z over them times N / M is an unbiased estimate of Z over all rows.
 * - `shortlist`: half of the rows are the nearest to the batch's queries before correction, as many for each query; the others
 *   are uniform. No factor turns their sum into a partition function, so that loss forms that need one cannot use a shortlist.
 *
 * Cost of a shortlist: the scores of all rows, 2 B N D operations.
 */
export class CorrectedSubset {
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly scores: TableScores | undefined;

  constructor(context: MethodContext, table: ScoreTable, { correctedFrom }: TableOptions) {
    this.context = context;
    this.table = table;
    if (correctedFrom === 'shortlist') this.scores = new TableScores(table, context.compute);
  }

  /**
   * Chooses filled slots, ascending: i32[rows]. Returns all filled slots where there are no more than `rows`.
   *
   * @param rows  slots to choose, M
   * @param queries  f32[B, D]: embeddings of the batch's queries
   * @param draw  number of the batch in the run
   */
  async choose(rows: number, queries: Float32Array, draw: number): Promise<Int32Array> {
    const { filled } = this.table;
    if (filled <= rows) return Int32Array.from({ length: filled }, (_, slot) => slot);
    const key = rngKey(this.context.seed, draw, 'corrected-rows');
    if (!this.scores && 2 * rows > filled)
      return Int32Array.from(permutation(key, filled).subarray(0, rows)).sort();
    const chosen = this.scores ? await this.nearest(rows, queries) : new Set<number>();
    const tries = new Int32Array(rows);
    for (let first = 0; chosen.size < rows; first += rows) {
      randomInts(key, filled, tries, first);
      for (const slot of tries) if (chosen.size < rows) chosen.add(slot);
    }
    return Int32Array.from(chosen).sort();
  }

  /** Frees the scoring program. */
  async dispose(): Promise<void> {
    await this.scores?.dispose();
  }

  /** Returns up to half of `rows` slots, the nearest to the queries. */
  private async nearest(rows: number, queries: Float32Array): Promise<Set<number>> {
    const { table, context } = this;
    const B = queries.length / table.dimension;
    const k = Math.max(1, Math.floor(rows / 2 / B));
    context.ledger.scoring(2 * B * table.filled * table.dimension);
    const { slots } = await this.scores!.top(queries, k);
    const found = new Set<number>();
    for (const slot of slots) if (slot !== NONE && found.size < rows / 2) found.add(slot);
    return found;
  }
}
