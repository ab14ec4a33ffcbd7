import { readFileSync } from 'node:fs';

/** The version in package.json, which lies two folders up, from the sources and from the built package. */
export function packageVersion(): string {
  const json = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return json.version;
}
