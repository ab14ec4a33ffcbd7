import { readFileSync, writeFileSync } from 'node:fs';

const README = new URL('../README.md', import.meta.url);

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->` of the README. */
export function fillBlock(name: string, content: string): void {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const text = readFileSync(README, 'utf8');
  const [start, end] = [text.indexOf(open), text.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`README.md has no block ${open} … ${close}`);
  writeFileSync(README, `${text.slice(0, start + open.length)}\n${content.trim()}\n${text.slice(end)}`);
}
