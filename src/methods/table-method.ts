import { inspectTable } from '../cache/inspect-table.ts';
import {
  type DuplicateMap,
  duplicateMap,
  MASKED_SCORE,
  type MaskedSlots,
  maskKnownPositives,
} from '../cache/masks.ts';
import { parseRefreshPolicy, type RefreshPolicy } from '../cache/refresh-policy.ts';
import { type Sample, type SampleKey, type Sampler, sampleSize, sampleSlots } from '../cache/samplers.ts';
import { NONE, ScoreTable } from '../cache/score-table.ts';
import { TableScores } from '../cache/table-scores.ts';
import { tableStaleness } from '../cache/table-staleness.ts';
import { type HostTensor, hostTensor } from '../runtime/host-tensor.ts';
import { UsageError } from '../util/errors.ts';
import { permutation, rngKey } from '../util/rng.ts';
import { AsyncRefresh } from './async-refresh.ts';
import { ContrastiveStep } from './contrastive-step.ts';
import type { EncodePurpose } from './cost-ledger.ts';
import { allowedCandidates } from './known-positives.ts';
import type { MethodContext, RunningMethod, StepResult, TrainingBatch, TrainingPairs } from './method.ts';
import type { MethodOptions } from './method-options.ts';
import { tableLosses } from './table-losses.ts';
import { TableProbe } from './table-probe.ts';
import { tableRows } from './table-rows.ts';

/** Options that every method over a score table takes. */
export const TABLE_OPTIONS = {
  loss: 'expectation',
  sampler: 'softmax',
  samples: 1,
  uniformSamples: 0,
  rankFrom: 0,
  rankTo: 200,
  absoluteMargin: 0,
  relativeMargin: 0,
  cacheSize: 0,
  cacheStorage: 'f32',
  eviction: 'lru',
  prefill: true,
  refresh: 'never',
  writeBackWithoutDropout: false,
} as const satisfies Partial<MethodOptions>;

type TableOptions = Required<Pick<MethodOptions, keyof typeof TABLE_OPTIONS>> &
  Partial<Pick<MethodOptions, 'snapshotEvery'>>;

/** Rows that are embedded at once when a table is filled or refreshed: what bounds the memory of the fresh embeddings. */
const REFRESH_ROWS = 16_384;

/** Embeddings that a step made, to be taken into the table when the weights have moved. */
interface Made {
  /** Positives first. */
  readonly documents: Int32Array;
  readonly positives: number;
  /** f32[documents, D] */
  readonly embeddings: Float32Array;
}

/**
 * Training against cached embeddings, of which the published methods are choices of five parts: a score table, a sampler, masks,
 * a loss and a refresh policy.
 *
 *   1. embed the queries, score the table, mask every right answer, sample k negatives for each query
 *   2. embed queries, positives and the distinct negatives with the current weights; loss; gradient
 *   3. after the update: write back what was embedded, insert positives, refresh rows, as the policy says
 *
 * Cost of a step: B queries twice, B positives, at most B k negatives, and a product of B × C × D; plus what is refreshed.
 */
export class TableMethod implements RunningMethod {
  readonly table: ScoreTable;
  private readonly context: MethodContext;
  private readonly options: TableOptions;
  private readonly policy: RefreshPolicy;
  private readonly sampler: Sampler;
  private readonly scores: TableScores;
  private readonly contrastive: ContrastiveStep;
  private readonly duplicates: DuplicateMap;
  private readonly probe: TableProbe;
  private readonly background: AsyncRefresh | undefined;
  private made: Made[] = [];

  private constructor(context: MethodContext, options: TableOptions, contrastive: ContrastiveStep) {
    const { retriever, documents, compute, ledger } = context;
    const { cacheSize, cacheStorage, eviction } = options;
    this.context = context;
    this.contrastive = contrastive;
    this.options = options;
    this.policy = parseRefreshPolicy(options.refresh);
    this.sampler = samplerOf(options);
    this.table = new ScoreTable({
      rows: tableRows(cacheSize, documents.rows),
      dimension: retriever.dimension,
      documents: documents.rows,
      storage: cacheStorage,
      eviction,
    });
    ledger.cache(this.table.bytes);
    this.scores = new TableScores(this.table, compute);
    this.duplicates = duplicateMap(documents);
    this.probe = new TableProbe(context, { table: this.table, duplicates: this.duplicates });
    const { async } = this.policy;
    if (async) this.background = new AsyncRefresh(this.table, context, { ...async, blockRows: REFRESH_ROWS });
  }

  static async start(name: string, context: MethodContext): Promise<TableMethod> {
    const options = { ...TABLE_OPTIONS, ...context.options };
    const step = await ContrastiveStep.compile(name, context, tableLosses[options.loss]);
    return new TableMethod(context, options, step);
  }

  async begin(): Promise<void> {
    if (this.options.prefill) await this.fill(0);
  }

  async step(batch: TrainingBatch, draw: number): Promise<StepResult> {
    const { context, table, options } = this;
    const { ledger } = context;
    const B = batch.queryRows.length;
    if (batch.negativeRows.length > 0 && options.loss !== 'truncated') {
      throw new UsageError(`the loss form ${options.loss} takes no negatives from the data`, {
        help: 'use --loss truncated, or --negatives 0',
      });
    }
    const { background } = this;
    if (background?.isOwed) await ledger.time('refresh', () => background.settle());
    const sample = await ledger.time('sample', () => this.sample(batch, draw));
    const { documentRows, columns, drawn } = candidateColumns(batch, table, sample);
    ledger.documents('positive', B);
    ledger.documents('negative', documentRows.length - B);
    const k = sample.k;
    const inputs = {
      negatives: hostTensor('i64', [B, k], columns),
      drawn: hostTensor('bool', [B, k], drawn),
      tableScores: hostTensor('f32', [B, k], sample.scores as Float32Array<ArrayBuffer>),
      ...(sample.logPartition && {
        logPartition: hostTensor('f32', [B], sample.logPartition as Float32Array<ArrayBuffer>),
      }),
      ...(options.loss === 'truncated' && {
        allowed: allowedCandidates(batch.queryRows, documentRows, {
          positives: context.positives,
          duplicates: this.duplicates,
        }),
      }),
    };
    const result = await ledger.time('step', () =>
      this.contrastive.run({ queryRows: batch.queryRows, documentRows, inputs, draw }),
    );
    if (this.policy.writeBack || this.policy.stream) {
      const embeddings =
        options.writeBackWithoutDropout && context.dropoutRatio > 0
          ? await ledger.time('refresh', () => this.embed(documentRows, 'refresh'))
          : result.documentEmbeddings;
      this.made.push({ documents: documentRows, positives: B, embeddings });
    }
    const distance = tableStaleness(table, documentRows, result.documentEmbeddings);
    return {
      ...result,
      metrics: {
        ...result.metrics,
        ...(distance !== undefined && { staleness: distance }),
        maskedRatio: sample.maskedSlots / (B * Math.max(1, table.filled)),
        drawnRatio: drawn.reduce((sum, flag) => sum + flag, 0) / drawn.length,
      },
    };
  }

  async updated(step: number): Promise<Readonly<Record<string, number>>> {
    const { table, policy, options } = this;
    // All write-backs first: what any batch has embedded again must not leave for what another one brings.
    for (const { documents, embeddings } of this.made) {
      if (policy.writeBack) this.writeBack(documents, embeddings);
    }
    for (const { documents, positives, embeddings } of this.made) {
      const inserted = documents.subarray(0, positives);
      if (policy.stream) table.insert(inserted, embeddings.subarray(0, positives * table.dimension));
    }
    this.made = [];
    table.tick();
    const due = (every: number | undefined) => every !== undefined && every > 0 && step % every === 0;
    if (due(options.snapshotEvery)) await this.fill(step);
    if (due(policy.every)) await this.refresh(filledSlots(table));
    if (policy.fraction) await this.refresh(this.someSlots(policy.fraction, step));
    return (await this.background?.settle()) ?? {};
  }

  inspect(): Readonly<Record<string, number>> {
    return inspectTable(this.table);
  }

  async diagnose(pairs: TrainingPairs): Promise<Readonly<Record<string, number>>> {
    const key = { seed: this.context.seed, draw: this.table.clock, purpose: 'diagnosis' };
    return await this.probe.run(
      pairs,
      async (queries, masked) => (await this.draw(queries, masked, pairs, key)).slots,
    );
  }

  state(): Readonly<Record<string, HostTensor>> {
    const table = Object.entries(this.table.state()).map(([name, tensor]) => [`table/${name}`, tensor]);
    return { ...Object.fromEntries(table), ...this.probe.state(), ...this.background?.state() };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    const own = Object.entries(state).filter(([name]) => name.startsWith('table/'));
    this.table.restore(Object.fromEntries(own.map(([name, tensor]) => [name.slice(6), tensor])));
    this.probe.restore(state);
    await this.background?.restore(state);
  }

  async dispose(): Promise<void> {
    await this.background?.dispose();
    await this.scores.dispose();
    await this.contrastive.dispose();
  }

  /** Fills the table with random documents, or with all where it holds all, embedded with the current weights. */
  private async fill(draw: number): Promise<void> {
    const { table, context } = this;
    const count = context.documents.rows;
    const chosen = permutation(rngKey(context.seed, draw, 'fill'), count)
      .slice(0, table.rows)
      .sort();
    table.clear();
    await this.embedRows(Int32Array.from(chosen), 'fill the cache', (documents, embeddings) =>
      table.insert(documents, embeddings, { version: table.clock }),
    );
  }

  /** Embeds slots again with the current weights. */
  private async refresh(slots: Int32Array): Promise<void> {
    const { table } = this;
    await this.embedRows(
      slots.map((slot) => table.documents[slot]!),
      'refresh the cache',
      (documents, embeddings) =>
        table.refresh(table.slotsOf(documents), embeddings, { version: table.clock }),
    );
  }

  private someSlots({ ratio, order }: NonNullable<RefreshPolicy['fraction']>, step: number): Int32Array {
    const { table } = this;
    const count = Math.ceil(ratio * table.filled);
    // Empty slots count as oldest; there is nothing to refresh in them.
    const empty = table.rows - table.filled;
    if (order === 'oldest')
      return table.oldest(empty + count).filter((slot) => table.documents[slot] !== NONE);
    const filled = filledSlots(table);
    const picked = permutation(rngKey(this.context.seed, step, 'refresh'), filled.length).subarray(0, count);
    return Int32Array.from(picked, (i) => filled[i]!).sort();
  }

  private async sample(batch: TrainingBatch, draw: number): Promise<Sample & { maskedSlots: number }> {
    const { context, table, duplicates } = this;
    const { retriever, ledger, seed, compute } = context;
    const B = batch.queryRows.length;
    const rows = Uint32Array.from(batch.queryRows);
    const queries = await retriever.encodeTokens('query', context.queries, { ...compute, rows });
    ledger.queries(B);
    const { positives } = context;
    const masked = maskKnownPositives(table, batch.queryRows, {
      positives,
      positiveRows: batch.positiveRows,
      duplicates,
    });
    if (table.filled === 0) return { ...emptySample(B, sampleSize(this.sampler)), maskedSlots: 0 };
    ledger.scoring(2 * B * table.filled * table.dimension);
    const sample = await this.draw(queries, masked, batch, { seed, draw, purpose: 'negatives' });
    return { ...sample, maskedSlots: masked.slots.length };
  }

  /** Draws negatives as the sampler says. */
  private async draw(
    queries: Float32Array,
    masked: MaskedSlots,
    pairs: TrainingPairs,
    key: SampleKey,
  ): Promise<Sample> {
    const { options } = this;
    const inverseTemperature = 1 / this.context.temperature.value;
    const usesMargin = options.absoluteMargin > 0 || options.relativeMargin > 0;
    return await sampleSlots(
      this.scores,
      this.sampler,
      {
        queries,
        inverseTemperature,
        masked,
        ...(usesMargin && { positiveScores: this.positiveScores(queries, pairs, inverseTemperature) }),
      },
      key,
    );
  }

  /** Scores of the positives as they are in the table; infinite for what is not in it, which keeps nothing out. */
  private positiveScores(
    queries: Float32Array,
    { positiveRows }: TrainingPairs,
    inverseTemperature: number,
  ): Float32Array {
    const { table } = this;
    const D = table.dimension;
    const slots = table.slotsOf(positiveRows);
    return Float32Array.from(slots, (slot, b) => {
      if (slot === NONE) return Number.POSITIVE_INFINITY;
      const row = table.read([slot]);
      let product = 0;
      for (let i = 0; i < D; i++) product += row[i]! * queries[b * D + i]!;
      return product * inverseTemperature;
    });
  }

  private writeBack(documents: Int32Array, embeddings: Float32Array): void {
    const { table } = this;
    const slots = table.slotsOf(documents);
    const known = slots.map((slot) => Number(slot !== NONE));
    table.refresh(slots, embeddings, { mask: Array.from(known, Boolean) });
  }

  /** Embeds documents piece by piece and hands each piece on. */
  private async embedRows(
    documents: Int32Array,
    stage: string,
    take: (documents: Int32Array, embeddings: Float32Array) => void,
  ): Promise<void> {
    const { ledger, onProgress } = this.context;
    await ledger.time('refresh', async () => {
      for (let start = 0; start < documents.length; start += REFRESH_ROWS) {
        const part = documents.subarray(start, start + REFRESH_ROWS);
        take(
          part,
          await this.embed(part, 'refresh', (done) => onProgress?.(stage, start + done, documents.length)),
        );
      }
    });
  }

  private async embed(
    documents: Int32Array,
    purpose: EncodePurpose,
    onProgress?: (done: number) => void,
  ): Promise<Float32Array> {
    const { retriever, compute, ledger } = this.context;
    ledger.documents(purpose, documents.length);
    return await retriever.encodeTokens('document', this.context.documents, {
      ...compute,
      rows: Uint32Array.from(documents),
      ...(onProgress && { onProgress }),
    });
  }
}

function filledSlots({ documents, filled }: ScoreTable): Int32Array {
  const slots = new Int32Array(filled);
  for (let slot = 0, at = 0; at < filled; slot++) if (documents[slot] !== NONE) slots[at++] = slot;
  return slots;
}

/** Nothing drawn, from nothing. */
const emptySample = (B: number, k: number): Sample => ({
  k,
  slots: new Int32Array(B * k).fill(NONE),
  scores: new Float32Array(B * k).fill(MASKED_SCORE),
  logPartition: new Float32Array(B).fill(MASKED_SCORE),
});

/** @throws UsageError where the loss form needs draws from the softmax itself and would get others */
function samplerOf(options: TableOptions): Sampler {
  const { loss, sampler: kind, samples: k, uniformSamples } = options;
  const independent = loss === 'expectation' || loss === 'importance-corrected';
  if (independent && (kind !== 'softmax' || uniformSamples > 0)) {
    throw new UsageError(`the loss form ${loss} needs negatives drawn from the softmax over the table`, {
      help: 'use --sampler softmax and no --uniform-samples, or --loss truncated',
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
            ...(options.absoluteMargin > 0 && { absoluteMargin: options.absoluteMargin }),
            ...(options.relativeMargin > 0 && { relativeMargin: options.relativeMargin }),
          } as const)
        : ({ kind, k } as const);
  if (uniformSamples === 0) return chosen;
  return { kind: 'mixture', parts: [chosen, { kind: 'uniform', k: uniformSamples }] };
}

/**
 * The documents that a step embeds (positives, negatives of the data, then each sampled document once, however many queries drew it) and
 * where among them each query's own negatives are.
 */
function candidateColumns(
  { positiveRows, negativeRows }: TrainingBatch,
  table: ScoreTable,
  { slots }: Sample,
): { documentRows: Int32Array; columns: BigInt64Array<ArrayBuffer>; drawn: Uint8Array<ArrayBuffer> } {
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
