/**
 * @file Writes docs/commands.md and docs/methods.md from the tables and comments of the code:
 *
 *     npx tsx tools/docs/make-reference.ts
 *
 * `test/reference.test.ts` fails if the files differ from the output of this script.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { allCommands } from '../../src/cli/commands.ts';
import { flagOf } from '../../src/cli/options.ts';
import { commandReference } from '../../src/cli/reference.ts';
import type { Method } from '../../src/methods/contract/method.ts';
import { methods } from '../../src/methods/methods.ts';
import { METHOD_OPTIONS } from '../../src/methods/options.ts';
import { describeRange } from '../../src/util/option-table.ts';

const MADE = '<!-- Made by tools/docs/make-reference.ts: change the code, then `npm run docs`. -->';

/** Functions that make the files of docs/, by file name. */
export const references: Readonly<Record<string, () => string | Promise<string>>> = {
  'commands.md': async () => `# Commands\n\n${MADE}\n\n${commandReference(await allCommands())}`,
  'methods.md': methodReference,
};

function methodReference(): string {
  const helps = Object.entries(METHOD_OPTIONS).map(
    ([name, spec]) => `| \`${flagOf(name, spec)}\` | ${cell(spec.help)} | ${cell(describeRange(spec))} |`,
  );
  return `# Training methods

${MADE}

\`undrift train --method ID\` chooses one of these methods. Options that all of them share, such as batch size, temperature and optimizer, are in
[commands.md](commands.md). All methods over a table of cached embeddings are compositions of the same parts
([\`src/methods/table/table-method.ts\`](../src/methods/table/table-method.ts)): table, sampler, loss and refresh policy. Each of them accepts the
options of the others.

| method | summary |
|---|---|
${methods.map(({ id, summary }) => `| [\`${id}\`](#${id}) | ${cell(summary)} |`).join('\n')}

| option | | value |
|---|---|---|
${helps.join('\n')}

${methods.map(section).join('\n')}`;
}

function section(method: Method): string {
  const { id, aliases = [], paper, options } = method;
  if (!paper) throw new Error(`the method ${id} cites no paper`);
  const defaults = Object.entries(options).map(([name, spec]) => {
    const flag = flagOf(name, spec);
    const none = spec.type === 'switch' || String(spec.default) === '';
    return none ? `\`${flag}\` not given` : `\`${flag} ${spec.default}\``;
  });
  return `## ${id}

${comment(id)}

Paper: [${paper.title}](${paper.url}), ${paper.year}.
${aliases.length > 0 ? `Also known as ${aliases.map((alias) => `\`${alias}\``).join(', ')}.\n` : ''}
${defaults.length > 0 ? `Options and their defaults: ${defaults.join(', ')}.` : 'No options of its own.'}
`;
}

/** Returns the comment before the method in its file, with formulas as code blocks. */
function comment(id: string): string {
  const source = readFileSync(new URL(`../../src/methods/${id}.ts`, import.meta.url), 'utf8');
  const name = id.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const found = new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s*export const ${name}: Method`).exec(source);
  if (!found) throw new Error(`src/methods/${id}.ts has no comment before "export const ${name}: Method"`);
  const lines = found[1]!.split('\n').map((line) => line.replace(/^\s*\* ?/, '').trimEnd());
  return lines
    .join('\n')
    .trim()
    .replace(/((?:^ {2,}\S.*\n?)+)/gm, (block) => `\`\`\`text\n${block.trimEnd()}\n\`\`\`\n`);
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, make] of Object.entries(references))
    writeFileSync(new URL(`../../docs/${name}`, import.meta.url), await make());
}
