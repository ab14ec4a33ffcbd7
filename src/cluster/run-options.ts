import type { Progress } from '../util/progress.ts';

/** Settings of `runOverCluster(keeper, cluster, options)`. */
export interface ClusterRunOptions {
  /** Aborting ends the run; what is stored stays. */
  readonly signal?: AbortSignal | undefined;
  /** Whether the shard is no more when the run ends, so that the cluster forgets it. Default false. */
  readonly temporary?: boolean | undefined;
  /** Time without a stored row after which the run ends, in milliseconds. Default: it waits. */
  readonly stallMs?: number | undefined;
  /** Called with progress in rows. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with a note, for example about a full disk. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/** Outcome of `runOverCluster`. */
export interface ClusterOutcome {
  /** `done`: no row is stale but those given up; `aborted`: by the signal; `stalled`: no row was stored for `stallMs`. */
  readonly ended: 'done' | 'aborted' | 'stalled';
  /** Rows stored in this run. */
  readonly stored: number;
  /** Rows that are stale. */
  readonly stale: number;
  /** Of these, rows that workers have failed on five times. */
  readonly givenUp: number;
}
