import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UndriftError, UsageError } from '../util/errors.ts';

/** Package or folder whose declarations are read. */
export interface DeclarationSource {
  readonly name: string;
  /** Version in package.json; undefined for a folder without one. */
  readonly version: string | undefined;
  readonly folder: string;
  /** Paths inside the folder, with `/`, sorted. */
  readonly files: readonly string[];
}

/** Folders without declarations of the package itself, or with copies of them. */
const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', 'build', 'out', 'coverage']);
const DECLARATIONS = /\.d\.[cm]?ts$/;
const SOURCES = /(?<!\.(test|spec|d))\.[cm]?tsx?$/;

/**
 * Finds the declaration files of an installed package, or of `@types/<name>` if the package has none.
 * Packages are looked for from `cwd` upwards, then beside Undrift. A path (`.`, `./src`, `/…`) names a folder
 * whose TypeScript sources are all read.
 *
 * @throws UsageError when there is no such package or folder, or it has no declarations
 */
export function declarationSource(name: string, cwd: string): DeclarationSource {
  if (name === '' || name === '.' || /^\.{0,2}[\\/]/.test(name) || isAbsolute(name)) {
    return folderSource(resolve(cwd, name));
  }
  const folders = packageFolders(name, cwd);
  if (folders.length === 0) {
    throw new UsageError(`the package ${name} is not installed`, {
      help: `run "npm install --save-dev ${name}" where the command is started, or give a folder as ./path`,
    });
  }
  const types = `@types/${name.replace(/^@/, '').replace('/', '__')}`;
  for (const candidate of [...folders, ...packageFolders(types, cwd)]) {
    // Of TypeScript's own package, only the library files are read: the language is wanted, not the
    // compiler's API.
    const all = listFiles(candidate, (folder) => folder !== 'node_modules');
    const files = all.filter((file) =>
      name === 'typescript' ? /^lib\/lib\..*\.d\.ts$/.test(file) : DECLARATIONS.test(file),
    );
    if (files.length === 0) continue;
    return { name, version: packageVersion(candidate), folder: candidate, files };
  }
  throw new UsageError(`the package ${name} has no TypeScript declarations (.d.ts files)`, {
    help: `try "npm install --save-dev ${types}"`,
  });
}

function folderSource(folder: string): DeclarationSource {
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new UsageError(`no such folder: ${folder}`);
  const all = listFiles(folder, (name) => !SKIPPED_FOLDERS.has(name) && !name.startsWith('.'));
  const files = all.filter((file) => SOURCES.test(file) || DECLARATIONS.test(file));
  if (files.length === 0) throw new UsageError(`no TypeScript file in ${folder}`);
  return { name: folder.split(sep).at(-1)!, version: packageVersion(folder), folder, files };
}

/** Finds every folder where a package of that name is installed, nearest first. */
export function packageFolders(name: string, cwd: string): string[] {
  const found = new Set<string>();
  for (const start of [resolve(cwd), dirname(fileURLToPath(import.meta.url))]) {
    for (let folder = start; ; folder = dirname(folder)) {
      const candidate = join(folder, 'node_modules', name);
      if (existsSync(join(candidate, 'package.json'))) found.add(candidate);
      if (folder === dirname(folder)) break;
    }
  }
  return [...found];
}

function packageVersion(folder: string): string | undefined {
  const file = join(folder, 'package.json');
  if (!existsSync(file)) return undefined;
  try {
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version?: unknown };
    return typeof version === 'string' ? version : undefined;
  } catch (cause) {
    throw new UndriftError(`${file} cannot be read`, { cause });
  }
}

/** Lists the files below a folder as `/`-separated paths, in an order that does not depend on the machine. */
function listFiles(root: string, enter: (folder: string) => boolean): string[] {
  const files: string[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (enter(entry.name)) walk(path);
      } else if (entry.isFile()) files.push(relative(root, path).replaceAll(sep, '/'));
    }
  };
  walk(root);
  return files.sort();
}
