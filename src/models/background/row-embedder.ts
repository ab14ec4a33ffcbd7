import type { ComputeOptions } from '../../runtime/devices.ts';
import type { TokenStore } from '../../text/token-store.ts';
import type { Progress } from '../../util/progress.ts';
import type { Retriever, Side, Weights } from '../retriever/retriever.ts';

/** Rows that are being embedded, or have been embedded. */
export interface EmbedJob {
  /** Number of rows. */
  readonly rows: number;
  /** Number of rows embedded so far. */
  readonly done: number;
  /** State of the job. */
  readonly outcome: 'running' | 'done' | 'failed';
  /** Resolves when the job is done or has failed. */
  readonly settled: Promise<void>;
  /** Duration of the job so far, in milliseconds. */
  readonly elapsedMs: number;
  /** How often a process has failed in this job, or all workers have stood still. */
  readonly failures: number;
  /** Rows that this process has embedded itself while workers stood still. Absent where it never does. */
  readonly here?: number;
  /** Reads the embeddings of a job that is done: `take` gets f32[rows, D] of the rows from `first` on, ascending. */
  read(take: (first: number, embeddings: Float32Array) => void): Promise<void>;
  /** Called when nothing else goes on until the job is done. */
  hurry?(): void;
}

/**
 * Embeds rows of a token store elsewhere, with given weights, while this process goes on: in a process beside it, or on other machines.
 *
 * At equal numbers of threads, the embeddings equal those of `Retriever.encodeTokens` to the bit.
 */
export interface RowEmbedder {
  /**
   * Starts to embed rows. One job runs at a time.
   *
   * @param weights  weights of the side (`Retriever.encodeWeights`), which do not change before the job is settled
   * @param version  training steps of these weights
   * @throws UndriftError when a job is running, or cannot begin
   */
  encode(weights: Weights, rows: Uint32Array, version: number): Promise<EmbedJob>;
  /** Ends what is running, and frees what it holds. */
  dispose(): Promise<void>;
}

/** Settings of a {@link RowEmbedder}. */
export interface EmbedderSettings extends ComputeOptions {
  /** Folder for its files, which lie in a folder of their own inside. */
  readonly folder: string;
  /** Called when something has failed, with a sentence that says what, and what is done about it. */
  readonly onTrouble?: (what: string) => void;
  /** Called with progress in texts. */
  readonly onProgress?: (progress: Progress) => void;
}

/** Opens an embedder for one side of a retriever. */
export type OpenEmbedder = (
  retriever: Retriever,
  side: Side,
  store: TokenStore,
  settings: EmbedderSettings,
) => RowEmbedder;
