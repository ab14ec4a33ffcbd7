import { readFile } from 'node:fs/promises';
import { UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';

/** Modules of the page's script. Each module uses only modules before it. */
const MODULES = ['chart-scale', 'draw-chart', 'report-page'];

/** Folder of the built modules. The path is the same from the sources and from the built package. */
const BUILT = new URL('../../dist/compare/', import.meta.url);

/**
 * Makes the script of the report page. Joins the built JavaScript of its modules in one scope.
 *
 * @throws UndriftError if the package has not been built
 */
export async function pageScript(): Promise<string> {
  const parts: string[] = [];
  for (const name of MODULES) parts.push(withoutModuleSyntax(await builtModule(name)));
  const script = `(() => {\n'use strict';\n${parts.join('\n')}\nstartReport();\n})();\n`;
  if (/<\/script|<!--/i.test(script))
    throw new UndriftError('the script of the report would end its element');
  return script;
}

async function builtModule(name: string): Promise<string> {
  const file = new URL(`${name}.js`, BUILT);
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new UndriftError('the report needs the built package', {
      help: 'npm run build',
      cause: fileError(cause, file.pathname, 'read'),
    });
  }
}

/** Removes imports and exports, since all modules share one scope. Removes comments too. */
function withoutModuleSyntax(code: string): string {
  return code
    .replace(/^ *\/\*\*?[\s\S]*?\*\/\n/gm, '')
    .replace(/^ *\/\/.*$\n?/gm, '')
    .replace(/^import\b[^;]*;$/gm, '')
    .replace(/^export \{[^}]*\};$/gm, '')
    .replace(/^export (?=(async )?(function|const|class)\b)/gm, '')
    .trim();
}
