import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared', 'data');

/**
 * Finds the folder of a development data set beside the checkout (`../shared/data/<name>`). Returns undefined
 * if it is missing.
 *
 * These data sets are not part of the repository. Tests that need a missing one are skipped, with this
 * reason.
 */
export function sharedData(name: string): string | undefined {
  const folder = join(process.env.UNDRIFT_SHARED_DATA ?? root, name);
  return existsSync(folder) ? folder : undefined;
}
