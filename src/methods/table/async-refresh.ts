import type { ScoreTable } from '../../cache/score-table.ts';
import { processEmbedder } from '../../models/background/process-embedder.ts';
import type { EmbedJob, RowEmbedder } from '../../models/background/row-embedder.ts';
import type { Weights } from '../../models/retriever/retriever.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';

/** Options of `AsyncRefresh`. */
export interface AsyncRefreshOptions {
  /** Begin a refresh every n updates. */
  readonly every: number;
  /** Whether the new table is always swapped in right before the next refresh begins, so that a run can be repeated. */
  readonly wait: boolean;
}

/** Refresh in progress, with everything that a process needs to begin it again, here or after a resumption. */
interface Running {
  /** Number of the last update of the weights that the refresh uses. */
  readonly version: number;
  readonly documents: Int32Array<ArrayBuffer>;
  /** Trained weights of the document encoder, as they were at the beginning of the refresh. */
  readonly weights: Weights;
  /** Job of the embedder; undefined where it could not begin. */
  readonly job: EmbedJob | undefined;
}

/**
 * Asynchronous refresh of a score table. A process of its own, or the workers of a cluster, embed all rows with the weights of one moment,
 * while training goes on with the old table. The new table is swapped in between two steps. Rows that a step has written back since that moment are
 * kept, and so are documents that have come in since.
 *
 *     begins after update  v = n, 2n, …   with the weights of v
 *     swapped in           when ready, then begins the next one that is due;   with `wait` at v + n, whenever ready
 *
 * With `wait`, training waits for a refresh that takes longer than n steps. The bytes of the run then depend only on its
 * settings: they equal those of a refresh in this process with the weights of v, swapped in at v + n.
 *
 * A process that dies or hangs is replaced. After several failures the refresh is given up, training keeps its table, and the
 * next refresh tries again.
 *
 * Memory: during a refresh, a copy of the document encoder's weights. The copy is part of a checkpoint, so that a resumed run
 * begins the same refresh again. The process holds its own weights and one block of 1,024 rows.
 */
export class AsyncRefresh {
  private readonly table: ScoreTable;
  private readonly context: MethodContext;
  private readonly options: AsyncRefreshOptions;
  private readonly embedder: RowEmbedder;
  private running: Running | undefined;
  /** Step at which the last refresh began. */
  private begun = 0;
  /** Step whose weights made the last table that was swapped in; 0 for the first table. */
  private version = 0;

  constructor(table: ScoreTable, context: MethodContext, options: AsyncRefreshOptions) {
    const { retriever, documents, folder, compute, onBackground, onNote } = context;
    const { openEmbedder = processEmbedder() } = context;
    this.table = table;
    this.context = context;
    this.options = options;
    this.embedder = openEmbedder(retriever, 'document', documents, {
      ...compute,
      folder,
      onProgress: (progress) => onBackground?.({ ...progress, stage: 'refresh' }),
      onTrouble: (what) => {
        // Ctrl-C reaches a process that has just been started, too.
        if (context.signal?.aborted) return;
        const { version } = this.running ?? { version: this.begun };
        onNote?.(`refresh of step ${version}: ${what}`);
      },
    });
  }

  /** Step whose weights made the last table that was swapped in; 0 for the first table. */
  get tableVersion(): number {
    return this.version;
  }

  /** Whether a table should have come in before the next step but has not, because Ctrl-C cut the wait for it short. */
  get isOwed(): boolean {
    return this.options.wait && this.running !== undefined && this.isDue;
  }

  /**
   * Swaps in a table that is ready or owed after an update, and begins a refresh that is due.
   *
   * @returns  version of the table, and its lag behind the weights in steps
   */
  async settle(): Promise<Record<string, number>> {
    const { table, options, context, running, isDue } = this;
    const step = table.clock;
    // Nothing would use a refresh that begins with the last update.
    const isLast = step >= (context.totalSteps ?? Number.POSITIVE_INFINITY);
    const swaps = running && (options.wait ? isDue && !isLast : running.job?.outcome !== 'running');
    if (swaps && (await this.finished(running))) {
      await this.swap(running);
      this.running = undefined;
    }
    if (isDue && !isLast && !this.running) await this.start(step);
    return { refreshVersion: this.version, refreshLagSteps: step - this.version };
  }

  /** Returns the state for a checkpoint: the steps of the refreshes, and the weights of the one in progress. */
  state(): Record<string, HostTensor> {
    const { begun, version, running } = this;
    const steps = Int32Array.of(begun, version, running ? running.version : NONE);
    return {
      'refresh/steps': hostTensor('i32', [3], steps),
      ...(running && {
        'refresh/documents': hostTensor('i32', [running.documents.length], running.documents),
        ...Object.fromEntries(
          Object.entries(running.weights).map(([name, tensor]) => [`${WEIGHTS}${name}`, tensor]),
        ),
      }),
    };
  }

  /** Restores the state of a checkpoint, and begins the refresh that was in progress again. */
  async restore(state: Readonly<Record<string, HostTensor>>): Promise<void> {
    const [begun = 0, version = 0, running = NONE] = (state['refresh/steps']?.data ?? []) as Int32Array;
    this.begun = begun;
    this.version = version;
    if (running === NONE) return;
    const weights = Object.entries(state).flatMap(([name, tensor]) =>
      name.startsWith(WEIGHTS) ? [[name.slice(WEIGHTS.length), tensor] as const] : [],
    );
    await this.launch({
      version: running,
      documents: state['refresh/documents']!.data as Int32Array<ArrayBuffer>,
      weights: Object.fromEntries(weights),
    });
  }

  /** Ends the embedder. */
  async dispose(): Promise<void> {
    await this.embedder.dispose();
  }

  private get isDue(): boolean {
    const { clock } = this.table;
    return clock - (clock % this.options.every) > this.begun;
  }

  private async start(step: number): Promise<void> {
    const { table, context } = this;
    this.begun = step;
    const documents = table.documents.filter((document) => document !== NONE);
    if (documents.length === 0) return;
    const live = context.retriever.trainedWeights('document');
    await bringToHost(Object.values(live));
    const weights = Object.entries(live).map(
      ([name, { dtype, dims, data }]) => [name, hostTensor(dtype, dims, data.slice())] as const,
    );
    context.ledger.documents('refresh', documents.length);
    await this.launch({ version: step, documents, weights: Object.fromEntries(weights) });
  }

  private async launch(refresh: Omit<Running, 'job'>): Promise<void> {
    let job: EmbedJob | undefined;
    try {
      const weights = this.context.retriever.sideWeights('document', refresh.weights);
      job = await this.embedder.encode(weights, Uint32Array.from(refresh.documents), refresh.version);
    } catch (error) {
      this.context.onNote?.(`the refresh of step ${refresh.version} could not begin: ${reason(error)}`);
    }
    this.running = { ...refresh, job };
  }

  /**
   * Waits until a refresh is finished.
   *
   * @returns  false where the run is to be stopped first
   */
  private async finished({ job }: Running): Promise<boolean> {
    const { signal, onProgress } = this.context;
    if (job?.outcome !== 'running') return true;
    job.hurry?.();
    let stop = () => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    // The embedder alone does not keep the event loop alive.
    const timer = setInterval(
      () => onProgress?.({ stage: 'wait for the refresh', done: job.done, total: job.rows, unit: 'texts' }),
      PROGRESS_MS,
    );
    signal?.addEventListener('abort', stop);
    if (signal?.aborted) stop();
    try {
      await Promise.race([job.settled, stopped]);
    } finally {
      clearInterval(timer);
      signal?.removeEventListener('abort', stop);
    }
    return job.outcome !== 'running';
  }

  private async swap({ version, documents, job }: Running): Promise<void> {
    const { table, context } = this;
    const { dimension: D } = table;
    let rows = 0;
    if (job?.outcome === 'done') {
      try {
        await job.read((first, embeddings) => {
          const slots = table.slotsOf(documents.subarray(first, first + embeddings.length / D));
          // A row of a later version has been embedded by a step since.
          const mask = Array.from(slots, (slot) => slot !== NONE && table.versions[slot]! <= version);
          table.refresh(slots, embeddings, { version, mask });
          rows += mask.reduce((sum, taken) => sum + Number(taken), 0);
        });
        this.version = version;
      } catch (error) {
        context.onNote?.(`the refresh of step ${version} could not be read back: ${reason(error)}`);
      }
    }
    context.onEvent?.('refresh', {
      version,
      lagSteps: table.clock - version,
      rows,
      newerRows: job?.outcome === 'done' ? documents.length - rows : 0,
      workerMs: Math.round(job?.elapsedMs ?? 0),
      workerFailures: job?.failures ?? 0,
      ...(job?.here !== undefined && { hereRows: job.here }),
    });
  }
}

const WEIGHTS = 'refresh/weights/';

/** Milliseconds between reports of progress while training waits. */
const PROGRESS_MS = 200;

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));
