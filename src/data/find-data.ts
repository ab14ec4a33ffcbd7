import { existsSync } from 'node:fs';
import { HUB_PREFIX, parseHubName } from '../hub/hub-name.ts';
import { beirArchive, parseBeirName } from './beir-archive.ts';
import { hubData } from './hub-data.ts';
import type { LoadOptions } from './load-options.ts';

/**
 * Finds the path of a data set. An existing path is returned as it is. `beir/NAME` and
 * `hf:organisation/name/folder@revision` give a folder of a cache, after a download if needed. Any other text
 * is returned unchanged.
 */
export async function findData(
  path: string,
  options: Pick<LoadOptions, 'onProgress' | 'onNote'> = {},
): Promise<string> {
  if (existsSync(path)) return path;
  const beir = parseBeirName(path);
  if (beir) return await beirArchive(beir, options);
  const onHub = path.startsWith(HUB_PREFIX) ? parseHubName(path, 'dataset') : undefined;
  return onHub ? await hubData(onHub, options) : path;
}
