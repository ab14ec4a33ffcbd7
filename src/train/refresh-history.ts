import { count, plural } from '../util/format.ts';
import type { LoggedEvent } from './event-log.ts';

/** A refresh of a table that went on beside training. */
export interface TableRefresh {
  /** Step whose weights made the embeddings; at it the refresh began. */
  readonly version: number;
  /** Step after which they came into the table. */
  readonly step: number;
  /** Rows that they came into; 0 where the refresh was given up. */
  readonly rows: number;
  /** Rows that kept an embedding of a later step. */
  readonly newerRows: number;
  /** Time that the worker took, from being asked to being done. */
  readonly workerMs: number;
  /** Workers that died or hung meanwhile. */
  readonly workerFailures: number;
}

/** The refreshes that a run has logged, in order. Those of a run that was stopped and resumed are all there. */
export const refreshHistory = (events: readonly LoggedEvent[]): TableRefresh[] =>
  events
    .filter(({ kind }) => kind === 'refresh')
    .map(({ step, values }) => {
      const { version = 0, rows = 0, newerRows = 0, workerMs = 0, workerFailures = 0 } = values;
      return { version, step, rows, newerRows, workerMs, workerFailures };
    });

/** Versions that are listed at either end of a long history. */
const LISTED = 3;

/**
 * The history in words, for the end of a run; undefined where there is none.
 *
 *     5 refreshes beside training, each 212 steps later in use (at most 260): 500 → 731, 1,000 → 1,203, …; 1 failure of the worker
 */
export function describeRefreshes(history: readonly TableRefresh[]): string | undefined {
  if (history.length === 0) return undefined;
  const done = history.filter(({ rows, newerRows }) => rows + newerRows > 0);
  const lags = done.map(({ version, step }) => step - version);
  const meanLag = Math.round(lags.reduce((sum, lag) => sum + lag, 0) / lags.length);
  const versions = done.map(({ version, step }) => `${count(version)} → ${count(step)}`);
  if (versions.length > 2 * LISTED) versions.splice(LISTED, versions.length - 2 * LISTED, '…');
  const failures = history.reduce((sum, { workerFailures }) => sum + workerFailures, 0);
  const givenUp = history.length - done.length;
  const when =
    done.length > 0
      ? `, each ${plural(meanLag, 'step')} later in use (at most ${count(Math.max(...lags))}): ${versions.join(', ')}`
      : '';
  return [
    `${plural(done.length, 'refresh', 'refreshes')} beside training${when}`,
    ...(failures > 0 ? [`${plural(failures, 'failure')} of the worker`] : []),
    ...(givenUp > 0 ? [`${count(givenUp)} given up`] : []),
  ].join('; ');
}
