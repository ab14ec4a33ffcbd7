import type { LiveRefresh } from './background-refresh.ts';
import type { Metrics } from './metrics.ts';
import type { StoreThread } from './worker-client.ts';

/** Time in which found passages are collected before the refresh is told of them, in milliseconds. */
const NOTICE_MS = 250;

/** Makes the function that tells the refresh which passages searches have found. */
export function noticing(writer: StoreThread): (pids: readonly number[]) => void {
  let found: number[] = [];
  return (pids) => {
    if (writer.refresh?.stale === 0) return;
    if (found.length === 0) {
      setTimeout(() => {
        writer.call('notice', { pids: found }).catch(() => {});
        found = [];
      }, NOTICE_MS).unref();
    }
    found.push(...pids);
  };
}

/** Adds the metrics of the refresh of a writer. */
export function addRefreshMetrics(metrics: Metrics, writer: StoreThread): void {
  const gauge = (name: string, help: string, read: (refresh: LiveRefresh) => number) =>
    metrics.gauge(name, help, () => (writer.refresh ? read(writer.refresh) : 0));
  gauge('undrift_stale_passages', 'Passages to embed by the current model.', ({ stale }) => stale);
  gauge('undrift_refresh_queue', 'Stale passages that searches have found.', ({ queue }) => queue);
  gauge('undrift_refreshed_passages', 'Passages embedded since the start.', ({ embedded }) => embedded);
  gauge('undrift_refresh_rate', 'Passages embedded per second.', ({ rate }) => rate?.passagesPerSecond ?? 0);
}
