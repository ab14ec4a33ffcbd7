import { homedir } from 'node:os';
import { join } from 'node:path';

/** Folder for files that can be made or downloaded again: `UNDRIFT_CACHE`, or `undrift` in the user's cache. */
export function cacheFolder(): string {
  const { UNDRIFT_CACHE, XDG_CACHE_HOME } = process.env;
  return UNDRIFT_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'undrift');
}
