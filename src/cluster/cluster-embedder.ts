import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { jobFile, readEmbeddings, writeJob } from '../models/background/encode-job.ts';
import type {
  EmbedderSettings,
  EmbedJob,
  OpenEmbedder,
  RowEmbedder,
} from '../models/background/row-embedder.ts';
import { makeWorkFolder } from '../models/background/work-folder.ts';
import { saveRetriever } from '../models/folder/save-retriever.ts';
import { blockEnds, lengthsOf } from '../models/retriever/encode-blocks.ts';
import type { Retriever, Side, Weights } from '../models/retriever/retriever.ts';
import type { TokenStore } from '../text/token-store.ts';
import { builtScript } from '../util/built-script.ts';
import { UndriftError } from '../util/errors.ts';
import { count, formatDuration } from '../util/format.ts';
import type { ClusterPlace } from './cluster-options.ts';
import type { TableAnswer, TableRequest, TableThreadData } from './table-messages.ts';
import { pause, reasonOf } from './waiting.ts';

/** Settings of {@link clusterEmbedder}. */
export interface ClusterEmbedderOptions {
  /**
   * Time without a row from a worker after which training, if it waits, embeds what is left itself, in milliseconds; at least three times the
   * longest time between two results so far. Default 30,000.
   */
  readonly stallMs?: number | undefined;
}

const STALL_MS = 30_000;
/** Blocks of a large model take minutes: workers stand still after so many times the longest time between two results. */
const GAPS = 3;
/** Pause between two looks at the workers while training waits. */
const LOOK_MS = 200;
const THREAD = builtScript('cluster/table-thread');

/**
 * Opens an embedder whose rows the workers of a cluster embed, for `MethodContext.openEmbedder`.
 *
 * A thread owns the rows: it answers the workers and stores what they send. Training that waits while no worker makes progress embeds what is
 * left itself, with the same bits. Training that does not wait goes on with the table that it has.
 */
export const clusterEmbedder =
  (place: ClusterPlace, options: ClusterEmbedderOptions = {}): OpenEmbedder =>
  (retriever, side, store, settings) =>
    new ClusterEmbedder({ retriever, side, store }, settings, { ...options, place });

/** Texts to embed, and their encoder. */
interface Subject {
  readonly retriever: Retriever;
  readonly side: Side;
  readonly store: TokenStore;
}

class ClusterEmbedder implements RowEmbedder {
  private readonly subject: Subject;
  private readonly settings: EmbedderSettings;
  private readonly options: ClusterEmbedderOptions & { readonly place: ClusterPlace };
  private folder: string | undefined;
  private thread: Worker | undefined;
  private job: ClusterJob | undefined;
  private jobs = 0;
  /** End of the last help with a job. */
  private helping: Promise<void> = Promise.resolve();

  constructor(
    subject: Subject,
    settings: EmbedderSettings,
    options: ClusterEmbedderOptions & { readonly place: ClusterPlace },
  ) {
    this.subject = subject;
    this.settings = settings;
    this.options = options;
  }

  async encode(weights: Weights, rows: Uint32Array, version: number): Promise<EmbedJob> {
    if (this.job?.outcome === 'running') throw new UndriftError('the cluster is still embedding other texts');
    await this.clear();
    const { settings, subject } = this;
    const { retriever, store } = subject;
    this.folder ??= await makeWorkFolder(settings.folder);
    const id = ++this.jobs;
    const model = join(this.folder, `model-${id}`);
    const space = await saveRetriever(model, retriever.withWeights(weights), { onnx: false, fold: false });
    const ends = blockEnds(lengthsOf(store, rows));
    const { tokens } = await writeJob(this.folder, id, {}, { store, rows, ends });
    const { dimension } = retriever;
    const file = jobFile(this.folder, id, 'embeddings');
    this.job = new ClusterJob({ id, weights, places: rows, ends, file, dimension }, () => this.help());
    this.send({
      kind: 'job',
      id,
      table: {
        shard: shardName(settings.folder, space),
        version: { id: space, step: version, dimension, folder: model },
        documents: rows,
        tokensFile: jobFile(this.folder, id, 'tokens'),
        tokens,
        embeddingsFile: file,
      },
    });
    return this.job;
  }

  async dispose(): Promise<void> {
    const { thread } = this;
    this.job?.settle('failed');
    this.thread = undefined;
    if (thread) {
      const ended = new Promise((resolve) => thread.once('exit', resolve));
      thread.postMessage({ kind: 'close' } satisfies TableRequest);
      await ended;
    }
    // Whoever disposes of this frees the model next.
    await this.helping;
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
    this.folder = undefined;
  }

  /** Removes the files of the last job. */
  private async clear(): Promise<void> {
    if (!this.folder || !this.job) return;
    const { id } = this.job.parts;
    await rm(join(this.folder, `model-${id}`), { recursive: true, force: true });
    for (const part of ['weights', 'tokens', 'embeddings'] as const)
      await rm(jobFile(this.folder, id, part), { force: true });
  }

  private send(request: TableRequest): void {
    this.thread ??= this.launch();
    this.thread.postMessage(request);
  }

  private launch(): Worker {
    const workerData: TableThreadData = this.options.place;
    const thread = new Worker(THREAD, { workerData });
    thread.on('message', (message: TableAnswer) => this.hear(message));
    const ended = (reason: string) => {
      if (this.thread !== thread) return;
      this.thread = undefined;
      this.fail(`its thread ${reason}`);
    };
    thread.on('error', (error) => ended(`failed: ${reasonOf(error)}`));
    thread.on('exit', () => ended('has ended'));
    return thread;
  }

  private hear(message: TableAnswer): void {
    const { job, settings } = this;
    if (message.kind === 'note') {
      settings.onTrouble?.(message.text);
      return;
    }
    if (job?.outcome !== 'running' || message.id !== job.parts.id) return;
    if (message.kind === 'progress') {
      job.advance(message.done, message.byWorker);
      settings.onProgress?.({ stage: 'encode', done: job.done, total: job.rows, unit: 'texts' });
    } else if (message.kind === 'block') job.answered(message.block);
    else if (message.kind === 'failed') this.fail(message.reason);
    else if (message.kind === 'done') job.settle('done');
    else {
      job.failures += 1;
      job.isAbandoned = true;
      settings.onTrouble?.(
        `workers have given up ${count(message.rows)} documents, which this process embeds`,
      );
      this.help();
    }
  }

  private fail(reason: string): void {
    const { job, settings } = this;
    if (job?.outcome !== 'running') return;
    job.failures += 1;
    settings.onTrouble?.(`the cluster's part failed: ${reason}; training goes on with the table that it has`);
    job.settle('failed');
  }

  /** Looks after the job until its end. */
  private help(): void {
    const { job } = this;
    if (!job || job.isHelped) return;
    job.isHelped = true;
    this.helping = this.embedHere(job).catch((error) => this.fail(reasonOf(error)));
  }

  /** Embeds blocks here while workers stand still, from the last one on: workers begin with the first. */
  private async embedHere(job: ClusterJob): Promise<void> {
    const { settings } = this;
    let isNoted = false;
    while (job.outcome === 'running') {
      const stallMs = Math.max(this.options.stallMs ?? STALL_MS, GAPS * job.longestGapMs);
      if (!job.isAbandoned && performance.now() - job.lastMs < stallMs) {
        isNoted = false;
        await pause(LOOK_MS);
        continue;
      }
      if (!isNoted && !job.isAbandoned) {
        job.failures += 1;
        settings.onTrouble?.(
          `no worker has embedded anything for ${formatDuration(stallMs)} after ${count(job.done)} of ` +
            `${count(job.rows)} documents; this process embeds until one does`,
        );
      }
      isNoted = true;
      await this.embedBlock(job);
    }
  }

  private async embedBlock(job: ClusterJob): Promise<void> {
    const { retriever, side, store } = this.subject;
    const { device, threads } = this.settings;
    const { id, places, weights } = job.parts;
    const asked = job.asked();
    this.send({ kind: 'ask', id });
    const block = await asked;
    if (!block || job.outcome !== 'running') return await pause(LOOK_MS);
    const vectors = (await retriever.encodeTokens(side, store, {
      rows: places.subarray(block.first, block.end),
      weights,
      ...(device && { device }),
      ...(threads && { threads }),
    })) as Float32Array<ArrayBuffer>;
    if (job.outcome !== 'running') return;
    job.here += block.end - block.first;
    const stored = job.changed();
    this.send({ kind: 'rows', id, first: block.first, vectors });
    await stored;
  }
}

/** Parts of a job. */
interface JobParts {
  readonly id: number;
  readonly weights: Weights;
  /** Rows of the token store. */
  readonly places: Uint32Array;
  /** End of each block. */
  readonly ends: Uint32Array;
  /** File of the embeddings. */
  readonly file: string;
  readonly dimension: number;
}

type Block = { readonly first: number; readonly end: number } | undefined;

class ClusterJob implements EmbedJob {
  readonly parts: JobParts;
  readonly rows: number;
  readonly settled: Promise<void>;
  done = 0;
  outcome: EmbedJob['outcome'] = 'running';
  failures = 0;
  here = 0;
  /** Whether workers will not embed what is left. */
  isAbandoned = false;
  /** Whether this process looks after the job. */
  isHelped = false;
  /** Time of the last row from a worker. */
  lastMs = performance.now();
  /** Longest time between two rows from workers. */
  longestGapMs = 0;
  private hasRows = false;
  private readonly startMs = this.lastMs;
  private endMs: number | undefined;
  private readonly onHurry: () => void;
  private resolve: () => void = () => {};
  private take: (block: Block) => void = () => {};
  private moved: () => void = () => {};

  constructor(parts: JobParts, onHurry: () => void) {
    this.parts = parts;
    this.rows = parts.places.length;
    this.onHurry = onHurry;
    this.settled = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  get elapsedMs(): number {
    return (this.endMs ?? performance.now()) - this.startMs;
  }

  hurry(): void {
    this.onHurry();
  }

  async read(take: (first: number, embeddings: Float32Array) => void): Promise<void> {
    const { file, ends, dimension } = this.parts;
    await readEmbeddings(file, { ends, dimension }, take);
  }

  advance(done: number, byWorker: boolean): void {
    this.done = done;
    if (byWorker) {
      const nowMs = performance.now();
      // The first waits for the model to be published and fetched.
      if (this.hasRows) this.longestGapMs = Math.max(this.longestGapMs, nowMs - this.lastMs);
      this.hasRows = true;
      this.lastMs = nowMs;
    }
    this.moved();
  }

  /** Resolves with the next answer about a block, or without one when the job ends. */
  asked(): Promise<Block> {
    return new Promise((resolve) => {
      this.take = resolve;
    });
  }

  answered(block: Block): void {
    this.take(block);
  }

  /** Resolves at the next progress, or when the job ends. */
  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.moved = resolve;
    });
  }

  settle(outcome: 'done' | 'failed'): void {
    if (this.outcome !== 'running') return;
    this.outcome = outcome;
    this.endMs = performance.now();
    this.take(undefined);
    this.moved();
    this.resolve();
  }
}

/** Name of the shard of a refresh: the same when the run is resumed, so that results which are under way are of use. */
function shardName(folder: string, space: string): string {
  const run = createHash('sha256')
    .update(`${hostname()} ${resolve(folder)}`)
    .digest('hex');
  return `train-${run.slice(0, 12)}-${space.slice(0, 8)}`;
}
