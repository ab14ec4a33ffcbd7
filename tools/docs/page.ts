import { readFileSync, writeFileSync } from 'node:fs';

/** What a script makes of one page of the documentation. */
export interface MadePage {
  /** File of the page, from the root of the repository. */
  readonly page: string;
  /** Content by the name of the block that it fills: what stands between `<!-- name -->` and `<!-- /name -->`. */
  readonly blocks: Readonly<Record<string, string>>;
  /** Charts of the page: SVG text by file, from the root of the repository. */
  readonly charts?: Readonly<Record<string, string>>;
}

/** A file of the repository, named from its root. */
export const inRepository = (file: string): URL => new URL(`../../${file}`, import.meta.url);

/** A JSON file of bench/results/. */
export const readResult = <T>(file: string): T =>
  JSON.parse(readFileSync(inRepository(`bench/results/${file}`), 'utf8'));

/** The files of a page as they should be: their content by name. Reads the page for the text around its blocks. */
export function filesOf({ page, blocks, charts = {} }: MadePage): Record<string, string> {
  let text = readFileSync(inRepository(page), 'utf8');
  for (const [name, content] of Object.entries(blocks)) text = fillBlock(text, name, content);
  return { [page]: text, ...charts };
}

/** @throws Error where the text has no such block */
function fillBlock(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [start, end] = [text.indexOf(open), text.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`the page has no block ${open} … ${close}`);
  return `${text.slice(0, start + open.length)}\n${content.trim()}\n${text.slice(end)}`;
}

export function writeFiles(files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) writeFileSync(inRepository(name), content);
}

/** A table in Markdown. */
export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
