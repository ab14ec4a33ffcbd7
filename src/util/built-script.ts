/**
 * A file of the build, to start a thread or process from. Run from source, as tests and examples are, it is the one in `dist/`:
 * Node 20 reads no TypeScript.
 *
 * @param script  path below `src/`, without extension: `models/background/encode-process`
 */
export const builtScript = (script: string): URL =>
  new URL(`${import.meta.url.endsWith('.ts') ? '../../dist' : '..'}/${script}.js`, import.meta.url);
