import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { GivenOptions, OptionTable } from '../util/option-table.ts';
import { type Cluster, type ConnectOptions, connectCluster } from './cluster.ts';
import { CONNECTION_OPTIONS, type ConnectionSettings, parseClusterAddress } from './cluster-address.ts';

/** Options of commands that let the workers of a cluster embed. */
export const CLUSTER_OPTIONS = {
  /** Address of a cluster whose workers embed, such as `nats://host:4222/NAME`. Default: this machine embeds. */
  cluster: {
    type: 'text',
    value: 'address',
    nonEmpty: true,
    check: (text) => parseClusterAddress(text),
    help: 'cluster whose workers embed, such as nats://host:4222/NAME; undrift cluster worker starts one (default: this machine embeds)',
    group: 'Cluster',
  },
  natsCreds: { ...CONNECTION_OPTIONS.natsCreds, group: 'Cluster' },
  natsCa: { ...CONNECTION_OPTIONS.natsCa, group: 'Cluster' },
  natsReplicas: { ...CONNECTION_OPTIONS.natsReplicas, group: 'Cluster' },
} as const satisfies OptionTable;

/** Values of {@link CLUSTER_OPTIONS}. */
export type GivenCluster = GivenOptions<typeof CLUSTER_OPTIONS>;

/** Address of a cluster with the settings of the connection, which another thread can connect by. */
export interface ClusterPlace {
  readonly address: string;
  readonly connection: ConnectionSettings;
}

/**
 * Reads where the cluster is that options name; undefined where they name none.
 *
 * @throws UsageError for settings of a connection without a cluster
 */
export function clusterPlace({ cluster, ...given }: GivenCluster): ClusterPlace | undefined {
  const { natsCreds, natsCa, natsReplicas } = given;
  const connection = { natsCreds, natsCa, natsReplicas };
  if (cluster !== undefined) return { address: cluster, connection };
  const [alone] = Object.entries(connection).find(([, value]) => value !== undefined) ?? [];
  if (alone !== undefined) throw new UsageError(`${option(alone)} needs ${option('cluster')}`);
  return undefined;
}

/** Connects to a cluster by its place. Errors are those of `connectCluster`. */
export const connectPlace = (
  { address, connection }: ClusterPlace,
  options: Pick<ConnectOptions, 'onNote' | 'timeoutMs' | 'signal'> = {},
): Promise<Cluster> => connectCluster(address, { ...connection, ...options });
