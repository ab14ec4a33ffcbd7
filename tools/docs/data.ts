/** @file Makes the tables of docs/data.md from those of the readers: `src/data/layouts.ts` and `src/data/columns.ts`. */

import { COLUMNS, type Column, type Role, TABLES, type TableKind } from '../../src/data/columns.ts';
import { LAYOUTS } from '../../src/data/layouts.ts';
import { kebabCase } from '../../src/util/option-name.ts';
import { type MadePage, markdownTable } from './page.ts';

const code = (name: string): string => `\`${name}\``;

/** Table of the columns of a kind of table. */
function columnTable(kind: TableKind): string {
  const { needs, takes } = TABLES[kind];
  const row = (role: Role, need: string) => {
    const { names, patternHelp, holds }: Column = COLUMNS[role];
    const all = [...names.map(code), ...(patternHelp ? [patternHelp] : [])].join(', ');
    return [code(kebabCase(role)), need, holds, all];
  };
  const rows = [...needs.map((role) => row(role, 'yes')), ...takes.map((role) => row(role, ''))];
  return `### ${kind}\n\n${markdownTable(['role', 'needed', 'holds', 'recognised names'], rows)}`;
}

/** Makes the generated parts of docs/data.md. */
export function dataPage(): MadePage {
  const layouts = markdownTable(
    ['layout', 'files', 'columns', 'read by'],
    LAYOUTS.map(({ name, files, tables, use }) => [
      name,
      files,
      tables.map((kind) => `[${kind}](#${kind.replaceAll(' ', '-')})`).join(', ') || 'none',
      use,
    ]),
  );
  const kinds = Object.keys(TABLES) as TableKind[];
  return { page: 'docs/data.md', blocks: { layouts, columns: kinds.map(columnTable).join('\n\n') } };
}
