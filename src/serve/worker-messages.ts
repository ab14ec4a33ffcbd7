import type { RefreshOptions } from '../migration/lazy-refresh.ts';
import type { Side } from '../models/retriever/retriever.ts';
import type { AgeMap } from '../store/age-map.ts';
import type { IndexCounts } from '../store/index-passages.ts';
import type { PassageInput } from '../store/passage-input.ts';
import type { StoredSpace } from '../store/store-head.ts';
import type { StoreHit, StoreSearchOptions } from '../store/store-searcher.ts';
import type { StoreStatus } from '../store/store-status.ts';
import type { LiveRefresh } from './background-refresh.ts';

/** Calls that a worker answers: arguments and result of each. */
export interface WorkerCalls {
  /** Searches for several texts with the same options, in a space or the current one. */
  search: {
    arguments: {
      readonly texts: readonly string[];
      readonly options: Omit<StoreSearchOptions, 'rerank'>;
      readonly space?: string | undefined;
      /** Whether the cross-encoder of the server reranks what is found. */
      readonly rerank?: boolean | undefined;
    };
    result: readonly (readonly StoreHit[])[];
  };
  /** Embeds texts, in a space or the current one. */
  embed: {
    arguments: {
      readonly texts: readonly string[];
      readonly side: Side;
      readonly space?: string | undefined;
    };
    result: {
      /** f32[texts, dimension]. */
      readonly vectors: Float32Array;
      readonly dimension: number;
      /** i32[texts]: number of tokens of each text. */
      readonly tokens: Int32Array;
      readonly space: string;
    };
  };
  /** Adds or replaces passages. */
  upsert: { arguments: { readonly passages: readonly PassageInput[] }; result: IndexCounts };
  /** Removes passages by id. */
  remove: { arguments: { readonly ids: readonly string[] }; result: { readonly removed: number } };
  /** Describes the store. */
  status: { arguments: Record<string, never>; result: StoreStatus };
  /** Counts passages that searches have found, for the refresh. */
  notice: { arguments: { readonly pids: readonly number[] }; result: Record<string, never> };
  /** Lets the refresh look at what others have committed. */
  look: { arguments: Record<string, never>; result: Record<string, never> };
  /** Counts passages by the ages of their vectors. */
  ages: { arguments: Record<string, never>; result: AgeMap };
  /** Lists the embedding spaces. */
  spaces: {
    arguments: Record<string, never>;
    result: { readonly current: string | null; readonly spaces: readonly StoredSpace[] };
  };
  /** Reads what others have committed, and loads model and vectors. */
  reload: { arguments: Record<string, never>; result: Record<string, never> };
}

/** Name of a call. */
export type CallName = keyof WorkerCalls;

/** Call sent to a worker. */
export interface WorkerRequest {
  readonly id: number;
  readonly call: CallName;
  readonly values: unknown;
}

/** Error as it crosses from a worker. */
export interface WorkerError {
  readonly name: string;
  readonly message: string;
  readonly help: string | undefined;
  /** Whether the caller caused it. */
  readonly isUsage: boolean;
}

/** Answer of a worker, or news of its refresh. */
export type WorkerAnswer =
  | { readonly refresh: LiveRefresh }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: WorkerError };

/** Settings of a worker. */
export interface WorkerSettings {
  /** Folder of the store. */
  readonly folder: string;
  /** Threads of the runtime. Default its own. */
  readonly threads: number | undefined;
  /** Cross-encoder that reranks searches, and passages of each that it reads. Default none. */
  readonly rerank?: { readonly model: string; readonly depth?: number | undefined } | undefined;
  /** Embeds stale passages in the background, with these settings. Default: it does not. */
  readonly refresh?: RefreshOptions | undefined;
}
