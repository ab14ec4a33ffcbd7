import { readFileSync, writeFileSync } from 'node:fs';

const README = new URL('../../README.md', import.meta.url);

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->` of a page, the README if none is given. */
export function fillBlock(name: string, content: string, page: URL = README): void {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const text = readFileSync(page, 'utf8');
  const [start, end] = [text.indexOf(open), text.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`${page.pathname} has no block ${open} … ${close}`);
  writeFileSync(page, `${text.slice(0, start + open.length)}\n${content.trim()}\n${text.slice(end)}`);
}
