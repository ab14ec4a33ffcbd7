import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared', 'data');

/**
 * Folder of a development data set that lies beside the checkout (`../shared/data/<name>`), or undefined where it is absent.
 * Nothing of it is part of the repository: tests that want it are skipped, with this reason, where it is missing.
 */
export function sharedData(name: string): string | undefined {
  const folder = join(process.env.UNDRIFT_SHARED_DATA ?? root, name);
  return existsSync(folder) ? folder : undefined;
}
