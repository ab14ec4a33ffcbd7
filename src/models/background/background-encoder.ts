import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ComputeOptions, defaultThreads } from '../../runtime/devices.ts';
import { programMessage } from '../../runtime/program-message.ts';
import { WatchedProcess } from '../../runtime/watched-process.ts';
import type { TokenStore } from '../../text/token-store.ts';
import { builtScript } from '../../util/built-script.ts';
import { UndriftError } from '../../util/errors.ts';
import { readAt } from '../../util/files.ts';
import type { Progress } from '../../util/progress.ts';
import type { Retriever, Side, Weights } from '../retriever/retriever.ts';
import {
  type EncodeJob,
  type EncoderAnswer,
  type EncoderRequest,
  jobFile,
  withFile,
  writeJob,
} from './encode-job.ts';

/** When a process counts as failed, and how often it may. */
export interface BackgroundLimits {
  /** Silence that is a hang before the first pass is done: the model is compiled, and how long a pass takes is not known. */
  firstSilenceMs: number;
  /** The same afterwards, at least; a process may always be silent for 20 times the longest pass so far. */
  silenceMs: number;
  /** Failures in one job after which it is given up. */
  failures: number;
}

/** A pass is 2048 tokens: up to minutes with a large model on one slow core. */
const LIMITS: BackgroundLimits = { firstSilenceMs: 600_000, silenceMs: 60_000, failures: 3 };

const PASSES_OF_SILENCE = 20;

/**
 * Priority of the process. It has as many threads as training, which makes the same bits and uses all cores while training waits;
 * how the cores are shared is left to the operating system. On two cores, for a transformer (`npm run bench:refresh`): at 0 training
 * keeps half of its speed and a refresh takes 2.3 times as long as alone, at 5 it is 0.7 and 6 times, at 10 0.9 and 15 times. The sum
 * of the work is nearly the same, so this chooses between speed and fresh tables.
 */
export const NICENESS = 5;

export interface BackgroundOptions extends ComputeOptions {
  /** Folder in which files are kept while the process works, in a folder of their own. */
  folder: string;
  /** Texts embedded together, which bounds the memory of the process: as many at a time as `Retriever.encodeTokens` is given. */
  blockRows: number;
  /** Operating system's priority of the process, from 0 to 19, the least. Default 5. */
  niceness?: number;
  limits?: Partial<BackgroundLimits>;
  /** A process has failed; `willRetry` tells whether another one takes over. */
  onFailure?: (failure: {
    reason: string;
    done: number;
    rows: number;
    failures: number;
    willRetry: boolean;
  }) => void;
  onProgress?: (progress: Progress) => void;
}

/** Name of the folder of the files, up to a random ending. */
const FOLDER = 'refresh.';

const PROCESS = builtScript('models/background/encode-process');

type EncodeProcess = WatchedProcess<EncoderRequest, EncoderAnswer>;

/**
 * Embeds texts in a process beside this one, with weights as they were when that was asked for, while this process goes on and
 * the weights move.
 *
 * The embeddings are those of `Retriever.encodeTokens`, `blockRows` rows a call, with as many threads: to the bit. A process that dies,
 * hangs or reports an error is replaced, and another goes on after the last block. Nothing of it outlives this process: it ends when
 * its channel does, whatever happened here.
 *
 * Memory of the process: weights, one pass, and `blockRows` rows. On disk: weights, tokens and embeddings of the job.
 */
export class BackgroundEncoder {
  private readonly retriever: Retriever;
  private readonly side: Side;
  private readonly store: TokenStore;
  private readonly options: BackgroundOptions;
  private readonly limits: BackgroundLimits;
  private folder: string | undefined;
  private process: EncodeProcess | undefined;
  /** Whether the process has done a pass. */
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

  /** Of the process that runs, if one does. */
  get pid(): number | undefined {
    return this.process?.pid;
  }

  /**
   * Begins to embed rows. One job at a time.
   * @param weights  of the side; read before this returns, so they may change afterwards
   * @throws UndriftError where the job's files cannot be written
   */
  async encode(weights: Weights, rows: Uint32Array): Promise<BackgroundJob> {
    if (this.job?.outcome === 'running') throw new UndriftError('the process is still embedding other texts');
    await this.clear();
    const { blockRows } = this.options;
    const folder = await this.makeFolder();
    const request = await writeJob(folder, ++this.jobs, weights, { store: this.store, rows, blockRows });
    const file = jobFile(folder, request.id, 'embeddings');
    this.job = new BackgroundJob(request, file, this.retriever.dimension);
    if (this.process) this.process.send(request);
    else this.launch();
    this.expect();
    return this.job;
  }

  /** Ends the process and removes the files. */
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
    if (this.folder) return this.folder;
    const { folder } = this.options;
    await mkdir(folder, { recursive: true });
    // What a run has left that was killed together with its process.
    const left = (await readdir(folder)).filter((name) => name.startsWith(FOLDER));
    for (const name of left) await rm(join(folder, name), { recursive: true, force: true });
    this.folder = await mkdtemp(join(folder, FOLDER));
    return this.folder;
  }

  /** Starts a process, and hands it the job. */
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
      program: programMessage(retriever.encodeGraph(side), device),
      compute: { threads, ...(device && { device }) },
      vocabSize: retriever.encoder.vocabSize,
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

  /** Says what silence is too long now. */
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
    // Between two jobs nothing is lost: the next one starts another process.
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

/** Texts that are being embedded, or have been. */
export class BackgroundJob {
  readonly request: EncodeJob;
  readonly rows: number;
  /** Rows embedded so far. */
  done = 0;
  /** Rows of them that are safe from a failure. */
  written = 0;
  failures = 0;
  outcome: 'running' | 'done' | 'failed' = 'running';
  /** Resolves when the job no longer runs. */
  readonly settled: Promise<void>;
  /** 0 until a pass is done. */
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

  /** Time that it took, or has taken. */
  get elapsedMs(): number {
    return (this.endMs ?? performance.now()) - this.startMs;
  }

  /** Hands on the embeddings of a job that is done, block by block: f32[rows, D] of the rows from `first` on. */
  async read(take: (first: number, embeddings: Float32Array) => void): Promise<void> {
    const { file, rows, dimension } = this;
    const rowBytes = dimension * 4;
    await withFile(file, 'r', async (handle) => {
      for (let first = 0; first < rows; first += this.request.blockRows) {
        const count = Math.min(this.request.blockRows, rows - first);
        const bytes = await readAt(handle, file, first * rowBytes, count * rowBytes);
        take(first, new Float32Array(bytes.buffer));
      }
    });
  }

  /** For `BackgroundEncoder`: some rows are done. */
  advance(done: number, written: number): void {
    const nowMs = performance.now();
    this.longestPassMs = Math.max(this.longestPassMs, nowMs - this.lastMs);
    this.lastMs = nowMs;
    this.done = done;
    this.written = written;
  }

  /** For `BackgroundEncoder`: another process goes on after what is written. */
  startOver(): void {
    this.done = this.written;
    this.restartClock();
  }

  /** For `BackgroundEncoder`: a pass begins now. */
  restartClock(): void {
    this.lastMs = performance.now();
  }

  settle(outcome: 'done' | 'failed'): void {
    if (this.outcome !== 'running') return;
    this.outcome = outcome;
    this.endMs = performance.now();
    this.resolve();
  }
}
