import { parseRefreshPolicy } from '../cache/refresh-policy.ts';
import { clusterEmbedder } from '../cluster/cluster-embedder.ts';
import { clusterPlace, connectPlace, type GivenCluster } from '../cluster/cluster-options.ts';
import type { OpenEmbedder } from '../models/background/row-embedder.ts';
import { UsageError } from '../util/errors.ts';
import { type NoteListener, option } from '../util/option-name.ts';
import type { TrainSettings } from './settings.ts';

/**
 * Opens what embeds the table of a run over a cluster; undefined where the options name none.
 *
 * @throws UsageError for a run whose table is not refreshed beside training
 * @throws RuntimeError when the server cannot be reached: a wrong address is found before training, not after it
 */
export async function clusterRefresh(
  given: GivenCluster,
  { method, refresh }: Pick<TrainSettings, 'method' | 'refresh'>,
  onNote: NoteListener | undefined,
): Promise<OpenEmbedder | undefined> {
  const place = clusterPlace(given);
  if (!place) return undefined;
  if (refresh === undefined || refresh === null) {
    throw new UsageError(`${option('cluster')} embeds tables, and the method ${method} has none`, {
      help: `take a method with a table, such as ${option('method', 'async-index')}`,
    });
  }
  if (!parseRefreshPolicy(refresh).async) {
    throw new UsageError(
      `${option('cluster')} embeds a table beside training, and ${option('refresh', refresh)} does not ask for that`,
      { help: `add ${option('refresh', 'async:500')}, or async:500:wait for a run that can be repeated` },
    );
  }
  await (await connectPlace(place, { onNote: (note) => onNote?.(note) })).close();
  return clusterEmbedder(place);
}
