import { readFileSync } from 'node:fs';

/**
 * Returns the version in package.json. That file is two folders up, from the sources and from the built
 * package.
 */
export function packageVersion(): string {
  const json = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return json.version;
}
