import type { ScoreTable } from '../../cache/score-table.ts';
import {
  BackgroundEncoder,
  type BackgroundJob,
  type BackgroundLimits,
} from '../../models/background/background-encoder.ts';
import type { Weights } from '../../models/retriever/retriever.ts';
import { bringToHost } from '../../runtime/device-memory.ts';
import { type HostTensor, hostTensor } from '../../runtime/host-tensor.ts';
import { count } from '../../util/format.ts';
import { NONE } from '../../util/vector-rows.ts';
import type { MethodContext } from '../contract/method.ts';

export interface AsyncRefreshOptions {
  /** Updates after which a refresh begins. */
  readonly every: number;
  /** Whether the new table is swapped in right before the next refresh begins, and never earlier: so that a run can be repeated. */
  readonly wait: boolean;
  /** Rows embedded together; the same as of a refresh in this process, so that both make the same bits. */
  readonly blockRows: number;
  readonly limits?: Partial<BackgroundLimits>;
}

/** What is being embedded: all that a process needs to begin anew, here or after a resumption. */
interface Running {
  /** Step that had moved the weights last. */
  readonly version: number;
  readonly documents: Int32Array<ArrayBuffer>;
  /** Those of the documents' encoder that are trained, as they were then. */
  readonly weights: Weights;
  /** Undefined where its files could not be written. */
  readonly job: BackgroundJob | undefined;
}

/**
 * Asynchronous refresh of a score table: a process of its own embeds all rows with the weights of one moment, while training goes on
 * with the old table; the new one is swapped in between two steps. Rows that were embedded later than that moment, because a step
 * wrote them back, stay; so do documents that have come in since.
 *
 *     begins after update  v = n, 2n, …   with the weights of v
 *     swapped in           when ready, then begins the next one that is due;   with `wait` at v + n, whenever ready
 *
 * With `wait` training waits for a refresh that takes longer than n steps, and the run's bytes depend on nothing but its settings:
 * they are those of a refresh in this process with the weights of v, swapped in at v + n.
 *
 * A process that dies or hangs is replaced; after several failures the refresh is given up, and the next one tries again. Training
 * stays on the table that it has.
 *
 * Memory: a copy of the documents' encoder while a refresh runs, which is part of a checkpoint: a resumed run begins the same
 * refresh again. The process has its weights and 16,384 rows.
 */
export class AsyncRefresh {
  private readonly table: ScoreTable;
  private readonly context: MethodContext;
  private readonly options: AsyncRefreshOptions;
  private readonly encoder: BackgroundEncoder;
  private running: Running | undefined;
  /** Step at which the last refresh began. */
  private begun = 0;
  /** Step whose weights made the last table that was swapped in; 0 for what it was filled with. */
  private version = 0;

  constructor(table: ScoreTable, context: MethodContext, options: AsyncRefreshOptions) {
    const { retriever, documents, folder, compute, onBackground, onNote } = context;
    this.table = table;
    this.context = context;
    this.options = options;
    this.encoder = new BackgroundEncoder(retriever, 'document', documents, {
      ...compute,
      folder,
      blockRows: options.blockRows,
      ...(options.limits && { limits: options.limits }),
      onProgress: (progress) => onBackground?.({ ...progress, stage: 'refresh' }),
      onFailure: ({ reason, done, rows, failures, willRetry }) => {
        // Ctrl-C reaches a process that has just been started, too.
        if (context.signal?.aborted) return;
        const { version } = this.running ?? { version: this.begun };
        const what = `the process of the refresh of step ${version} ${reason} after ${count(done)} of ${count(rows)} documents`;
        const then = `given up after ${failures} failures, training goes on with the table that it has`;
        onNote?.(`${what}; ${willRetry ? 'another one takes over' : then}`);
      },
    });
  }

  /** Step whose weights made the last table that was swapped in; 0 before. */
  get tableVersion(): number {
    return this.version;
  }

  /** Whether a table should have come in before the next step, and has not: Ctrl-C has cut the wait for it short. */
  get isOwed(): boolean {
    return this.options.wait && this.running !== undefined && this.isDue;
  }

  /**
   * After an update: swaps in what is to be swapped in, and begins what is due.
   * @returns  version of the table and its lag behind the weights, in steps
   */
  async settle(): Promise<Record<string, number>> {
    const { table, options, context, running, isDue } = this;
    const step = table.clock;
    // What begins with the last update is for nobody.
    const isLast = step >= (context.totalSteps ?? Number.POSITIVE_INFINITY);
    const swaps = running && (options.wait ? isDue && !isLast : running.job?.outcome !== 'running');
    if (swaps && (await this.finished(running))) {
      await this.swap(running);
      this.running = undefined;
    }
    if (isDue && !isLast && !this.running) await this.start(step);
    return { refreshVersion: this.version, refreshLagSteps: step - this.version };
  }

  /** For a checkpoint. */
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

  /** Takes back what `state` gave, and begins the refresh that was running anew. */
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

  async dispose(): Promise<void> {
    await this.encoder.dispose();
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
    let job: BackgroundJob | undefined;
    try {
      const weights = this.context.retriever.sideWeights('document', refresh.weights);
      job = await this.encoder.encode(weights, Uint32Array.from(refresh.documents));
    } catch (error) {
      this.context.onNote?.(`the refresh of step ${refresh.version} could not begin: ${reason(error)}`);
    }
    this.running = { ...refresh, job };
  }

  /** Waits until a refresh is finished. @returns  false where the run is to be stopped first */
  private async finished({ job }: Running): Promise<boolean> {
    const { signal, onProgress } = this.context;
    if (job?.outcome !== 'running') return true;
    let stop = () => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    // The process alone keeps no event loop alive.
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
          // Of a version above this one, where a step has embedded it since.
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
    });
  }
}

const WEIGHTS = 'refresh/weights/';

/** Between two signs of life while training waits. */
const PROGRESS_MS = 200;

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));
