import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../src/util/cache-folder.ts';

/** Commands that may be Docker Compose: what tools/debian-program.sh fetched, and the plug-in of Docker. */
const candidates: readonly (readonly [string, ...string[]])[] = [
  [join(cacheFolder(), 'docker-compose', 'docker-compose')],
  ['docker', 'compose'],
];

const found = candidates.find(
  ([program, ...words]) =>
    (program === 'docker' || existsSync(program)) &&
    spawnSync(program, [...words, 'version'], { stdio: 'ignore' }).status === 0,
);

/** Why there is no Docker Compose for tests; undefined where there is. */
export const noCompose: string | undefined =
  found === undefined ? 'Docker Compose is not installed (tools/docker-compose.sh fetches it)' : undefined;

/** Runs Docker Compose with some words. It needs no daemon for `config`. */
export function compose(
  words: readonly string[],
  env: NodeJS.ProcessEnv,
): { code: number; stdout: string; stderr: string } {
  const [program, ...first] = found!;
  const { status, stdout, stderr } = spawnSync(program, [...first, ...words], { env, encoding: 'utf8' });
  return { code: status ?? -1, stdout, stderr };
}
