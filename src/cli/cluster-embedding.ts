import type { Cluster } from '../cluster/cluster.ts';
import { clusterPlace, connectPlace, type GivenCluster } from '../cluster/cluster-options.ts';
import { type EmbedStoreOptions, embedStore } from '../cluster/embed-store.ts';
import type { ClusterOutcome } from '../cluster/run-options.ts';
import type { Store } from '../store/store.ts';
import { count } from '../util/format.ts';
import type { Io } from './io.ts';

/** Works with the cluster that options name, undefined where they name none. An open connection would keep the process from ending. */
export async function withCluster<T>(
  options: GivenCluster,
  io: Io,
  work: (cluster: Cluster | undefined) => Promise<T>,
): Promise<T> {
  const place = clusterPlace(options);
  const onNote = (note: string) => io.log(`note: ${note}`);
  const cluster = place && (await connectPlace(place, { signal: io.signal, onNote }));
  try {
    return await work(cluster);
  } finally {
    await cluster?.close();
  }
}

/** Lets the workers of a cluster embed what is missing in a store. */
export async function embedOverCluster(
  store: Store,
  location: string,
  cluster: Cluster,
  options: Pick<EmbedStoreOptions, 'shard' | 'model' | 'space'>,
  io: Io,
): Promise<ClusterOutcome> {
  const { shown } = cluster.address;
  io.finishProgress();
  io.log(`embedding over ${shown}; a worker is started by: undrift cluster worker --nats ${shown}`);
  return await embedStore(store, location, cluster, {
    ...options,
    signal: io.signal,
    onNote: (note) => io.log(`note: ${note}`),
    onProgress: ({ stage, done, total, unit }) => io.progress(stage, done, { total, unit }),
  });
}

/** Tells about passages that workers have failed on. */
export const givenUpText = ({ givenUp = 0 }: Partial<ClusterOutcome> = {}): string =>
  givenUp === 0
    ? ''
    : `${count(givenUp)} passages have no vector, because workers have failed on them: undrift cluster status shows why\n`;
