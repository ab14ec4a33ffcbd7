import type { ClusterPlace } from './cluster-options.ts';
import type { TableRows } from './table-shard.ts';

/** Data that a thread of a `ClusterEmbedder` starts with. */
export type TableThreadData = ClusterPlace;

/** Messages to the thread. */
export type TableRequest =
  /** Has the rows of a table embedded. */
  | { readonly kind: 'job'; readonly id: number; readonly table: TableRows }
  /** Asks for the last block of which rows are stale. */
  | { readonly kind: 'ask'; readonly id: number }
  /** Hands over rows that the sender has embedded: f32[rows, D] of the rows from `first` on. */
  | {
      readonly kind: 'rows';
      readonly id: number;
      readonly first: number;
      readonly vectors: Float32Array<ArrayBuffer>;
    }
  /** Ends the job, and the thread. */
  | { readonly kind: 'close' };

/** Messages from the thread. */
export type TableAnswer =
  /** Reports the number of rows stored, and whether workers have made the last of them. */
  | { readonly kind: 'progress'; readonly id: number; readonly done: number; readonly byWorker: boolean }
  /** Answers `ask`; without a block, if nothing is stale. */
  | {
      readonly kind: 'block';
      readonly id: number;
      readonly block: { readonly first: number; readonly end: number } | undefined;
    }
  /** Reports that workers have given up what is left. */
  | { readonly kind: 'given up'; readonly id: number; readonly rows: number }
  | { readonly kind: 'done'; readonly id: number }
  | { readonly kind: 'failed'; readonly id: number; readonly reason: string }
  | { readonly kind: 'note'; readonly text: string };
