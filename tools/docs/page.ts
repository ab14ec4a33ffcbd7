import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Generated parts of one page of the documentation. */
export interface MadePage {
  /** Path of the page, from the root of the repository. */
  readonly page: string;
  /** Contents of the blocks by name. A block is the text between `<!-- name -->` and `<!-- /name -->`. */
  readonly blocks: Readonly<Record<string, string>>;
  /** SVG text of the page's charts, by path from the root of the repository. */
  readonly charts?: Readonly<Record<string, string>>;
}

/** Returns the URL of a file, given its path from the root of the repository. */
export const inRepository = (file: string): URL => new URL(`../../${file}`, import.meta.url);

/** Text of a block whose result is not there. */
export const NOT_MEASURED = '*Not measured yet.*';

/** Whether a file of bench/results/ is there. */
export const hasResult = (file: string): boolean => existsSync(inRepository(`bench/results/${file}`));

/** Reads a JSON file of bench/results/. */
export const readResult = <T>(file: string): T =>
  JSON.parse(readFileSync(inRepository(`bench/results/${file}`), 'utf8'));

/** Makes the files of a page: contents by path. Reads the existing page for the text around its blocks. */
export function filesOf({ page, blocks, charts = {} }: MadePage): Record<string, string> {
  let text = readFileSync(inRepository(page), 'utf8');
  for (const [name, content] of Object.entries(blocks)) text = fillBlock(text, name, content);
  return { [page]: text, ...charts };
}

/**
 * Replaces the content of a block.
 *
 * @throws Error if the text has no such block
 */
function fillBlock(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [start, end] = [text.indexOf(open), text.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`the page has no block ${open} … ${close}`);
  return `${text.slice(0, start + open.length)}\n${content.trim()}\n${text.slice(end)}`;
}

/** Writes files by their path from the root of the repository. */
export function writeFiles(files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) writeFileSync(inRepository(name), content);
}

/** Formats a table in Markdown. */
export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
