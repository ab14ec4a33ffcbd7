import { count } from '../../util/format.ts';
import { BackgroundEncoder, type BackgroundLimits } from './background-encoder.ts';
import type { OpenEmbedder } from './row-embedder.ts';

/** Opens an embedder that is one process beside this one. */
export const processEmbedder =
  (limits: Partial<BackgroundLimits> = {}): OpenEmbedder =>
  (retriever, side, store, { onTrouble, ...settings }) => {
    const encoder = new BackgroundEncoder(retriever, side, store, {
      ...settings,
      limits,
      onFailure: ({ reason, done, rows, failures, willRetry }) => {
        const then = willRetry
          ? 'another one takes over'
          : `given up after ${failures} failures, training goes on with the table that it has`;
        onTrouble?.(`the process ${reason} after ${count(done)} of ${count(rows)} documents; ${then}`);
      },
    });
    return {
      encode: (weights, rows) => encoder.encode(weights, rows),
      dispose: () => encoder.dispose(),
    };
  };
