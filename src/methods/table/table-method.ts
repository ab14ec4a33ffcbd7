import { CellIndex } from '../../cache/cell-index.ts';
import { inspectTable } from '../../cache/inspect-table.ts';
import { ScoreTable } from '../../cache/score-table.ts';
import { tableStaleness } from '../../cache/table-staleness.ts';
import { isFrozen } from '../../models/retriever/tuning.ts';
import type { StepResult } from '../../objective/objective.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { addPrefix, takePrefix } from '../../util/prefixes.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { HeldOutMeasure, MethodContext, RunningMethod, TrainingBatch } from '../contract/method.ts';
import { type ContrastiveResult, ContrastiveStep } from '../step/contrastive-step.ts';
import { ownColumns } from '../step/own-negatives.ts';
import { diagnosisProbe } from './diagnosis-probe.ts';
import { rerankFresh } from './fresh-rerank.ts';
import { FrozenDocuments } from './frozen-documents.ts';
import { RefreshEvidence } from './refresh-evidence.ts';
import { type ChosenDocuments, TableChoice } from './table-choice.ts';
import { TableCorrection } from './table-correction.ts';
import { negativeLoss, type TableLoss } from './table-losses.ts';
import { type TableOptions, tableOptions, tableRows } from './table-options.ts';
import { TableProbe } from './table-probe.ts';
import { TableUpkeep } from './table-upkeep.ts';

/**
 * Training against cached embeddings. The published methods are choices of five parts: a score table, a sampler, masks, a loss
 * (`TableLoss`), and a refresh policy.
 *
 *   1. where there is a corrector, move the stale rows to where they would be now; by an index, when drawn   `TableCorrection`
 *   2. embed the queries, score the rows, mask every right answer, sample k negatives for each query          `TableChoice`
 *   3. embed queries, positives and the distinct negatives with the current weights; loss; gradient       `ContrastiveStep`
 *   4. after the update: teach the corrector; write back what was embedded, insert positives, refresh rows    `TableUpkeep`
 *
 * A loss over candidates, such as that of a language model as teacher, has no positives, and right answers are masked only where it asks
 * for it. With `rerankTo`, more documents are chosen from the table than are kept: they are embedded with the current weights, and the best
 * by these embeddings stay. Where the whole retriever is frozen, step 3 reads the candidates from the table and embeds queries alone
 * (`FrozenDocuments`); step 4 has nothing to do.
 *
 * Cost of a step: B queries embedded twice, B positives, at most B k negatives, and a product of B × C × D; plus the refreshed
 * rows.
 */
export class TableMethod implements RunningMethod {
  /** Table of cached embeddings. */
  readonly table: ScoreTable;
  private readonly context: MethodContext;
  private readonly options: TableOptions;
  private readonly way: Way;
  private readonly correction: TableCorrection | undefined;
  /** Index that negatives are drawn by, where the options ask for one. */
  private readonly index: CellIndex | undefined;
  private readonly evidence: RefreshEvidence;
  private readonly upkeep: TableUpkeep;
  /** Documents of a frozen retriever; undefined where the retriever is trained. */
  private readonly frozen: FrozenDocuments | undefined;
  private readonly probe: TableProbe;
  /**
   * Step of the first `uniformSteps` updates, where the options ask for them: truncated softmax over the batch and uniform
   * negatives.
   */
  private readonly warmUp: Way | undefined;

  private constructor(context: MethodContext, of: TableParts) {
    const { table, correction } = of;
    this.context = context;
    this.options = of.options;
    this.table = table;
    this.correction = correction;
    const corrected = correction && ((slots: Int32Array) => correction.corrected(slots));
    const { options, loss } = of;
    const { masksRightAnswers } = loss;
    if (options.search === 'index')
      this.index = new CellIndex(table, { ...context.compute, seed: context.seed });
    this.way = {
      step: of.contrastive,
      loss,
      view: correction?.view ?? table,
      choice: new TableChoice(context, {
        table: correction?.view ?? table,
        options,
        masksRightAnswers,
        index: this.index,
        correction,
      }),
    };
    this.evidence = new RefreshEvidence(context, { table, corrected });
    this.upkeep = new TableUpkeep(context, { table, options, evidence: this.evidence, correction });
    this.frozen = of.isFrozen ? new FrozenDocuments(context, table) : undefined;
    this.probe = new TableProbe(context, { table, corrected });
    this.warmUp = of.warmUp && {
      step: of.warmUp,
      loss: negativeLoss('truncated', context),
      view: table,
      choice: new TableChoice(context, {
        table,
        options: { ...options, loss: 'truncated', sampler: 'uniform', search: 'exact' },
      }),
    };
  }

  /**
   * Creates the table, and compiles the programs of a step.
   *
   * @param name  id of the method
   * @param own  options, and the loss of a method whose loss is not over sampled negatives. Default: by the options of the run
   */
  static async start(
    name: string,
    context: MethodContext,
    own?: { readonly options: TableOptions; readonly loss: TableLoss },
  ): Promise<TableMethod> {
    const options = own?.options ?? tableOptions(context.options);
    const { retriever, documents, ledger } = context;
    const table = new ScoreTable({
      rows: tableRows(options.cacheSize, documents.rows),
      dimension: retriever.dimension,
      documents: documents.rows,
      storage: options.cacheStorage,
      eviction: options.eviction,
    });
    ledger.cache(table.bytes);
    const loss = own?.loss ?? negativeLoss(options.loss!, context);
    const frozen = isFrozen(retriever);
    const candidates = frozen ? FrozenDocuments.candidates : {};
    const compile = (of: TableLoss) => ContrastiveStep.compile(name, context, of.loss, candidates);
    return new TableMethod(context, {
      options,
      table,
      loss,
      isFrozen: frozen,
      contrastive: await compile(loss),
      correction: options.corrector ? await TableCorrection.create(context, table, options) : undefined,
      warmUp: options.uniformSteps ? await compile(negativeLoss('truncated', context)) : undefined,
    });
  }

  get heldOut(): HeldOutMeasure | undefined {
    return this.way.loss.heldOut;
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
    const { choice, step, loss, view } = this.warmUp && isWarmUp ? this.warmUp : this.way;
    const queries = await ledger.time('sample', async () =>
      table.filled > 0 ? await choice.embedQueries(batch) : new Float32Array(0),
    );
    if (correction && !isWarmUp && table.filled > 0)
      await ledger.time('correct', () => correction.show(queries, draw));
    const drawnFrom = await ledger.time('sample', () => choice.choose(batch, queries, draw));
    const { rerankTo } = this.options;
    const sample =
      rerankTo === undefined
        ? drawnFrom
        : await ledger.time('rerank', () =>
            rerankFresh(context, { queries, chosen: drawnFrom, documents: view.documents, keep: rerankTo }),
          );
    const chosen = { ...sample, ...this.wholeTable(sample) };
    const rows = chosen.slots.map((slot) => (slot === NONE ? NONE : view.documents[slot]!));
    const given = loss.given === 'positives' ? [...batch.positiveRows, ...batch.negativeRows] : [];
    const positives = Math.min(B, given.length);
    const { documentRows, columns, drawn } = ownColumns(given, rows);
    if (positives > 0) ledger.documents('positive', positives);
    const { nullPassage = false } = loss;
    const inputs = await loss.inputs(batch, { documentRows, columns, drawn, chosen, rows }, draw);
    const read = await this.frozen?.inputs(documentRows, { nullPassage });
    if (!read) ledger.documents(loss.purpose, documentRows.length - positives + Number(nullPassage));
    const result = await step.run({
      ...{ queryRows, draw },
      ...(read ? { inputs: { ...inputs, ...read } } : { documentRows, nullPassage, inputs }),
    });
    const distance = read ? undefined : await this.takeFresh(result, { documentRows, positives, draw });
    loss.observe?.(result.metrics);
    const { effectiveSampleSize } = result.metrics;
    if (effectiveSampleSize !== undefined) evidence.sampleSize(effectiveSampleSize / chosen.k);
    return {
      ...result,
      metrics: {
        ...result.metrics,
        ...(distance !== undefined && { staleness: distance }),
        ...searchFigures(drawnFrom, { queries: B, rows: view.filled }),
        maskedRatio: chosen.maskedSlots / (B * Math.max(1, view.filled)),
        drawnRatio: drawn.reduce((sum, flag) => sum + flag, 0) / drawn.length,
      },
    };
  }

  async updated(step: number): Promise<Readonly<Record<string, number>>> {
    const { correction, context, upkeep } = this;
    const learnt = correction && (await context.ledger.time('correct', () => correction.learn(step)));
    const found = { ...learnt, ...(await upkeep.updated(step)) };
    // A checkpoint may follow, which holds no list of writes that the index has not seen.
    const { index, table } = this;
    if (index) {
      await context.ledger.time('sample', () => index.update());
      context.ledger.cache(table.bytes + index.bytes);
    }
    if (step === context.totalSteps) this.way.loss.finished?.();
    return found;
  }

  inspect(): Readonly<Record<string, number>> {
    return inspectTable(this.table);
  }

  async diagnose(pairs = diagnosisProbe(this.context)): Promise<Readonly<Record<string, number>>> {
    const key = { seed: this.context.seed, draw: this.table.clock, purpose: 'diagnosis' };
    const { correction } = this;
    const found = await this.probe.run(
      pairs,
      // With a corrector nothing is sampled here: each draw may correct another part of the table. Where right answers may be
      // chosen, there are no false negatives.
      correction || this.way.loss.given === 'none'
        ? undefined
        : async (queries, masked) => (await this.way.choice.sample(queries, masked, pairs, { key })).slots,
    );
    const { klStale: stale, klCorrected: corrected } = found;
    if (stale === undefined || corrected === undefined) return found;
    correction?.judge({ stale, corrected }, this.table.clock);
    return { ...found, correctorBypassed: Number(correction?.bypassed ?? false) };
  }

  state(): Readonly<Record<string, HostTensor>> {
    return {
      ...addPrefix('table/', this.table.state()),
      ...(this.index && addPrefix('index/', this.index.state())),
      ...this.probe.state(),
      ...this.upkeep.state(),
      ...this.correction?.state(),
      ...this.way.loss.state?.(),
    };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    this.table.restore(takePrefix('table/', state));
    this.index?.restore(takePrefix('index/', state));
    this.probe.restore(state);
    await this.correction?.restore(state);
    await this.upkeep.restore(state);
    this.way.loss.restore?.(state);
  }

  async dispose(): Promise<void> {
    await this.upkeep.dispose();
    await this.index?.dispose();
    await this.correction?.dispose();
    for (const way of [this.way, ...(this.warmUp ? [this.warmUp] : [])]) {
      await way.choice.dispose();
      await way.step.dispose();
      await way.loss.dispose?.();
    }
  }

  /**
   * Gives what a step has embedded to the corrector and to the upkeep of the table.
   *
   * @returns  mean distance of the table's rows from the fresh embeddings; undefined where the table has none of them
   */
  private async takeFresh(
    { documentEmbeddings, queryEmbeddings }: ContrastiveResult,
    { documentRows, positives, draw }: { documentRows: Int32Array; positives: number; draw: number },
  ): Promise<number | undefined> {
    const { context, table, upkeep, correction } = this;
    const embeddings = documentEmbeddings.subarray(0, documentRows.length * table.dimension);
    const fresh = { documents: documentRows, embeddings };
    const teachers = await context.ledger.time('correct', async () => await correction?.teachers(draw));
    correction?.take(queryEmbeddings, teachers ? [fresh, teachers] : [fresh]);
    await upkeep.take({ ...fresh, positives });
    if (teachers) await upkeep.take({ ...teachers, positives: 0 });
    return tableStaleness(table, documentRows, embeddings);
  }

  /** Scales log Z of the rows that were drawn from to log Z of all rows: f32[B]. */
  private wholeTable({ logPartition }: { readonly logPartition?: Float32Array }): {
    logPartition?: Float32Array;
  } {
    if (!logPartition) return {};
    const share = Math.log(this.correction?.rowsPerRow ?? 1);
    return { logPartition: share === 0 ? logPartition : logPartition.map((value) => value + share) };
  }
}

/** Cost and error of draws that do not score, or do not correct, all rows. */
function searchFigures(
  { search, correction }: ChosenDocuments,
  { queries, rows }: { queries: number; rows: number },
): Record<string, number> {
  if (!search && !correction) return {};
  return {
    ...(search && { scoredRatio: search.scored / (queries * rows) }),
    ...(correction && { correctedRatio: correction.rows / rows }),
    missedProbability: (search?.missed ?? 0) + (correction?.missed ?? 0),
  };
}

interface TableParts {
  readonly options: TableOptions;
  readonly table: ScoreTable;
  readonly loss: TableLoss;
  /** Whether nothing of the retriever is trained. */
  readonly isFrozen: boolean;
  readonly contrastive: ContrastiveStep;
  readonly correction: TableCorrection | undefined;
  readonly warmUp: ContrastiveStep | undefined;
}

/** Way of making a step: documents are chosen from a view of the table, and a loss is taken over them. */
interface Way {
  readonly step: ContrastiveStep;
  readonly loss: TableLoss;
  readonly view: ScoreTable;
  readonly choice: TableChoice;
}
