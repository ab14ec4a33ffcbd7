import type { CellIndex } from '../../cache/cell-index.ts';
import type { RowCorrection } from '../../cache/corrected-distribution.ts';
import { type MaskedSlots, maskedSlotLists, maskKnownPositives } from '../../cache/masks.ts';
import {
  type Sample,
  type SampleKey,
  type SampleRequest,
  type Sampler,
  sampleSize,
  sampleSlots,
} from '../../cache/samplers.ts';
import type { ScoreTable } from '../../cache/score-table.ts';
import { TableScores } from '../../cache/table-scores.ts';
import { MASKED_SCORE } from '../../nn/masked-score.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext, TrainingPairs } from '../contract/method.ts';
import type { TableOptions } from './table-options.ts';

/** Documents that were chosen for the queries of a batch, by slot. */
export interface ChosenDocuments extends Sample {
  /** Number of masked slots, summed over the queries. */
  readonly maskedSlots: number;
}

/**
 * Chooses documents for queries from a score table, as negatives or as candidates: embeds the queries without a gradient, scores
 * the table, masks every right answer where it may not be chosen, and samples.
 *
 * Cost: B queries embedded, 2 B C D operations of scoring; with an index, scoring of the rows that it names. Memory: a few MiB, whatever
 * the size of the table.
 */
export class TableChoice {
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly options: TableOptions;
  private readonly sampler: Sampler;
  private readonly scores: TableScores;
  private readonly masksRightAnswers: boolean;
  private readonly index: CellIndex | undefined;
  private readonly correction: { readonly ofDrawn: RowCorrection | undefined } | undefined;

  /**
   * @param of.index  index of the table, which `choose` draws by
   * @param of.correction  correction of the rows that `choose` draws
   * @param of.masksRightAnswers  whether right answers to a query are never chosen for it. Default true
   */
  constructor(
    context: MethodContext,
    of: {
      readonly table: ScoreTable;
      readonly options: TableOptions;
      readonly masksRightAnswers?: boolean;
      readonly index?: CellIndex | undefined;
      readonly correction?: { readonly ofDrawn: RowCorrection | undefined } | undefined;
    },
  ) {
    this.context = context;
    this.table = of.table;
    this.options = of.options;
    this.masksRightAnswers = of.masksRightAnswers ?? true;
    this.index = of.index;
    this.correction = of.correction;
    this.sampler = samplerOf(of.options);
    this.scores = new TableScores(of.table, context.compute);
  }

  /**
   * Chooses documents for a batch, and adds the cost of scoring to the ledger. An empty table gives none.
   *
   * @param pairs  queries and positives of the batch
   * @param queries  f32[B, D], from `embedQueries`
   * @param draw  number of the batch in the run; together with the seed, it keys the draws
   */
  async choose(pairs: TrainingPairs, queries: Float32Array, draw: number): Promise<ChosenDocuments> {
    const { context, table, sampler } = this;
    const { ledger, seed, positives, copies: duplicates } = context;
    const { queryRows, positiveRows } = pairs;
    const B = queryRows.length;
    if (table.filled === 0) return { ...nothing(B, sampleSize(sampler)), maskedSlots: 0 };
    const masked = this.masksRightAnswers
      ? maskKnownPositives(table, queryRows, { positives, positiveRows, duplicates })
      : maskedSlotLists(B, () => []);
    await this.index?.update();
    const sample = await this.sample(queries, masked, pairs, {
      key: { seed, draw, purpose: 'negatives' },
      index: this.index,
      correction: this.correction?.ofDrawn,
    });
    ledger.scoring(2 * (sample.search?.scored ?? B * table.filled) * table.dimension);
    return { ...sample, maskedSlots: masked.slots.length };
  }

  /** Embeds the queries without a gradient: f32[B, D]. */
  async embedQueries(pairs: TrainingPairs): Promise<Float32Array> {
    const { retriever, ledger, compute, queries } = this.context;
    const rows = Uint32Array.from(pairs.queryRows);
    ledger.queries(rows.length);
    return await retriever.encodeTokens('query', queries, { ...compute, rows });
  }

  /**
   * Samples slots of the table.
   *
   * @param queries  f32[B, D]
   * @param masked  slots that are not chosen for each query
   * @param pairs  queries and positives, for margins
   * @param how.index  index to draw by. Default: all rows are scored
   * @param how.correction  correction of the rows that are drawn. Default: the rows as they are
   */
  async sample(
    queries: Float32Array,
    masked: MaskedSlots,
    pairs: TrainingPairs,
    how: { readonly key: SampleKey } & Pick<SampleRequest, 'index' | 'correction'>,
  ): Promise<Sample> {
    const { key, index, correction } = how;
    const { absoluteMargin, relativeMargin } = this.options;
    const inverseTemperature = 1 / this.context.temperature.value;
    const usesMargin = absoluteMargin > 0 || relativeMargin > 0;
    return await sampleSlots(
      this.scores,
      this.sampler,
      {
        queries,
        inverseTemperature,
        masked,
        index,
        correction,
        ...(usesMargin && { positiveScores: this.positiveScores(queries, pairs, inverseTemperature) }),
      },
      key,
    );
  }

  /** Frees the scoring program. */
  async dispose(): Promise<void> {
    await this.scores.dispose();
  }

  /**
   * Computes the scores of the positives as they are in the table. A positive that is not in the table scores +∞, so that its
   * margin keeps nothing out.
   */
  private positiveScores(
    queries: Float32Array,
    { positiveRows }: TrainingPairs,
    inverseTemperature: number,
  ): Float32Array {
    const { table } = this;
    const D = table.dimension;
    return Float32Array.from(table.slotsOf(positiveRows), (slot, b) => {
      if (slot === NONE) return Number.POSITIVE_INFINITY;
      const row = table.read([slot]);
      let product = 0;
      for (let i = 0; i < D; i++) product += row[i]! * queries[b * D + i]!;
      return product * inverseTemperature;
    });
  }
}

/** Sample from an empty table: no draws, and a log Z of nearly −∞. */
const nothing = (B: number, k: number): Sample => ({
  k,
  slots: new Int32Array(B * k).fill(NONE),
  scores: new Float32Array(B * k).fill(MASKED_SCORE),
  logPartition: new Float32Array(B).fill(MASKED_SCORE),
});

/**
 * Makes the sampler that options describe.
 *
 * @throws UsageError where options contradict each other: draws that the loss form cannot use, or margins for a sampler without
 *   margins
 */
export function samplerOf(options: TableOptions): Sampler {
  const { loss, sampler: kind, samples: k, uniformSamples, absoluteMargin, relativeMargin } = options;
  const independent = loss === 'expectation' || loss === 'importance-corrected';
  if (independent && (kind !== 'softmax' || uniformSamples > 0)) {
    throw new UsageError(`the loss form ${loss} needs negatives drawn from the softmax over the table`, {
      help: `use ${option('sampler', 'softmax')} and no ${option('uniformSamples')}, or ${option('loss', 'truncated')}`,
    });
  }
  if (options.search === 'index' && kind !== 'softmax') {
    throw new UsageError(
      `${option('search', 'index')} draws from the softmax, and the sampler ${kind} does not`,
      {
        help: `use ${option('sampler', 'softmax')}, or ${option('search', 'exact')}`,
      },
    );
  }
  if (kind !== 'rank-range' && (absoluteMargin > 0 || relativeMargin > 0)) {
    throw new UsageError(`the sampler ${kind} keeps no margin`, {
      help: `use ${option('sampler', 'rank-range')}`,
    });
  }
  const chosen =
    kind === 'softmax'
      ? ({ kind, k, replacement: independent } as const)
      : kind === 'rank-range'
        ? ({
            kind,
            k,
            from: options.rankFrom,
            to: options.rankTo,
            ...(absoluteMargin > 0 && { absoluteMargin }),
            ...(relativeMargin > 0 && { relativeMargin }),
          } as const)
        : ({ kind, k } as const);
  if (uniformSamples === 0) return chosen;
  return { kind: 'mixture', parts: [chosen, { kind: 'uniform', k: uniformSamples }] };
}
