/**
 * URL of a compiled script of this package, for starting a thread or a child process.
 *
 * When the package runs from its TypeScript sources, as in tests and examples, the URL points into `dist/`:
 * Node 20 cannot run TypeScript.
 *
 * @param script path below `src/`, without extension: `models/background/encode-process`
 */
export const builtScript = (script: string): URL =>
  new URL(`${import.meta.url.endsWith('.ts') ? '../../dist' : '..'}/${script}.js`, import.meta.url);
