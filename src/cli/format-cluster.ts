import type { ClusterStatus, ShardStatus } from '../cluster/cluster-status.ts';
import { count, formatDuration, percent, plural } from '../util/format.ts';

/** Formats the state of a cluster for people. */
export function formatClusterStatus(status: ClusterStatus): string {
  const { address, server, rows, stale, rowsPerSecond, secondsLeft, shards, workers, deadLetters } = status;
  const left =
    stale === 0
      ? 'nothing is stale'
      : `${count(stale)} stale, ${secondsLeft === null ? 'nothing is being stored' : `${formatDuration(1000 * secondsLeft)} left`}`;
  return [
    `${address} (nats-server ${server})`,
    `${plural(rows, 'row')}, ${left}, ${rate(rowsPerSecond)}`,
    ...shards.flatMap(formatShard),
    `${plural(workers.length, 'worker')}:`,
    ...workers.map(
      (worker) =>
        `  ${worker.host} ${worker.pid}: ${plural(worker.rows, 'row')}, ${rate(worker.rowsPerSecond)}, ${plural(worker.threads, 'thread')}`,
    ),
    ...(deadLetters.length > 0 ? ['given up:'] : []),
    ...deadLetters.map(
      ({ shard, rows, reason, by }) => `  ${shard} rows ${shortened(rows)}: ${reason} (${by})`,
    ),
    '',
  ].join('\n');
}

function formatShard(shard: ShardStatus): string[] {
  const { name, rows, stale, hasOwner, owner, versions, tasks, results, deadLetters, problem } = shard;
  const facts = [
    `${plural(rows, 'row')}`,
    `${count(stale)} stale`,
    `${plural(tasks, 'task')} under way`,
    ...(results > 0 ? [`${plural(results, 'message')} to store`] : []),
    ...(deadLetters > 0 ? [`${plural(deadLetters, 'block')} given up`] : []),
    hasOwner ? `owner ${owner}` : 'NO OWNER',
    ...(shard.coordinator === '' && stale > 0 ? ['NO COORDINATOR'] : []),
  ];
  return [
    `shard ${name}: ${facts.join(', ')}`,
    ...versions.map(
      (version) =>
        `  ${version.id === shard.version ? '*' : ' '} ${version.id} step ${count(version.step)}: ${plural(version.rows, 'row')} (${percent(rows === 0 ? 0 : version.rows / rows)})`,
    ),
    ...(problem === '' ? [] : [`  cannot store: ${problem}`]),
  ];
}

const rate = (rowsPerSecond: number): string => `${rowsPerSecond.toFixed(1)} rows/s`;

const LONGEST = 40;
const shortened = (text: string): string => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
