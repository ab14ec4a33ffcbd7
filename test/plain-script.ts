import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Returns a script of TypeScript as JavaScript. Node runs it at once, where `tsx`, which passes every module of the package through
 * a thread of its own, takes 1.6 s of a core to start.
 */
export const asJavaScript = (source: string): string =>
  ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  }).outputText;

/** What Node runs: its own options, and the script. */
export interface NodeScript {
  readonly execArgv: readonly string[];
  readonly script: string;
}

let folder: string | undefined;
const written = new Map<string, string>();

/**
 * Prepares a script of this repository for processes of its own. In tests, for which the package is built, it runs as JavaScript on
 * `dist/`, with the modules outside `src/` that it imports. Elsewhere `tsx` runs it on the sources.
 */
export const nodeScript = (path: string): NodeScript =>
  process.env.VITEST === undefined
    ? { execArgv: ['--import', import.meta.resolve('tsx')], script: path }
    : { execArgv: [], script: write(path) };

function write(path: string): string {
  const known = written.get(path);
  if (known !== undefined) return known;
  folder ??= makeFolder();
  const to = join(folder, `${relative(root, path).replaceAll(sep, '-').replace(/\.ts$/, '')}.mjs`);
  written.set(path, to);
  const text = asJavaScript(readFileSync(path, 'utf8'))
    .replaceAll(/(\bfrom |\bimport\()(['"])(\.[^'"]*\.ts)\2/g, (_, before, quote, name) => {
      const other = resolve(dirname(path), name);
      const below = relative(join(root, 'src'), other);
      const script = below.startsWith('..')
        ? write(other)
        : join(root, 'dist', below.replace(/\.ts$/, '.js'));
      return `${before}${quote}${pathToFileURL(script)}${quote}`;
    })
    // Files beside the sources are found.
    .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path)));
  writeFileSync(to, text);
  return to;
}

/** Makes a folder from which packages are found. It is removed when the process ends: several test files share it. */
function makeFolder(): string {
  const made = mkdtempSync(join(tmpdir(), 'undrift-scripts-'));
  symlinkSync(join(root, 'node_modules'), join(made, 'node_modules'));
  process.once('exit', () => rmSync(made, { recursive: true, force: true }));
  return made;
}
