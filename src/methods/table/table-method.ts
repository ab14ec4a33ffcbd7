import { inspectTable } from '../../cache/inspect-table.ts';
import { ScoreTable } from '../../cache/score-table.ts';
import { tableStaleness } from '../../cache/table-staleness.ts';
import type { StepResult } from '../../objective/objective.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { addPrefix, takePrefix } from '../../util/prefixes.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext, RunningMethod, TrainingBatch } from '../contract/method.ts';
import { ContrastiveStep } from '../step/contrastive-step.ts';
import { allowedCandidates } from '../step/known-positives.ts';
import { type OwnColumns, ownColumns } from '../step/own-negatives.ts';
import { diagnosisProbe } from './diagnosis-probe.ts';
import { RefreshEvidence } from './refresh-evidence.ts';
import { TableCorrection } from './table-correction.ts';
import { tableLosses } from './table-losses.ts';
import { type ChosenNegatives, TableNegatives } from './table-negatives.ts';
import { type TableOptions, tableOptions, tableRows } from './table-options.ts';
import { TableProbe } from './table-probe.ts';
import { TableUpkeep } from './table-upkeep.ts';

/**
 * Training against cached embeddings. The published methods are choices of five parts: a score table, a sampler, masks, a loss,
 * and a refresh policy.
 *
 *   1. where there is a corrector, move the stale rows to where they would be now                           `TableCorrection`
 *   2. embed the queries, score the rows, mask every right answer, sample k negatives for each query       `TableNegatives`
 *   3. embed queries, positives and the distinct negatives with the current weights; loss; gradient       `ContrastiveStep`
 *   4. after the update: teach the corrector; write back what was embedded, insert positives, refresh rows    `TableUpkeep`
 *
 * Cost of a step: B queries embedded twice, B positives, at most B k negatives, and a product of B × C × D; plus the refreshed
 * rows.
 */
export class TableMethod implements RunningMethod {
  /** Table of cached embeddings. */
  readonly table: ScoreTable;
  private readonly context: MethodContext;
  private readonly options: TableOptions;
  private readonly contrastive: ContrastiveStep;
  private readonly correction: TableCorrection | undefined;
  private readonly negatives: TableNegatives;
  private readonly evidence: RefreshEvidence;
  private readonly upkeep: TableUpkeep;
  private readonly probe: TableProbe;
  /**
   * Step of the first `uniformSteps` updates, where the options ask for them: truncated softmax over the batch and uniform
   * negatives.
   */
  private readonly warmUp: WarmUp | undefined;

  private constructor(context: MethodContext, of: TableParts) {
    const { table, correction } = of;
    this.context = context;
    this.options = of.options;
    this.contrastive = of.contrastive;
    this.table = table;
    this.correction = correction;
    const corrected = correction && ((slots: Int32Array) => correction.corrected(slots));
    const { options } = of;
    this.negatives = new TableNegatives(context, { table: correction?.view ?? table, options });
    this.evidence = new RefreshEvidence(context, { table, corrected });
    this.upkeep = new TableUpkeep(context, { table, options, evidence: this.evidence, correction });
    this.probe = new TableProbe(context, { table, corrected });
    this.warmUp = of.warmUp && {
      step: of.warmUp,
      negatives: new TableNegatives(context, {
        table,
        options: { ...options, loss: 'truncated', sampler: 'uniform' },
      }),
    };
  }

  /**
   * Creates the table, and compiles the programs of a step.
   *
   * @param name  id of the method
   */
  static async start(name: string, context: MethodContext): Promise<TableMethod> {
    const options = tableOptions(context.options);
    const { retriever, documents, ledger } = context;
    const table = new ScoreTable({
      rows: tableRows(options.cacheSize, documents.rows),
      dimension: retriever.dimension,
      documents: documents.rows,
      storage: options.cacheStorage,
      eviction: options.eviction,
    });
    ledger.cache(table.bytes);
    const compile = (loss: TableOptions['loss']) => ContrastiveStep.compile(name, context, tableLosses[loss]);
    return new TableMethod(context, {
      options,
      table,
      contrastive: await compile(options.loss),
      correction: options.corrector ? await TableCorrection.create(context, table, options) : undefined,
      warmUp: options.uniformSteps ? await compile('truncated') : undefined,
    });
  }

  async begin(): Promise<void> {
    await this.upkeep.begin();
  }

  async step(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { context, table, upkeep, correction, evidence } = this;
    const { ledger } = context;
    const { queryRows } = batch;
    const B = queryRows.length;
    await upkeep.settle();
    const isWarmUp = table.clock < (this.options.uniformSteps ?? 0);
    const { negatives, step, loss, view } =
      this.warmUp && isWarmUp
        ? { ...this.warmUp, loss: 'truncated' as const, view: table }
        : {
            negatives: this.negatives,
            step: this.contrastive,
            loss: this.options.loss,
            view: correction?.view ?? table,
          };
    const queries = await ledger.time('sample', async () =>
      table.filled > 0 ? await negatives.embedQueries(batch) : new Float32Array(0),
    );
    if (correction && !isWarmUp && table.filled > 0)
      await ledger.time('correct', () => correction.show(queries, draw));
    const chosen = await ledger.time('sample', () => negatives.choose(batch, queries, draw));
    const sampled = chosen.slots.map((slot) => (slot === NONE ? NONE : view.documents[slot]!));
    const given = [...batch.positiveRows, ...batch.negativeRows];
    const { documentRows, columns, drawn } = ownColumns(given, sampled);
    ledger.documents('positive', B);
    ledger.documents('negative', documentRows.length - B);
    const inputs = this.inputs(batch, { documentRows, columns, drawn, chosen }, loss);
    const result = await step.run({ queryRows, documentRows, inputs, draw });
    const fresh = { documents: documentRows, embeddings: result.documentEmbeddings };
    const teachers = await ledger.time('correct', async () => await correction?.teachers(draw));
    correction?.take(result.queryEmbeddings, teachers ? [fresh, teachers] : [fresh]);
    await upkeep.take({ ...fresh, positives: B });
    if (teachers) await upkeep.take({ ...teachers, positives: 0 });
    const { effectiveSampleSize } = result.metrics;
    if (effectiveSampleSize !== undefined) evidence.sampleSize(effectiveSampleSize / chosen.k);
    const distance = tableStaleness(table, documentRows, result.documentEmbeddings);
    return {
      ...result,
      metrics: {
        ...result.metrics,
        ...(distance !== undefined && { staleness: distance }),
        maskedRatio: chosen.maskedSlots / (B * Math.max(1, view.filled)),
        drawnRatio: drawn.reduce((sum, flag) => sum + flag, 0) / drawn.length,
      },
    };
  }

  async updated(step: number): Promise<Readonly<Record<string, number>>> {
    const { correction, context, upkeep } = this;
    const learnt = correction && (await context.ledger.time('correct', () => correction.learn(step)));
    return { ...learnt, ...(await upkeep.updated(step)) };
  }

  inspect(): Readonly<Record<string, number>> {
    return inspectTable(this.table);
  }

  async diagnose(pairs = diagnosisProbe(this.context)): Promise<Readonly<Record<string, number>>> {
    const key = { seed: this.context.seed, draw: this.table.clock, purpose: 'diagnosis' };
    const { correction } = this;
    const found = await this.probe.run(
      pairs,
      // With a corrector nothing is sampled here: each draw may correct another part of the table.
      correction
        ? undefined
        : async (queries, masked) => (await this.negatives.sample(queries, masked, pairs, key)).slots,
    );
    const { klStale: stale, klCorrected: corrected } = found;
    if (stale === undefined || corrected === undefined) return found;
    correction?.judge({ stale, corrected }, this.table.clock);
    return { ...found, correctorBypassed: Number(correction?.bypassed ?? false) };
  }

  state(): Readonly<Record<string, HostTensor>> {
    return {
      ...addPrefix('table/', this.table.state()),
      ...this.probe.state(),
      ...this.upkeep.state(),
      ...this.correction?.state(),
    };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    this.table.restore(takePrefix('table/', state));
    this.probe.restore(state);
    await this.correction?.restore(state);
    await this.upkeep.restore(state);
  }

  async dispose(): Promise<void> {
    await this.upkeep.dispose();
    await this.negatives.dispose();
    await this.contrastive.dispose();
    await this.correction?.dispose();
    await this.warmUp?.negatives.dispose();
    await this.warmUp?.step.dispose();
  }

  /** Computes the inputs that `tableLosses` declare. */
  private inputs(
    { queryRows }: TrainingBatch,
    { documentRows, columns, drawn, chosen }: OwnColumns & { chosen: ChosenNegatives },
    loss: TableOptions['loss'],
  ): Record<string, HostTensor> {
    const [B, k] = [queryRows.length, chosen.k];
    const f32 = (dims: number[], data: Float32Array) =>
      hostTensor('f32', dims, data as Float32Array<ArrayBuffer>);
    return {
      negatives: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
      tableScores: f32([B, k], chosen.scores),
      ...(chosen.logPartition && { logPartition: f32([B], this.wholeTable(chosen.logPartition)) }),
      ...(loss === 'truncated' && {
        allowed: allowedCandidates(queryRows, documentRows, {
          positives: this.context.positives,
          duplicates: this.context.copies,
        }),
      }),
    };
  }

  /** Scales log Z of the rows that were drawn from to log Z of all rows: f32[B]. */
  private wholeTable(logPartition: Float32Array): Float32Array {
    const share = Math.log(this.correction?.rowsPerRow ?? 1);
    return share === 0 ? logPartition : logPartition.map((value) => value + share);
  }
}

interface TableParts {
  readonly options: TableOptions;
  readonly table: ScoreTable;
  readonly contrastive: ContrastiveStep;
  readonly correction: TableCorrection | undefined;
  readonly warmUp: ContrastiveStep | undefined;
}

interface WarmUp {
  readonly step: ContrastiveStep;
  readonly negatives: TableNegatives;
}
