import { parseRefreshPolicy, type RefreshPolicy } from '../../cache/refresh-policy.ts';
import type { ScoreTable } from '../../cache/score-table.ts';
import { lengthsOf, pieces } from '../../models/retriever/encode-blocks.ts';
import { encodeUnlessStored, type StoredEmbeddings } from '../../models/retriever/stored-embeddings.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import type { Progress } from '../../util/progress.ts';
import { permutation, rngKey } from '../../util/rng.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';
import { AsyncRefresh } from './async-refresh.ts';
import type { RefreshEvidence } from './refresh-evidence.ts';
import type { TableCorrection } from './table-correction.ts';
import type { TableOptions } from './table-options.ts';

/** Documents that a batch has embedded, its positives first. */
interface Embedded {
  readonly documents: Int32Array;
  /** Number of positives among the documents. */
  readonly positives: number;
  /** f32[documents, D]: embeddings of the documents. */
  readonly embeddings: Float32Array;
}

/**
 * Keeps a score table filled, and as fresh as its refresh policy demands. `take` collects the embeddings of batches; `updated`
 * moves them into the table once an update. Each update applies write-backs, then insertions, then a tick of the table's clock,
 * then refreshes of rows with the new weights.
 *
 * Memory: embeddings of the batches of an update, or at most 16,384 rows.
 */
export class TableUpkeep {
  private readonly context: MethodContext;
  private readonly table: ScoreTable;
  private readonly options: TableOptions;
  private readonly policy: RefreshPolicy;
  private readonly background: AsyncRefresh | undefined;
  private readonly evidence: RefreshEvidence;
  private readonly correction: TableCorrection | undefined;
  private taken: Embedded[] = [];

  constructor(
    context: MethodContext,
    of: {
      readonly table: ScoreTable;
      readonly options: TableOptions;
      /** Evidence for a policy that acts on it. */
      readonly evidence: RefreshEvidence;
      /** Correction of the table, which is told when all rows are fresh again. */
      readonly correction?: TableCorrection | undefined;
    },
  ) {
    const { table, options } = of;
    this.context = context;
    this.table = table;
    this.options = options;
    this.evidence = of.evidence;
    this.correction = of.correction;
    this.policy = parseRefreshPolicy(options.refresh);
    const { async } = this.policy;
    if (async) this.background = new AsyncRefresh(table, context, async);
  }

  /** Fills the table before the first step, if the options say so. */
  async begin(): Promise<void> {
    if (this.options.prefill) await this.fill(0, this.context.stored);
  }

  /** Takes in, before a step, a refreshed table that should have come in earlier. */
  async settle(): Promise<void> {
    const { background, context } = this;
    if (background?.isOwed) await context.ledger.time('refresh', () => this.settleBackground());
  }

  /** Collects the embeddings of a batch, if the policy uses them. */
  async take(embedded: Embedded): Promise<void> {
    const { policy, options, context } = this;
    if (!policy.writeBack && !policy.stream) return;
    const again = options.writeBackWithoutDropout && context.dropoutRatio > 0;
    const embeddings = again
      ? await context.ledger.time('refresh', () => this.embed(embedded.documents))
      : embedded.embeddings;
    this.taken.push({ ...embedded, embeddings });
  }

  /**
   * Brings the table up to date after an update.
   *
   * @param step  number of the update, from 1
   * @returns  figures for the log, by name
   */
  async updated(step: number): Promise<Record<string, number>> {
    const { table, policy, options, taken } = this;
    // All write-backs come first: a row that one batch has embedded again must not be evicted by an insertion of another batch.
    if (policy.writeBack) {
      for (const { documents, embeddings } of taken) {
        const slots = table.slotsOf(documents);
        table.refresh(slots, embeddings, { mask: Array.from(slots, (slot) => slot !== NONE) });
      }
    }
    if (policy.stream) {
      for (const { documents, positives, embeddings } of taken)
        table.insert(documents.subarray(0, positives), embeddings.subarray(0, positives * table.dimension));
    }
    this.taken = [];
    table.tick();
    const isDue = (every: number | undefined) => every !== undefined && step % every === 0;
    if (isDue(options.snapshotEvery)) await this.fill(step);
    if (isDue(policy.every)) await this.refreshAll();
    if (policy.fraction) await this.refresh(this.share(policy.fraction, step));
    const found = isDue(policy.auto?.every) ? await this.act(policy.auto!, step) : {};
    return { ...found, ...(await this.settleBackground()) };
  }

  /** Takes in a table that is ready or owed. A corrector then forgets what it has learnt, because the old embeddings are gone. */
  private async settleBackground(): Promise<Record<string, number>> {
    const { background, correction } = this;
    if (!background) return {};
    const before = background.tableVersion;
    const settled = await background.settle();
    if (background.tableVersion !== before) await correction?.forget();
    return settled;
  }

  /** Embeds all rows again where the evidence demands it. */
  private async act(
    { evidence: kind, threshold }: NonNullable<RefreshPolicy['auto']>,
    step: number,
  ): Promise<Record<string, number>> {
    const { evidence, correction } = this;
    if (kind === 'ess') {
      const probeSampleRatio = evidence.takeSampleRatio();
      const isRefreshed = probeSampleRatio < threshold;
      if (isRefreshed) await this.refreshAll();
      return { probeSampleRatio, autoRefreshed: Number(isRefreshed) };
    }
    const kl = await evidence.kl();
    correction?.judge(kl, step);
    const drawn = correction?.bypassed ? kl.stale : kl.corrected;
    const isRefreshed = drawn > threshold;
    if (isRefreshed) await this.refreshAll();
    return {
      probeKlStale: kl.stale,
      ...(correction && { probeKlCorrected: kl.corrected }),
      autoRefreshed: Number(isRefreshed),
    };
  }

  private async refreshAll(): Promise<void> {
    await this.refresh(filledSlots(this.table));
    await this.correction?.forget();
  }

  /** Returns the state of a running background refresh, and of the evidence. The table's own state is not included. */
  state(): Record<string, HostTensor> {
    return { ...this.evidence.state(), ...this.background?.state() };
  }

  /** Restores the state of a checkpoint. */
  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    this.evidence.restore(state);
    await this.background?.restore(state);
  }

  /** Frees programs, and ends the background process. */
  async dispose(): Promise<void> {
    await this.evidence.dispose();
    await this.background?.dispose();
  }

  /**
   * Fills the table with documents embedded with the current weights: all of the corpus, or random ones where the table is
   * smaller.
   *
   * @param stored  embeddings by the current weights, which are read instead
   */
  private async fill(step: number, stored?: StoredEmbeddings): Promise<void> {
    const { table, context } = this;
    const all = permutation(rngKey(context.seed, step, 'fill'), context.documents.rows);
    const documents = Int32Array.from(all.subarray(0, table.rows)).sort();
    table.clear();
    await this.correction?.forget();
    await this.embedPieces(documents, { stage: 'fill the cache', stored }, (piece, embeddings) =>
      table.insert(piece(documents), embeddings, { version: table.clock }),
    );
  }

  /** Embeds slots again with the current weights. */
  private async refresh(slots: Int32Array): Promise<void> {
    const { table } = this;
    const documents = slots.map((slot) => table.documents[slot]!);
    await this.embedPieces(documents, { stage: 'refresh the cache' }, (piece, embeddings) =>
      table.refresh(piece(slots), embeddings, { version: table.clock }),
    );
  }

  /** Picks a share of the filled slots. */
  private share({ ratio, order }: NonNullable<RefreshPolicy['fraction']>, step: number): Int32Array {
    const { table } = this;
    const count = Math.ceil(ratio * table.filled);
    // Empty slots count as the oldest; there is nothing to refresh in them.
    const empty = table.rows - table.filled;
    if (order === 'oldest')
      return table.oldest(empty + count).filter((slot) => table.documents[slot] !== NONE);
    const filled = filledSlots(table);
    const picked = permutation(rngKey(this.context.seed, step, 'refresh'), filled.length).subarray(0, count);
    return Int32Array.from(picked, (i) => filled[i]!).sort();
  }

  /**
   * Embeds documents piece by piece.
   *
   * @param take  receives a function that cuts the piece out of a list, and the piece's embeddings
   */
  private async embedPieces(
    documents: Int32Array,
    { stage, stored }: { stage: string; stored?: StoredEmbeddings | undefined },
    take: (piece: (list: Int32Array) => Int32Array, embeddings: Float32Array) => void,
  ): Promise<void> {
    const { ledger, onProgress, documents: store } = this.context;
    await ledger.time('refresh', async () => {
      for (const { start, end } of pieces(lengthsOf(store, Uint32Array.from(documents)))) {
        const piece = (list: Int32Array) => list.subarray(start, end);
        const embeddings = await this.embed(piece(documents), {
          stored,
          onProgress: ({ done }) =>
            onProgress?.({ stage, done: start + done, total: documents.length, unit: 'texts' }),
        });
        take(piece, embeddings);
      }
    });
  }

  /** Embeds documents without dropout: f32[documents, D]. */
  private async embed(
    documents: Int32Array,
    options: { stored?: StoredEmbeddings | undefined; onProgress?: (progress: Progress) => void } = {},
  ): Promise<Float32Array> {
    const { retriever, compute, ledger, documents: store } = this.context;
    return await encodeUnlessStored(
      retriever,
      { store, rows: Uint32Array.from(documents) },
      { ...compute, ...options, onEncodes: (count) => ledger.documents('refresh', count) },
    );
  }
}

function filledSlots({ documents, filled }: ScoreTable): Int32Array {
  const slots = new Int32Array(filled);
  for (let slot = 0, at = 0; at < filled; slot++) if (documents[slot] !== NONE) slots[at++] = slot;
  return slots;
}
