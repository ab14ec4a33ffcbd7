import { basename, resolve } from 'node:path';
import type { Retriever } from '../models/retriever/retriever.ts';
import type { Store } from '../store/store.ts';
import { RuntimeError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';
import type { Cluster } from './cluster.ts';
import { NAME_PATTERN } from './cluster-address.ts';
import { CLUSTER_OPTIONS } from './cluster-options.ts';
import { runOverCluster } from './cluster-run.ts';
import type { ClusterOutcome, ClusterRunOptions } from './run-options.ts';
import { storeShard } from './store-shard.ts';

/** Options of commands that let the workers of a cluster embed the passages of a store. */
export const STORE_CLUSTER_OPTIONS = {
  ...CLUSTER_OPTIONS,
  /** Name of the store in the cluster. Default: that of its folder. */
  shard: {
    type: 'text',
    value: 'name',
    nonEmpty: true,
    defaultHelp: 'that of the folder',
    check: (name) => checkShardName(name),
    help: 'name of the store in the cluster, different for each store',
    group: 'Cluster',
  },
} as const satisfies OptionTable;

/** Settings of {@link embedStore}. */
export interface EmbedStoreOptions extends ClusterRunOptions {
  /** Name of the store in the cluster. Default: that of its folder, with `-` for characters that no name has. */
  readonly shard?: string | undefined;
  /** Model of the space. */
  readonly model: Retriever;
  /** Id of the space, which the store has. */
  readonly space: string;
}

/**
 * Lets the workers of a cluster embed all passages of a store that have no vector of the newest version of a space. This process stores what
 * they send. Repeated after a stop or a kill, it goes on where it was.
 *
 * The vectors of a new store are those of `indexPassages`, to the bit, with the number of threads of the workers.
 *
 * @param location  folder or address of the store
 * @throws UsageError if another process owns the store in the cluster
 * @throws RuntimeError if this process has stood still for so long that it lost the store to another
 */
export async function embedStore(
  store: Store,
  location: string,
  cluster: Cluster,
  { shard = shardOf(location), model, space, ...run }: EmbedStoreOptions,
): Promise<ClusterOutcome> {
  const keeper = storeShard(store, { name: shard, space, model });
  try {
    const outcome = await runOverCluster(keeper, cluster, run);
    if (outcome.ended === 'stalled' && run.stallMs === undefined) {
      throw new RuntimeError(`another process has become the owner of the shard ${shard}`, {
        help: 'this process stood still for long; give the command again when the other one has ended',
      });
    }
    return outcome;
  } finally {
    await keeper.dispose();
  }
}

/** Name of a store in a cluster, from its folder or address. */
export const shardOf = (location: string): string => {
  const isAddress = /^[a-z0-9+.-]+:\/\//i.test(location);
  const name = basename(isAddress ? location.replace(/\/+$/, '') : resolve(location));
  return name.replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(0, 64) || 'store';
};

function checkShardName(name: string): void {
  if (NAME_PATTERN.test(name)) return;
  throw new UsageError(`${option('shard')} has up to 64 letters, digits, - and _, found '${name}'`);
}
