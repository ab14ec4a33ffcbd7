import { count, plural } from '../util/format.ts';
import type { LoggedEvent } from './event-log.ts';

/** Refresh of a table that ran beside training. */
export interface TableRefresh {
  /** Step whose weights made the embeddings. The refresh began at this step. */
  readonly version: number;
  /** Step after which the embeddings came into the table. */
  readonly step: number;
  /** Rows that received an embedding; 0 where the refresh was given up. */
  readonly rows: number;
  /** Rows that kept an embedding of a later step. */
  readonly newerRows: number;
  /** Milliseconds that the worker took, from the request to the last row. */
  readonly workerMs: number;
  /** How often a worker died or hung during the refresh, or all workers of a cluster stood still. */
  readonly workerFailures: number;
  /** Rows that training has embedded itself because the workers of a cluster stood still. */
  readonly hereRows: number;
}

/** Lists the refreshes in the log of a run, in order. Those before a stop and a resumption are included. */
export const refreshHistory = (events: readonly LoggedEvent[]): TableRefresh[] =>
  events
    .filter(({ kind }) => kind === 'refresh')
    .map(({ step, values }) => {
      const { version = 0, rows = 0, newerRows = 0, workerMs = 0, workerFailures = 0, hereRows = 0 } = values;
      return { version, step, rows, newerRows, workerMs, workerFailures, hereRows };
    });

/** Versions that are listed at each end of a long history. */
const LISTED = 3;

/**
 * Describes the refreshes of a run in words; undefined where there were none.
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
  const here = history.reduce((sum, { hereRows }) => sum + hereRows, 0);
  const givenUp = history.length - done.length;
  const when =
    done.length > 0
      ? `, each ${plural(meanLag, 'step')} later in use (at most ${count(Math.max(...lags))}): ${versions.join(', ')}`
      : '';
  return [
    `${plural(done.length, 'refresh', 'refreshes')} beside training${when}`,
    ...(failures > 0 ? [`${plural(failures, 'failure')} of the worker`] : []),
    ...(here > 0 ? [`${plural(here, 'row')} embedded by training itself`] : []),
    ...(givenUp > 0 ? [`${count(givenUp)} given up`] : []),
  ].join('; ');
}
