import { existsSync } from 'node:fs';
import { HUB_PREFIX, parseHubName } from '../hub/hub-name.ts';
import { beirArchive, parseBeirName } from './beir-archive.ts';
import { hubData } from './hub-data.ts';
import type { LoadOptions } from './load-options.ts';

/**
 * The path of a data set: what exists, as it is; for `beir/NAME` and `hf:organisation/name/folder@revision` a folder of a cache,
 * into which it is downloaded if need be.
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
