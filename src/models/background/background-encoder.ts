import { rm } from 'node:fs/promises';
import { type ComputeOptions, defaultThreads } from '../../runtime/devices.ts';
import { programMessage } from '../../runtime/program-message.ts';
import { WatchedProcess } from '../../runtime/watched-process.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { builtScript } from '../../util/built-script.ts';
import { UndriftError } from '../../util/errors.ts';
import type { Progress } from '../../util/progress.ts';
import { type BlockSize, blockEnds, lengthsOf } from '../retriever/encode-blocks.ts';
import type { Retriever, Side, Weights } from '../retriever/retriever.ts';
import {
  type EncodeJob,
  type EncoderAnswer,
  type EncoderRequest,
  jobFile,
  readEmbeddings,
  writeJob,
} from './encode-job.ts';
import type { EmbedJob } from './row-embedder.ts';
import { makeWorkFolder } from './work-folder.ts';

/** Limits after which a process counts as failed, and the number of failures allowed. */
export interface BackgroundLimits {
  /**
   * Longest silence before the first pass is done, in ms. The model is compiled in this time, and the
   * duration of a pass is not known yet. Default 600,000.
   */
  firstSilenceMs: number;
  /**
   * Longest silence after the first pass, in ms; 20 times the longest pass so far is always allowed. Default
   * 60,000.
   */
  silenceMs: number;
  /** Number of failures after which a job is given up. Default 3. */
  failures: number;
}

/** A pass has 2048 tokens and takes up to minutes for a large model on one slow core. */
const LIMITS: BackgroundLimits = { firstSilenceMs: 600_000, silenceMs: 60_000, failures: 3 };

const PASSES_OF_SILENCE = 20;

/**
 * Default operating system priority of the process.
 *
 * The process has as many threads as training: this gives the same bits, and all cores are used while
 * training waits. The operating system decides how to share the cores. On two cores, for a transformer (`npm
 * run bench:refresh`): at 0 training keeps half of its speed and a refresh takes 2.3 times as long as alone;
 * at 5 it is 0.7 of the speed and 6 times; at 10, 0.9 and 15 times. The total work is nearly the same, so the
 * value is a choice between speed and fresh tables.
 */
export const NICENESS = 5;

/** Settings of a {@link BackgroundEncoder}. */
export interface BackgroundOptions extends ComputeOptions {
  /** Folder for the files of the process, which lie in a folder of their own inside. */
  folder: string;
  /** Operating system priority of the process, from 0 to 19 (the lowest). Default 5. */
  niceness?: number;
  /** Size of blocks. Default that of all encoding; another one gives other bits. */
  blockSize?: BlockSize;
  /** Limits of silence and failures. Default those of {@link BackgroundLimits}. */
  limits?: Partial<BackgroundLimits>;
  /** Called when a process has failed; `willRetry` tells whether another process takes over. */
  onFailure?: (failure: {
    reason: string;
    done: number;
    rows: number;
    failures: number;
    willRetry: boolean;
  }) => void;
  /** Called with progress in texts. */
  onProgress?: (progress: Progress) => void;
}

const PROCESS = builtScript('models/background/encode-process');

type EncodeProcess = WatchedProcess<EncoderRequest, EncoderAnswer>;

/**
 * Embeds texts in another process, with a snapshot of the weights at the time of the request, while this
 * process continues and changes the weights.
 *
 * The embeddings equal those of `Retriever.encodeTokens` with the same number of threads, to the bit. A process
 * that dies, hangs or reports an error is replaced, and the new one continues after the last block. The process
 * never outlives this one, because it ends when its channel closes.
 *
 * The process holds the weights, one pass and one block in memory. The weights, tokens and embeddings of the job
 * are on disk.
 */
export class BackgroundEncoder {
  private readonly retriever: Retriever;
  private readonly side: Side;
  private readonly store: TokenStore;
  private readonly options: BackgroundOptions;
  private readonly limits: BackgroundLimits;
  private folder: string | undefined;
  private process: EncodeProcess | undefined;
  /** Whether the process has finished a pass. */
  private isWarm = false;
  private job: BackgroundJob | undefined;
  private jobs = 0;

  constructor(retriever: Retriever, side: Side, store: TokenStore, options: BackgroundOptions) {
    this.retriever = retriever;
    this.side = side;
    this.store = store;
    this.options = options;
    this.limits = { ...LIMITS, ...options.limits };
  }

  /** Id of the running process; undefined if none runs. */
  get pid(): number | undefined {
    return this.process?.pid;
  }

  /**
   * Starts to embed rows. Only one job can run at a time.
   *
   * @param weights  weights of the side (`Retriever.encodeWeights`); copied before the promise resolves, so they may change afterwards
   * @param store  tokens, if not those of the constructor
   * @param ends  end of each block of rows, if not those of `blockEnds`
   * @throws UndriftError when a job is running, or the job's files cannot be written
   */
  async encode(
    weights: Weights,
    rows: Uint32Array,
    store = this.store,
    ends = blockEnds(lengthsOf(store, rows), this.options.blockSize),
  ): Promise<BackgroundJob> {
    if (this.job?.outcome === 'running') throw new UndriftError('the process is still embedding other texts');
    await this.clear();
    const folder = await this.makeFolder();
    const request = await writeJob(folder, ++this.jobs, weights, { store, rows, ends });
    const file = jobFile(folder, request.id, 'embeddings');
    this.job = new BackgroundJob(request, file, this.retriever.dimension);
    if (this.process) this.process.send(request);
    else this.launch();
    this.expect();
    return this.job;
  }

  /** Ends the process and removes its files. */
  async dispose(): Promise<void> {
    await this.process?.dispose();
    this.process = undefined;
    this.job?.settle('failed');
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
    this.folder = undefined;
  }

  /** Removes the files of the last job. */
  private async clear(): Promise<void> {
    if (!this.folder || !this.job) return;
    for (const part of ['weights', 'tokens', 'embeddings'] as const) {
      await rm(jobFile(this.folder, this.job.request.id, part), { force: true });
    }
  }

  private async makeFolder(): Promise<string> {
    this.folder ??= await makeWorkFolder(this.options.folder);
    return this.folder;
  }

  /** Starts a process and sends it the job. */
  private launch(): void {
    const { device, threads = defaultThreads() } = this.options;
    const { retriever, side } = this;
    let own: EncodeProcess | undefined;
    try {
      own = new WatchedProcess<EncoderRequest, EncoderAnswer>(PROCESS, {
        argv: [this.folder!],
        onMessage: (message) => this.hear(message),
        onEnd: (reason) => {
          if (this.process === own) this.failed(reason);
        },
      });
    } catch (error) {
      this.failed(`could not be started: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    this.process = own;
    this.isWarm = false;
    own.send({
      kind: 'start',
      program: programMessage(retriever.encodeGraph(side), device, retriever.encodeDtype),
      compute: { threads, ...(device && { device }) },
      inputs: retriever.encodeInputs(side),
      padId: retriever.padId,
      dimension: retriever.dimension,
      niceness: this.options.niceness ?? NICENESS,
    });
    if (this.job) own.send({ ...this.job.request, done: this.job.written });
  }

  private hear(message: EncoderAnswer): void {
    const { job } = this;
    if (message.kind === 'failed') {
      this.process?.kill(`failed: ${message.reason}`);
      return;
    }
    if (job?.outcome !== 'running') return;
    if (message.kind === 'ready') job.restartClock();
    else if (message.id !== job.request.id) return;
    else if (message.kind === 'progress') {
      this.isWarm = true;
      job.advance(message.rows, message.written);
      this.options.onProgress?.({ stage: 'encode', done: job.done, total: job.rows, unit: 'texts' });
    } else job.settle('done');
    this.expect();
  }

  /** Sets the silence that now counts as a hang. */
  private expect(): void {
    const { job, limits } = this;
    const { firstSilenceMs, silenceMs } = limits;
    if (job?.outcome !== 'running') this.process?.expectWithin(undefined);
    else if (!this.isWarm) this.process?.expectWithin(firstSilenceMs);
    else this.process?.expectWithin(Math.max(silenceMs, PASSES_OF_SILENCE * job.longestPassMs));
  }

  private failed(reason: string): void {
    this.process = undefined;
    const { job, limits, options } = this;
    // Between two jobs nothing is lost: the next job starts another process.
    if (job?.outcome !== 'running') return;
    job.failures += 1;
    const { done, rows, failures } = job;
    const willRetry = failures < limits.failures;
    job.startOver();
    options.onFailure?.({ reason, done, rows, failures, willRetry });
    if (!willRetry) job.settle('failed');
    else {
      this.launch();
      this.expect();
    }
  }
}

/** Job of a {@link BackgroundEncoder}: texts that are being embedded or have been embedded. */
export class BackgroundJob implements EmbedJob {
  /** Message that started the job. */
  readonly request: EncodeJob;
  /** Number of rows of the job. */
  readonly rows: number;
  /** Number of rows embedded so far. */
  done = 0;
  /** Number of rows in the file, which survive a failure of the process. */
  written = 0;
  /** Number of processes that have failed in this job. */
  failures = 0;
  /** State of the job. */
  outcome: 'running' | 'done' | 'failed' = 'running';
  /** Resolves when the job is done or has failed. */
  readonly settled: Promise<void>;
  /** Duration of the longest pass, in ms; 0 before the first pass is done. */
  longestPassMs = 0;
  private readonly file: string;
  private readonly dimension: number;
  private readonly startMs = performance.now();
  private endMs: number | undefined;
  private lastMs = this.startMs;
  private resolve: () => void = () => {};

  constructor(request: EncodeJob, file: string, dimension: number) {
    this.request = request;
    this.rows = request.rows;
    this.file = file;
    this.dimension = dimension;
    this.settled = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  /** Duration of the job so far, in ms. */
  get elapsedMs(): number {
    return (this.endMs ?? performance.now()) - this.startMs;
  }

  /** Reads the embeddings of a finished job block by block: `take` gets f32[rows, D] of the rows from `first` on. */
  async read(take: (first: number, embeddings: Float32Array) => void): Promise<void> {
    const { file, dimension, request } = this;
    await readEmbeddings(file, { ends: request.ends, dimension }, take);
  }

  /** Records progress; called by `BackgroundEncoder`. */
  advance(done: number, written: number): void {
    const nowMs = performance.now();
    this.longestPassMs = Math.max(this.longestPassMs, nowMs - this.lastMs);
    this.lastMs = nowMs;
    this.done = done;
    this.written = written;
  }

  /**
   * Resets the progress to the rows in the file, after which another process continues; called by
   * `BackgroundEncoder`.
   */
  startOver(): void {
    this.done = this.written;
    this.restartClock();
  }

  /** Records that a pass begins; called by `BackgroundEncoder`. */
  restartClock(): void {
    this.lastMs = performance.now();
  }

  /** Ends the job with an outcome; called by `BackgroundEncoder`. */
  settle(outcome: 'done' | 'failed'): void {
    if (this.outcome !== 'running') return;
    this.outcome = outcome;
    this.endMs = performance.now();
    this.resolve();
  }
}
