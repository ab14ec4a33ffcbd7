/**
 * @file Makes the table of docs/performance.md on clusters from bench/results/cluster.json:
 *
 *     npm run bench:all -- --only cluster
 */
import type { ClusterBench } from '../../bench/cluster.ts';
import type { Machine } from '../../bench/result-file.ts';
import { markdownTable } from './page.ts';
import { count, measured, NOT_MEASURED, origin, ratio, spread } from './performance-parts.ts';

/** Block of docs/performance.md on workers of a cluster. */
export function clusterBlocks(): Record<string, string> {
  const found = measured<ClusterBench & Machine>('cluster');
  if (!found) return { cluster: NOT_MEASURED };
  const { clusters, rows, model, dimension, rounds } = found;
  const table = markdownTable(
    [
      ...['', 'CPU of encoding, ms a row', 'as many lone encoders, ms a row', 'share of their speed'],
      ...['CPU of the owner, ms a row', 'messages a row', 'bytes a row'],
    ],
    [
      ...clusters.map((each) => [
        `${count(each.workers)} ${each.workers === 1 ? 'worker' : 'workers'}`,
        spread(each, 'workerMs', ratio),
        spread(each, 'loneMs', ratio),
        spread(each, 'efficiency', ratio, { strong: true }),
        spread(each, 'ownerMs', ratio),
        each.messages.toFixed(2),
        count(each.bytes),
      ]),
    ],
  );
  const about = `${count(rows)} passages, ${model}, ${count(dimension)} dimensions, ${count(rounds)} ${rounds === 1 ? 'round' : 'rounds'}; one server.`;
  return { cluster: [table, '', `${about} ${origin(found, 'cluster')}`].join('\n') };
}
