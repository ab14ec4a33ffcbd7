import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src');
const architecture = readFileSync(join(root, 'docs', 'architecture.md'), 'utf8');

interface Import {
  /** Path of a file below src, or name of a package. */
  readonly to: string;
  readonly isPackage: boolean;
  /** Whether the compiler erases the import, so that nothing is loaded at run time. */
  readonly typeOnly: boolean;
}

/** Lists all imports and re-exports of a file, including `import('…')` as a type or an expression. */
function importsOf(file: string): Import[] {
  const tree = ts.createSourceFile(file, readFileSync(join(source, file), 'utf8'), ts.ScriptTarget.Latest);
  const imports: Import[] = [];
  const add = (specifier: ts.Node | undefined, typeOnly: boolean) => {
    if (!specifier || !ts.isStringLiteral(specifier) || specifier.text.startsWith('node:')) return;
    const isPackage = !specifier.text.startsWith('.');
    const path = () => relative(source, resolve(source, dirname(file), specifier.text));
    imports.push({ to: isPackage ? specifier.text : slashes(path()), isPackage, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly ?? false);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return imports;
}

const slashes = (path: string): string => path.split(sep).join('/');

/** Imports by file, for all files of src except tests. */
const files = new Map(
  readdirSync(source, { recursive: true, encoding: 'utf8' })
    .map(slashes)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => [file, importsOf(file)]),
);

/** Returns the rows of the table under a heading of docs/architecture.md. */
function tableOf(heading: string): string[][] {
  const section = architecture.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const folders = tableOf('Folders').map(([cell]) => /^`src\/([a-z/-]+)\/`$/.exec(cell!)?.[1] ?? cell!);

/**
 * Returns the row of the table that a file belongs to. A wing such as `models/folder` takes precedence over
 * the folder around it.
 */
const folderOf = (file: string): string =>
  folders.filter((folder) => file.startsWith(`${folder}/`)).sort((a, b) => b.length - a.length)[0] ??
  file.slice(0, Math.max(0, file.indexOf('/')));
const packages = new Map(
  tableOf('Dependencies').map(([name, folder]) => [
    name!.replaceAll('`', ''),
    /^`src\/([a-z/-]+)\/`$/.exec(folder!)?.[1] ?? folder!,
  ]),
);

describe('the folders of docs/architecture.md', () => {
  it('are all folders of src', () => {
    const present = new Set([...files.keys()].map(folderOf).filter((folder) => folder !== ''));
    expect(present.size).toBeGreaterThan(15);
    expect([...present].filter((folder) => !folders.includes(folder))).toEqual([]);
    expect(folders.filter((folder) => !present.has(folder))).toEqual([]);
  });

  it('have wings where they have folders: `ops` of the graph alone is no floor of its own', () => {
    const inner = new Set([...files.keys()].map(dirname));
    expect([...inner].filter((folder) => folder !== '.' && !folders.includes(folder))).toEqual(['graph/ops']);
  });

  it('import only from those above them', () => {
    const wrong: string[] = [];
    for (const [file, imports] of files) {
      const own = folders.indexOf(folderOf(file));
      if (own < 0) continue; // index.ts and the other entry points stand above all
      for (const { to, isPackage } of imports) {
        const other = folders.indexOf(folderOf(to));
        if (!isPackage && (other < 0 || other > own)) wrong.push(`${file} imports ${to}`);
      }
    }
    expect(wrong).toEqual([]);
    expect([...files.values()].flat().length).toBeGreaterThan(300);
  });

  it('import each package in one folder only', () => {
    const wrong: string[] = [];
    const used = new Set<string>();
    for (const [file, imports] of files) {
      for (const { to, isPackage } of imports) {
        if (!isPackage) continue;
        const name = /^(@[^/]+\/)?[^/]+/.exec(to)![0]; // without the path inside of the package
        used.add(name);
        if (packages.get(name) !== folderOf(file)) wrong.push(`${file} imports ${to}`);
      }
    }
    expect(wrong).toEqual([]);
    expect([...used].sort()).toEqual([...packages.keys()].sort());
    expect(packages.get('onnxruntime-node')).toBe('runtime');
  });
});

it('the dependencies of docs/architecture.md are those of package.json', () => {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const needed = [...Object.keys(dependencies), ...Object.keys(peerDependencies)];
  // The declarations of Node are data, not code.
  expect(needed.filter((name) => name !== '@types/node').sort()).toEqual([...packages.keys()].sort());
});

/** Names a circle from its last file in the alphabet on, wherever the search for it began. */
function circle(path: readonly string[]): string {
  const last = [...path].sort().at(-1)!;
  const at = path.indexOf(last);
  return [...path.slice(at), ...path.slice(0, at), last].join(' → ');
}

/** Circles of imports, as paths of files. @param types  whether imports of types alone count too */
function circles({ types }: { types: boolean }): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    if (path.includes(file)) found.push(circle(path.slice(path.indexOf(file))));
    if (done.has(file) || path.includes(file)) return;
    path.push(file);
    for (const { to, isPackage, typeOnly } of files.get(file)!)
      if (!isPackage && (types || !typeOnly)) visit(to);
    path.pop();
    done.add(file);
  };
  for (const file of files.keys()) visit(file);
  expect(done.size).toBe(files.size);
  return found;
}

it('no file needs itself at run time', () => {
  expect(circles({ types: false })).toEqual([]);
});

it('no file names types of itself through others, but a graph and its tensors', () => {
  expect(circles({ types: true })).toEqual(['graph/tensor.ts → graph/graph.ts → graph/tensor.ts']);
});
