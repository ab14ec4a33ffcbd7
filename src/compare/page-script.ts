import { readFile } from 'node:fs/promises';
import { UndriftError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';

/** The modules of the page's script, in an order in which each uses only those before it. */
const MODULES = ['chart-scale', 'draw-chart', 'report-page'];

/** Where the built package has them, as seen from the sources and from the built package alike. */
const BUILT = new URL('../../dist/compare/', import.meta.url);

/**
 * The script of the report page: the JavaScript that the modules were built to, one after the other in one scope.
 *
 * @throws UndriftError in a checkout that was never built
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

/** All modules become one scope. Comments go: they are for readers of the sources. */
function withoutModuleSyntax(code: string): string {
  return code
    .replace(/^ *\/\*\*?[\s\S]*?\*\/\n/gm, '')
    .replace(/^ *\/\/.*$\n?/gm, '')
    .replace(/^import\b[^;]*;$/gm, '')
    .replace(/^export \{[^}]*\};$/gm, '')
    .replace(/^export (?=(async )?(function|const|class)\b)/gm, '')
    .trim();
}
