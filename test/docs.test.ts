import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { methods } from '../src/methods/methods.ts';
import { architectures } from '../src/models/architectures/all.ts';

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
  const index = ['', 'how-it-works/', 'guides/'].map((folder) => read(`docs/${folder}README.md`)).join('');
  const listed = [...index.matchAll(/\]\(([^)#]+)\)/g)].map((match) => match[1]!.split('/').at(-1));
  const names = pages.filter((page) => page.startsWith('docs/')).map((page) => page.split('/').at(-1)!);
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !listed.includes(name))).toEqual([]);
});

describe('README.md', () => {
  const [, status] = /^\| works now .*\n\|.*\n(\|.*)$/m.exec(read('README.md'))!;

  it('counts the sources of negatives', () => {
    const words = ['eight', 'nine', 'ten', 'eleven', 'twelve', 'thirteen', 'fourteen', 'fifteen'];
    // crop needs no queries; distill and scored-pairs learn from scores, and others from answers, not from negatives of their own.
    const sources = methods.filter(
      ({ id, answers }) => !answers && !['crop', 'distill', 'scored-pairs'].includes(id),
    );
    expect(status).toContain(`${words[sources.length - 8]} sources of negatives`);
  });

  it('names every architecture', () => {
    const plain = (text: string) => text.toLowerCase().replace(/[^a-z]/g, '');
    const families = [...architectures.keys()].map((type) => plain(type).replace('undrift', ''));
    for (const family of families) expect(plain(status!)).toContain(family);
  });
});
