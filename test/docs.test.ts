import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (page: string) => readFileSync(join(root, page), 'utf8');

/** Pages of the documentation, without the API reference, which is not committed. */
const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'bench/quality/README.md'],
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .map((file) => `docs/${file.replaceAll('\\', '/')}`)
    .filter((file) => file.endsWith('.md') && !file.startsWith('docs/api/')),
];

/** Returns the anchor that GitHub gives to a heading. */
const anchor = (heading: string) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');

it.each(pages)('%s links to files and headings that exist', (page) => {
  const broken: string[] = [];
  for (const [, link] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(link!)) continue;
    const [path, heading] = link!.split('#') as [string, string | undefined];
    const target = path === '' ? page : normalize(join(dirname(page), path));
    if (!existsSync(join(root, target))) broken.push(link!);
    else if (heading !== undefined && target.endsWith('.md')) {
      const headings = [...read(target).matchAll(/^#+ (.*)$/gm)].map((match) => anchor(match[1]!));
      if (!headings.includes(heading)) broken.push(link!);
    }
  }
  expect(broken).toEqual([]);
});

it.each(pages)('%s names files that exist', (page) => {
  const named = [...read(page).matchAll(/`((?:src|test|tools|bench|examples)\/[\w./-]+)`/g)];
  expect(named.map((match) => match[1]!).filter((file) => !existsSync(join(root, file)))).toEqual([]);
});

it('docs/README.md lists every page', () => {
  const index = read('docs/README.md') + read('docs/how-it-works/README.md');
  const listed = [...index.matchAll(/\]\(([^)#]+)\)/g)].map((match) => match[1]!.split('/').at(-1));
  const names = pages.filter((page) => page.startsWith('docs/')).map((page) => page.split('/').at(-1)!);
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !listed.includes(name))).toEqual([]);
});
