import { ScoreTable } from '../../cache/score-table.ts';
import type { Corrector } from '../../correctors/corrector.ts';
import { createCorrector } from '../../correctors/create-corrector.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { UsageError } from '../../util/errors.ts';
import { option } from '../../util/option-name.ts';
import { addPrefix, takePrefix } from '../../util/prefixes.ts';
import { randomInts, rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';
import { CorrectedSubset } from './corrected-subset.ts';
import type { TableOptions } from './table-options.ts';

/** Documents embedded with the current weights. */
export interface FreshDocuments {
  readonly documents: Int32Array;
  /** f32[documents, D] */
  readonly embeddings: Float32Array;
}

/** What one batch gives a corrector to learn from. */
interface Lesson {
  /** f32[pairs, D] */
  readonly stale: Float32Array;
  readonly fresh: Float32Array;
  /** i32[pairs] */
  readonly ages: Int32Array;
  /** f32[B, D] · 1/τ */
  readonly queries: Float32Array;
}

/**
 * A corrector over a score table: before each batch it moves the stale embeddings to where they would be now, into a table of its own
 * that negatives are drawn from; after each update it learns from the documents that the update's batches have embedded anyway, and
 * from a few random ones, without which it would never see the bulk.
 *
 *     view_n = h(b_n, age_n; Ψ)        all N rows, or M of them for each batch
 *
 * Neither the table nor the encoders get anything from it: what is stale stays stale, until it is refreshed.
 *
 * Cost of a batch: `flopsPerRow` for each corrected row; `teachingSamples` documents embedded without a gradient. Memory: M rows of D
 * numbers, f32.
 */
export class TableCorrection {
  /** Corrected rows; slot n holds what slot n of the table holds, unless they are a part of it. */
  readonly view: ScoreTable;
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly options: TableOptions;
  private readonly corrector: Corrector;
  /** For rows that are left as they are. */
  private readonly none: Corrector;
  private readonly subset: CorrectedSubset | undefined;
  /** The corrector's state at first: the identity. */
  private readonly initial: Record<string, HostTensor>;
  private lessons: Lesson[] = [];
  /** Whether the view shows the table and the corrector as they are. */
  private isShown = false;
  private isBypassed = false;

  private constructor(
    context: MethodContext,
    table: ScoreTable,
    options: TableOptions,
    correctors: { corrector: Corrector; none: Corrector },
  ) {
    this.context = context;
    this.table = table;
    this.options = options;
    this.corrector = correctors.corrector;
    this.none = correctors.none;
    this.initial = copyOf(this.corrector.state());
    const { correctedRows: wanted = 0 } = options;
    const rows = wanted === 0 ? table.rows : Math.min(wanted, table.rows);
    this.subset = rows < table.rows ? new CorrectedSubset(context, table, options) : undefined;
    const { dimension } = table;
    this.view = new ScoreTable({ rows, dimension, documents: context.documents.rows });
    context.ledger.cache(table.bytes + this.view.bytes);
  }

  static async create(
    context: MethodContext,
    table: ScoreTable,
    options: TableOptions,
  ): Promise<TableCorrection> {
    const { compute, seed, totalSteps } = context;
    const { dimension } = table;
    const { corrector: kind = 'identity', correctorHidden: hidden = 0 } = options;
    if (!context.retriever.config.encoder.normalize) {
      throw new UsageError('corrected embeddings have unit norm, and those of this model have not', {
        help: `train a model that normalises (not with ${option('normalize', false)}), or use another method`,
      });
    }
    const corrector = await createCorrector(kind, {
      dimension,
      seed,
      compute,
      ...(hidden > 0 && { hidden }),
      ...(options.correctorDepth && { depth: options.correctorDepth }),
      ...(options.correctorRank && { rank: Math.min(options.correctorRank, dimension) }),
      ...(options.correctorLr && { learningRate: options.correctorLr }),
      ...(options.correctorLoss && { loss: options.correctorLoss }),
      ...(options.correctorAge && { ages: totalSteps ?? 1000 }),
      ...(options.refitEvery && { refitEvery: options.refitEvery }),
      ...(options.reservoir && { reservoir: options.reservoir }),
    });
    const none = await createCorrector('identity', { dimension, seed, compute });
    return new TableCorrection(context, table, options, { corrector, none });
  }

  /** Whether the table is used as it is, because corrected it would be further from the truth. */
  get bypassed(): boolean {
    return this.isBypassed;
  }

  /** Rows of the table for each row of the view. */
  get rowsPerRow(): number {
    return this.table.filled / Math.max(1, this.view.filled);
  }

  /** f32[slots, D]: rows of the table as they are corrected now. */
  async corrected(slots: Int32Array): Promise<Float32Array<ArrayBuffer>> {
    const { table, corrector } = this;
    const rows = hostTensor('f32', [slots.length, table.dimension], table.read(slots));
    return await corrector.correct(rows, { ages: this.ages(slots) });
  }

  /**
   * Before a batch: brings the view up to date.
   * @param queries  f32[B, D], embeddings of the batch's queries
   * @param draw  number of the batch in the run
   */
  async show(queries: Float32Array, draw: number): Promise<void> {
    const { table, view, subset, isShown } = this;
    if (isShown && !subset) return;
    const slots = subset ? await subset.choose(view.rows, queries, draw) : undefined;
    const { filled, dimension: D } = table;
    const corrector = this.isBypassed ? this.none : this.corrector;
    const rows = slots ? hostTensor('f32', [slots.length, D], table.read(slots)) : table.block(0, filled);
    const of = (values: Int32Array) =>
      slots ? slots.map((slot) => values[slot]!) : values.subarray(0, filled);
    const versions = of(table.versions);
    await view.mirror({ documents: of(table.documents), versions }, async (into) => {
      await corrector.correct(rows, {
        into,
        ...(corrector.usesAges && { ages: agesOf(versions, table.clock) }),
      });
    });
    this.context.ledger.correction(corrector.flopsPerRow * view.filled);
    this.isShown = true;
  }

  /** Random documents of the table, embedded for the corrector to learn from; the same draw gives the same. */
  async teachers(draw: number): Promise<FreshDocuments | undefined> {
    const { context, table, options } = this;
    const { retriever, compute, documents: store, ledger, seed } = context;
    const wanted = Math.min(options.teachingSamples ?? 0, table.filled);
    if (wanted === 0) return undefined;
    const slots = new Int32Array(wanted);
    randomInts(rngKey(seed, draw, 'teaching'), table.filled, slots);
    const documents = Int32Array.from(new Set(slots), (slot) => table.documents[slot]!);
    ledger.documents('teaching', documents.length);
    const embeddings = await retriever.encodeTokens('document', store, {
      ...compute,
      rows: Uint32Array.from(documents),
    });
    return { documents, embeddings };
  }

  /**
   * Remembers what a batch has embedded, for the update after it. The table must be as the batch found it.
   * @param queries  f32[B, D]
   */
  take(queries: Float32Array, parts: readonly FreshDocuments[]): void {
    const { table, context } = this;
    const D = table.dimension;
    const beta = 1 / context.temperature.value;
    const found = parts.map(({ documents, embeddings }) => {
      const slots = table.slotsOf(documents);
      return { embeddings, slots, held: [...slots.keys()].filter((i) => slots[i] !== NONE) };
    });
    const slots = Int32Array.from(found.flatMap(({ slots: own, held }) => held.map((i) => own[i]!)));
    if (slots.length === 0) return;
    const fresh = new Float32Array(slots.length * D);
    let at = 0;
    for (const { embeddings, held } of found) {
      for (const i of held) fresh.set(embeddings.subarray(i * D, (i + 1) * D), D * at++);
    }
    this.lessons.push({
      stale: table.read(slots),
      fresh,
      ages: this.ages(slots),
      queries: queries.map((x) => beta * x),
    });
  }

  /** After an update, before the table is refreshed: learns. @param step  number of the update, from 1 */
  async learn(step: number): Promise<Readonly<Record<string, number>>> {
    const { lessons, corrector, context } = this;
    this.lessons = [];
    this.isShown = false;
    if (lessons.length === 0) return {};
    const batch = {
      stale: joined(lessons.map(({ stale }) => stale)),
      fresh: joined(lessons.map(({ fresh }) => fresh)),
      ages: Int32Array.from(lessons.flatMap(({ ages }) => [...ages])),
      queries: joined(lessons.map(({ queries }) => queries)),
    };
    // A forward pass, and a backward one of twice its cost.
    context.ledger.correction(3 * corrector.flopsPerRow * batch.ages.length);
    return await corrector.learn(batch, step);
  }

  /** The table has been embedded anew: what the corrector knew is about embeddings that are no more. */
  async forget(): Promise<void> {
    this.isShown = false;
    if (this.corrector.usesAges) return;
    await this.corrector.restore(copyOf(this.initial));
  }

  /**
   * Takes the corrector out, or in again, by what a measurement has found.
   * @param kl  KL(P‖·) of the table as it is, and corrected
   */
  judge(kl: { readonly stale: number; readonly corrected: number }, step: number): void {
    const isWorse = kl.corrected > kl.stale;
    if (isWorse === this.isBypassed) return;
    this.isBypassed = isWorse;
    this.isShown = false;
    const [corrected, stale] = [kl.corrected, kl.stale].map((value) => value.toPrecision(3));
    this.context.onNote?.(
      isWorse
        ? `step ${step}: the corrector is worse than none (KL ${corrected} against ${stale}) and is bypassed`
        : `step ${step}: the corrector is better than none again (KL ${corrected} against ${stale})`,
    );
  }

  state(): Record<string, HostTensor> {
    return {
      ...addPrefix('corrector/', this.corrector.state()),
      'correction/bypassed': hostTensor('i32', [1], Int32Array.of(Number(this.isBypassed))),
    };
  }

  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    await this.corrector.restore(takePrefix('corrector/', state));
    this.isBypassed = Number(state['correction/bypassed']?.data[0] ?? 0) === 1;
    this.isShown = false;
  }

  async dispose(): Promise<void> {
    await this.subset?.dispose();
    await this.corrector.dispose();
    await this.none.dispose();
  }

  private ages(slots: Int32Array): Int32Array {
    const { table } = this;
    return agesOf(
      slots.map((slot) => table.versions[slot]!),
      table.clock,
    );
  }
}

/** Steps since embeddings of these versions were made. */
const agesOf = (versions: Int32Array, clock: number): Int32Array =>
  versions.map((version) => Math.max(0, clock - Math.max(0, version)));

function joined(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const copyOf = (state: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> =>
  Object.fromEntries(
    Object.entries(state).map(([name, { dtype, dims, data }]) => [
      name,
      hostTensor(dtype, [...dims], data.slice()),
    ]),
  );
