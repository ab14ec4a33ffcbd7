import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asJavaScript } from './plain-script.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Path of a script as `writeExamples` writes it. */
export const scriptOf = (folder: string, name: string): string =>
  join(folder, 'scripts', `${basename(name).replace(/\.m?ts$/, '')}.mjs`);

/** Writes the examples as JavaScript into a folder, with the packages that they import beside them. */
export function writeExamples(folder: string): void {
  mkdirSync(join(folder, 'scripts'));
  for (const name of readdirSync(join(root, 'examples')))
    if (name.endsWith('.ts'))
      writeFileSync(scriptOf(folder, name), asJavaScript(readFileSync(join(root, 'examples', name), 'utf8')));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules', 'undrift'));
  for (const name of ['@huggingface', '@langchain'])
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
}
