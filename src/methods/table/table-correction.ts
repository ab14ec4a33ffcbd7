import type { RowCorrection } from '../../cache/corrected-distribution.ts';
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
  /** f32[documents, D]: embeddings of the documents. */
  readonly embeddings: Float32Array;
}

/** Pairs of embeddings from one batch that a corrector learns from. */
interface Lesson {
  /** f32[pairs, D]: embeddings as they are in the table. */
  readonly stale: Float32Array;
  /** f32[pairs, D]: embeddings of the same documents by the current weights. */
  readonly fresh: Float32Array;
  /** i32[pairs]: ages of the stale embeddings, in steps. */
  readonly ages: Int32Array;
  /** f32[B, D]: embeddings of the batch's queries, divided by τ. */
  readonly queries: Float32Array;
}

/**
 * Corrector over a score table. Before each batch it moves the stale embeddings to where the current weights would put them. The
 * corrected rows form a table of their own, from which negatives are drawn. After each update the corrector learns from the
 * documents that the update's batches have embedded, and from a few random documents, without which it would never see most of
 * the corpus.
 *
 *     view_n = h(b_n, age_n; Ψ)        all N rows, or M of them for each batch
 *
 * Where the table is searched by an index, there is no view: candidates are drawn from the stale table, and only they are
 * corrected (`ofDrawn`, `CorrectedDistribution`).
 *
 * The corrector changes neither the table nor the encoders: stale embeddings stay stale until they are refreshed.
 *
 * Cost of a batch: `flopsPerRow` for each corrected row; `teachingSamples` documents embedded without a gradient. Memory: M rows
 * of D numbers, f32; none without a view.
 */
export class TableCorrection {
  /**
   * Corrected rows. Where all rows are corrected, slot n of the view holds the document of slot n of the table. Undefined where
   * rows are corrected as they are drawn.
   */
  readonly view: ScoreTable | undefined;
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly options: TableOptions;
  private readonly corrector: Corrector;
  /** Corrector that leaves rows unchanged. */
  private readonly none: Corrector;
  private readonly subset: CorrectedSubset | undefined;
  /** State of the corrector at first: the identity. */
  private readonly initial: Record<string, HostTensor>;
  private lessons: Lesson[] = [];
  /** Whether the view is up to date with the table and the corrector. */
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
    if (options.search === 'index') return;
    const { correctedRows: wanted = 0 } = options;
    const rows = wanted === 0 ? table.rows : Math.min(wanted, table.rows);
    this.subset = rows < table.rows ? new CorrectedSubset(context, table, options) : undefined;
    const { dimension } = table;
    this.view = new ScoreTable({ rows, dimension, documents: context.documents.rows });
    context.ledger.cache(table.bytes + this.view.bytes);
  }

  /**
   * Creates the corrector that options describe.
   *
   * @throws UsageError for a model whose embeddings are not normalised
   */
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

  /** Whether the table is used without correction, because corrected rows would be further from the fresh ones. */
  get bypassed(): boolean {
    return this.isBypassed;
  }

  /** Number of rows of the table for each row that negatives are drawn from. */
  get rowsPerRow(): number {
    return this.view ? this.table.filled / Math.max(1, this.view.filled) : 1;
  }

  /**
   * Correction of rows that are drawn from the stale table; undefined where the rows of a view are drawn, and where the corrector
   * is bypassed.
   */
  get ofDrawn(): RowCorrection | undefined {
    if (this.view || this.isBypassed) return undefined;
    const { ledger } = this.context;
    return {
      mostRows: this.options.correctedRows ?? 0,
      correct: (slots) => {
        ledger.correction(this.corrector.flopsPerRow * slots.length);
        return ledger.time('correct', () => this.corrected(slots));
      },
    };
  }

  /** Returns rows of the table as the corrector moves them now: f32[slots, D]. */
  async corrected(slots: Int32Array): Promise<Float32Array<ArrayBuffer>> {
    const { table, corrector } = this;
    const rows = hostTensor('f32', [slots.length, table.dimension], table.read(slots));
    return await corrector.correct(rows, { ages: this.ages(slots) });
  }

  /**
   * Brings the view up to date before a batch, if there is one.
   *
   * @param queries  f32[B, D]: embeddings of the batch's queries
   * @param draw  number of the batch in the run
   */
  async show(queries: Float32Array, draw: number): Promise<void> {
    const { table, view, subset, isShown } = this;
    if (!view || (isShown && !subset)) return;
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

  /**
   * Embeds random documents of the table, for the corrector to learn from. The same draw gives the same documents.
   *
   * @param draw  number of the batch in the run
   * @returns  undefined where no documents are asked for, or the table is empty
   */
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
   * Collects the embeddings of a batch for the next call of `learn`. The table must still be as the batch found it.
   *
   * @param queries  f32[B, D]: embeddings of the batch's queries
   * @param parts  documents that the batch has embedded, and teachers
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

  /**
   * Trains the corrector after an update, before the table is refreshed.
   *
   * @param step  number of the update, from 1
   * @returns  figures for the log, by name
   */
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

  /**
   * Resets the corrector after all rows have been embedded again, because it has learnt from embeddings that are gone. A
   * corrector with ages as inputs keeps its state.
   */
  async forget(): Promise<void> {
    this.isShown = false;
    if (this.corrector.usesAges) return;
    await this.corrector.restore(copyOf(this.initial));
  }

  /**
   * Bypasses the corrector, or uses it again, by a measurement.
   *
   * @param kl  KL(P‖P̃) of the table as it is, and of the corrected rows, in nats
   * @param step  number of the update, for the note
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

/** Computes the steps since embeddings of these versions were made. */
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
