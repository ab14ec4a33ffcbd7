/**
 * A file of the build, to start a thread or process from. Run from source, as tests and examples are, it is the one in `dist/`:
 * Node 20 reads no TypeScript.
 *
 * @param moduleUrl  `import.meta.url` of a file in a folder of `src/`
 * @param script  folder and name, without extension
 */
export const builtScript = (moduleUrl: string, script: string): URL =>
  new URL(`${moduleUrl.endsWith('.ts') ? '../../dist' : '..'}/${script}.js`, moduleUrl);
