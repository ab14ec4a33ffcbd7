import { inspectTable } from '../cache/inspect-table.ts';
import { type DuplicateMap, duplicateMap } from '../cache/masks.ts';
import { NONE, ScoreTable } from '../cache/score-table.ts';
import type { SampledSlots } from '../cache/table-distribution.ts';
import { tableStaleness } from '../cache/table-staleness.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { addPrefix, takePrefix } from '../util/prefixes.ts';
import { ContrastiveStep } from './contrastive-step.ts';
import { allowedCandidates } from './known-positives.ts';
import type { MethodContext, RunningMethod, StepResult, TrainingBatch, TrainingPairs } from './method.ts';
import { tableLosses } from './table-losses.ts';
import { type ChosenNegatives, TableNegatives } from './table-negatives.ts';
import { TABLE_OPTIONS, type TableOptions } from './table-options.ts';
import { TableProbe } from './table-probe.ts';
import { tableRows } from './table-rows.ts';
import { TableUpkeep } from './table-upkeep.ts';

/**
 * Training against cached embeddings, of which the published methods are choices of five parts: a score table, a sampler, masks,
 * a loss and a refresh policy.
 *
 *   1. embed the queries, score the table, mask every right answer, sample k negatives for each query     `TableNegatives`
 *   2. embed queries, positives and the distinct negatives with the current weights; loss; gradient       `ContrastiveStep`
 *   3. after the update: write back what was embedded, insert positives, refresh rows, as the policy says     `TableUpkeep`
 *
 * Cost of a step: B queries twice, B positives, at most B k negatives, and a product of B × C × D; plus what is refreshed.
 */
export class TableMethod implements RunningMethod {
  readonly table: ScoreTable;
  private readonly context: MethodContext;
  private readonly options: TableOptions;
  private readonly contrastive: ContrastiveStep;
  private readonly duplicates: DuplicateMap;
  private readonly negatives: TableNegatives;
  private readonly upkeep: TableUpkeep;
  private readonly probe: TableProbe;

  private constructor(context: MethodContext, options: TableOptions, contrastive: ContrastiveStep) {
    const { retriever, documents, ledger } = context;
    this.context = context;
    this.options = options;
    this.contrastive = contrastive;
    this.duplicates = duplicateMap(documents);
    this.table = new ScoreTable({
      rows: tableRows(options.cacheSize, documents.rows),
      dimension: retriever.dimension,
      documents: documents.rows,
      storage: options.cacheStorage,
      eviction: options.eviction,
    });
    ledger.cache(this.table.bytes);
    const { table, duplicates } = this;
    this.negatives = new TableNegatives(context, { table, duplicates, options });
    this.upkeep = new TableUpkeep(context, table, options);
    this.probe = new TableProbe(context, { table, duplicates });
  }

  static async start(name: string, context: MethodContext): Promise<TableMethod> {
    const options = { ...TABLE_OPTIONS, ...context.options };
    const step = await ContrastiveStep.compile(name, context, tableLosses[options.loss]);
    return new TableMethod(context, options, step);
  }

  async begin(): Promise<void> {
    await this.upkeep.begin();
  }

  async step(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { context, table, upkeep, negatives } = this;
    const { ledger } = context;
    const { queryRows } = batch;
    const B = queryRows.length;
    await upkeep.settle();
    const chosen = await ledger.time('sample', () => negatives.choose(batch, draw));
    const { documentRows, columns, drawn } = candidateColumns(batch, table, chosen);
    ledger.documents('positive', B);
    ledger.documents('negative', documentRows.length - B);
    const inputs = this.inputs(batch, { documentRows, columns, drawn, chosen });
    const result = await this.contrastive.run({ queryRows, documentRows, inputs, draw });
    await upkeep.take({ documents: documentRows, positives: B, embeddings: result.documentEmbeddings });
    const distance = tableStaleness(table, documentRows, result.documentEmbeddings);
    return {
      ...result,
      metrics: {
        ...result.metrics,
        ...(distance !== undefined && { staleness: distance }),
        maskedRatio: chosen.maskedSlots / (B * Math.max(1, table.filled)),
        drawnRatio: drawn.reduce((sum, flag) => sum + flag, 0) / drawn.length,
      },
    };
  }

  async updated(step: number): Promise<Readonly<Record<string, number>>> {
    return await this.upkeep.updated(step);
  }

  inspect(): Readonly<Record<string, number>> {
    return inspectTable(this.table);
  }

  async diagnose(pairs: TrainingPairs): Promise<Readonly<Record<string, number>>> {
    const key = { seed: this.context.seed, draw: this.table.clock, purpose: 'diagnosis' };
    return await this.probe.run(
      pairs,
      async (queries, masked) => (await this.negatives.sample(queries, masked, pairs, key)).slots,
    );
  }

  state(): Readonly<Record<string, HostTensor>> {
    return { ...addPrefix('table/', this.table.state()), ...this.probe.state(), ...this.upkeep.state() };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    this.table.restore(takePrefix('table/', state));
    this.probe.restore(state);
    await this.upkeep.restore(state);
  }

  async dispose(): Promise<void> {
    await this.upkeep.dispose();
    await this.negatives.dispose();
    await this.contrastive.dispose();
  }

  /** What `tableLosses` declare. */
  private inputs(
    { queryRows }: TrainingBatch,
    { documentRows, columns, drawn, chosen }: Columns & { chosen: ChosenNegatives },
  ): Record<string, HostTensor> {
    const [B, k] = [queryRows.length, chosen.k];
    const f32 = (dims: number[], data: Float32Array) =>
      hostTensor('f32', dims, data as Float32Array<ArrayBuffer>);
    return {
      negatives: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
      tableScores: f32([B, k], chosen.scores),
      ...(chosen.logPartition && { logPartition: f32([B], chosen.logPartition) }),
      ...(this.options.loss === 'truncated' && {
        allowed: allowedCandidates(queryRows, documentRows, {
          positives: this.context.positives,
          duplicates: this.duplicates,
        }),
      }),
    };
  }
}

interface Columns {
  /** Documents that a step embeds: positives, negatives of the data, then each sampled one once, however many queries drew it. */
  readonly documentRows: Int32Array;
  /** i64[B, k]: where among these each query's own negatives are. */
  readonly columns: BigInt64Array<ArrayBuffer>;
  /** bool[B, k]: which of them there are. */
  readonly drawn: Uint8Array<ArrayBuffer>;
}

function candidateColumns(
  { positiveRows, negativeRows }: TrainingBatch,
  table: ScoreTable,
  { slots }: SampledSlots,
): Columns {
  const documents = [...positiveRows, ...negativeRows];
  const columnOf = new Map<number, number>();
  for (const [column, document] of documents.entries())
    if (!columnOf.has(document)) columnOf.set(document, column);
  const columns = new BigInt64Array(slots.length);
  const drawn = new Uint8Array(slots.length);
  for (const [at, slot] of slots.entries()) {
    if (slot === NONE) continue;
    const document = table.documents[slot]!;
    let column = columnOf.get(document);
    if (column === undefined) {
      column = documents.push(document) - 1;
      columnOf.set(document, column);
    }
    columns[at] = BigInt(column);
    drawn[at] = 1;
  }
  return { documentRows: Int32Array.from(documents), columns, drawn };
}
