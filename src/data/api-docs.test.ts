import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { tempFiles } from '../../test/temp-files.ts';
import { Bm25 } from '../text/bm25.ts';
import { DataError, UsageError } from '../util/errors.ts';
import { type ApiDocs, buildApiDocs } from './api-docs.ts';
import { declarationsOf } from './declarations.ts';
import { cleanDescription } from './jsdoc-text.ts';
import { loadData } from './load.ts';

describe('cleanDescription', () => {
  it.each([
    [
      'The **`abort()`** method of the `AbortController` interface aborts an operation.\n\n[MDN Reference](https://x.org/a)',
      'The abort() method of the AbortController interface aborts an operation.',
    ],
    [
      'Decrypts `buffer` with {@link privateKey}, see {@link Foo | the foo} and {@link https://x.org the site}.\n\nMore.',
      'Decrypts buffer with privateKey, see the foo and the site.',
    ],
    ['Reads a [`file`](fs.html#file "title") from\n  the disk.', 'Reads a file from the disk.'],
    [
      'Short one.\n\nThe second paragraph says what it is.',
      'Short one. The second paragraph says what it is.',
    ],
    [
      '```js\nconst a = 1;\n\nb();\n```\nWhat comes after the code block.',
      'What comes after the code block.',
    ],
    [
      'Keeps snake_case_names and _emphasis_ and 2 * 3 apart.',
      'Keeps snake_case_names and emphasis and 2 3 apart.',
    ],
    ['Deprecated: use the other.\n\nGets the number of items in it.', 'Gets the number of items in it.'],
    ['See also the documentation of the module.', undefined],
    ['[MDN Reference](https://developer.mozilla.org/docs/Web/API/AbortSignal/abort_event)', undefined],
    ['Gets it.', undefined],
    ['xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', undefined],
    ['', undefined],
  ])('%j', (comment, description) => {
    expect(cleanDescription(comment)).toBe(description);
  });

  it('cuts at the end of a sentence', () => {
    const sentence = 'This sentence has exactly so many words that it is long. ';
    const cut = cleanDescription(sentence.repeat(20))!;
    expect(cut.length).toBeLessThanOrEqual(400);
    expect(cut.endsWith('is long.')).toBe(true);
    const words = cleanDescription('word '.repeat(200))!;
    expect(words).toMatch(/^(word )+word$/);
    expect(words.length).toBeLessThanOrEqual(400);
  });
});

describe('declarationsOf', () => {
  const declarations = (text: string, file = 'a.d.ts') =>
    declarationsOf(ts, file, text).map(({ document, description }) => [document, description]);

  it('puts members inside the heads of what they are declared in, without comments', () => {
    const text = `
      /** The interface as a whole does something. */
      declare interface Bag<T extends object = {}> extends Base {
        /** Adds one item to the bag, at its end. */
        add(item: T /* inline */, // trailing
          times?: number): this;
        /** {@inheritDoc} */
        readonly size: number;
        [key: string]: unknown;
      }`;
    expect(declarations(text)).toEqual([
      [
        'interface Bag<T> extends Base { add(item: T, times?: number): this; readonly size: number; [key: string]: unknown; }',
        'The interface as a whole does something.',
      ],
      ['interface Bag<T> { add(item: T, times?: number): this; }', 'Adds one item to the bag, at its end.'],
      ['interface Bag<T> { readonly size: number; }', undefined],
      ['interface Bag<T> { [key: string]: unknown; }', undefined],
    ]);
  });

  it('joins overloads until one is described anew', () => {
    const text = `
      declare module "fs" {
        /** Reads all of a file into memory. */
        export function read(path: string): void;
        export function read(path: number): void;
        /** Reads a part of a file into memory. */
        export function read(path: string, part: number): void;
      }`;
    expect(declarations(text)).toEqual([
      ['module "fs" { read; }', undefined],
      [
        'module "fs" { function read(path: string): void; function read(path: number): void; }',
        'Reads all of a file into memory.',
      ],
      [
        'module "fs" { function read(path: string, part: number): void; }',
        'Reads a part of a file into memory.',
      ],
    ]);
  });

  it('knows variables, classes, enums, types, nested and global namespaces', () => {
    const text = `
      declare var Thing: { prototype: Thing; new (): Thing; /** Makes a thing from a text. */ parse(text: string): Thing };
      declare class C { constructor(a: number); private hidden: string; #secret: string; static of(): C; get x(): number }
      declare enum E { A = 1, B }
      type Options = { /** How many of them there are. */ count?: number };
      type Id = string | number;
      declare namespace A.B { const c: 1 }
      declare global { function g(): void; }
      export declare const last: unique symbol;`;
    expect(declarations(text).map(([document]) => document)).toEqual([
      'var Thing: { new (): Thing; parse(text: string): Thing; }',
      'var Thing: { new (): Thing; }',
      'var Thing: { parse(text: string): Thing; }',
      'class C { constructor(a: number); static of(): C; get x(): number; }',
      'class C { constructor(a: number); }',
      'class C { static of(): C; }',
      'class C { get x(): number; }',
      'enum E { A = 1 B }',
      'enum E { A = 1 }',
      'enum E { B }',
      'type Options = { count?: number; }',
      'type Options = { count?: number; }',
      'type Id = string | number;',
      'namespace A { namespace B { c; } }',
      'namespace A { namespace B { const c: 1; } }',
      'function g(): void;',
      'const last: unique symbol;',
    ]);
  });

  it('bounds the length: of a long interface the names, of a long signature the beginning', () => {
    const members = Array.from({ length: 300 }, (_, i) => `memberNumber${i}(argument: string): void;`).join(
      '\n',
    );
    const list = declarations(
      `interface Long { ${members} } declare const x: ${'"literal" | '.repeat(200)}1;`,
    );
    expect(list).toHaveLength(302);
    for (const [document] of list) expect(document!.length).toBeLessThanOrEqual(810);
    expect(list[0]![0]).toMatch(/^interface Long \{ memberNumber0; memberNumber1; .*memberNumber\d+; \}$/);
  });

  it('reads what a source file exports, without bodies', () => {
    const text = `
      /** Doubles the number that is given. */
      export function double(a: number): number { return helper(a); }
      function helper(a: number) { return 2 * a; }`;
    expect(declarations(text, 'a.ts')).toEqual([
      ['function double(a: number): number;', 'Doubles the number that is given.'],
    ]);
  });

  it('survives files that are no TypeScript', () => {
    for (const text of ['', '}{', '/** x', 'interface', '\0\0', 'declare module', '<html></html>']) {
      expect(Array.isArray(declarations(text))).toBe(true);
    }
  });
});

describe('buildApiDocs', () => {
  let built: ApiDocs;
  let folder: string;
  beforeAll(async () => {
    folder = tempFiles();
    built = await buildApiDocs({ out: 'api-docs', cwd: folder });
  });

  it('makes a data set of thousands, with a test split of a thousand', async () => {
    expect(built.folder).toBe(join(folder, 'api-docs'));
    expect(built.documents).toBeGreaterThan(7000);
    expect(built.queries).toBeGreaterThan(6000);
    expect(built.splits.test.queries).toBeGreaterThanOrEqual(1000);
    expect(built.sources.map(({ name }) => name)).toEqual(['typescript', '@types/node']);
    expect(readdirSync(folder)).toEqual(['api-docs']);
    expect(readdirSync(built.folder)).toEqual([
      'README.md',
      'corpus.jsonl',
      'manifest.json',
      'qrels',
      'queries.jsonl',
    ]);
    const { folder: _, ...summary } = built;
    expect(JSON.parse(readFileSync(join(built.folder, 'manifest.json'), 'utf8'))).toMatchObject(summary);
  });

  it('loads, has no description in two splits, and every document answers a query', async () => {
    const data = await loadData(built.folder);
    expect(data.corpus.size).toBe(built.documents);
    expect(data.queries.size).toBe(built.queries);
    expect(data.splits).toEqual(['train', 'dev', 'test']);
    const splitOf = new Map<string, string>();
    const answered = new Set<number>();
    for (const split of data.splits) {
      const { queryRows, positives } = data.examples(split);
      expect(queryRows).toHaveLength(built.splits[split as 'train'].queries);
      expect(positives.rows).toHaveLength(built.splits[split as 'train'].judgements);
      for (const row of positives.rows) answered.add(row);
      for (const row of queryRows) {
        const letters = data.queries
          .text(row)
          .toLowerCase()
          .replace(/[^\p{L}\p{N}]/gu, '');
        expect(splitOf.get(letters) ?? split).toBe(split);
        splitOf.set(letters, split);
      }
    }
    expect(answered.size).toBe(built.documents);
    expect(new Set(data.queries.texts()).size).toBe(built.queries);
    expect(new Set(data.corpus.texts()).size).toBe(built.documents);
  });

  it('is neither trivial nor hopeless for BM25', async () => {
    const data = await loadData(built.folder);
    const bm25 = Bm25.build(data.corpus.size, (row) => data.corpus.text(row));
    const { queryRows, positives } = data.examples('test');
    let found = 0;
    for (const [i, row] of queryRows.entries()) {
      const wanted = positives.rows.subarray(positives.offsets[i], positives.offsets[i + 1]);
      if (bm25.search(data.queries.text(row), 10).rows.some((hit) => wanted.includes(hit))) found++;
    }
    expect(found / queryRows.length).toBeGreaterThan(0.5);
    expect(found / queryRows.length).toBeLessThan(0.8);
  });

  it('gives the same bytes again, and other splits with another seed', async () => {
    const read = (where: ApiDocs) =>
      [
        'corpus.jsonl',
        'queries.jsonl',
        'manifest.json',
        'README.md',
        'qrels/train.tsv',
        'qrels/test.tsv',
      ].map((name) => readFileSync(join(where.folder, name), 'utf8'));
    const options = { out: 'node', packages: ['@types/node'], only: true, cwd: folder };
    const before = read(await buildApiDocs(options));
    expect(read(await buildApiDocs(options))).toEqual(before); // replaces its own folder
    const other = read(await buildApiDocs({ ...options, out: 'other', seed: 1 }));
    expect(other[0]).toBe(before[0]);
    expect(other[1]).toBe(before[1]);
    expect(other[5]).not.toBe(before[5]);
  });

  it('adds packages and folders of sources, and undescribed declarations where wanted', async () => {
    const project = tempFiles({
      'src/a.ts': Array.from(
        { length: 150 },
        (_, i) =>
          `/** Computes thing number ${i} from two numbers. */\nexport function thing${i}(a: number, b: number): number { return a; }\nexport const plain${i} = 1;\n`,
      ).join(''),
      'src/a.test.ts': '/** This is a test and no declaration. */ export const x = 1;',
      'node_modules/tiny/package.json': '{"version":"1.2.3"}',
      'node_modules/tiny/index.d.ts':
        '/** Says hello to the whole world. */\nexport declare function hello(): void;\n',
      'node_modules/bare/package.json': '{}',
    });
    const options = { out: 'out', packages: ['./src', 'tiny'], only: true, cwd: project };
    const own = await buildApiDocs(options);
    expect(own.sources).toEqual([
      { name: 'src', version: null, files: 1, described: 150 },
      { name: 'tiny', version: '1.2.3', files: 1, described: 1 },
    ]);
    expect(own.documents).toBe(151);
    const data = await loadData(own.folder);
    expect(data.corpus.text(150)).toBe('function hello(): void;');
    expect(readFileSync(join(own.folder, 'corpus.jsonl'), 'utf8')).toContain('"source":"tiny/index.d.ts:2"');
    expect((await buildApiDocs({ ...options, undescribed: true })).documents).toBe(301);

    const refused = (packages: string[]) => buildApiDocs({ ...options, out: 'no', packages });
    await expect(refused(['absent'])).rejects.toThrow(
      /the package absent is not installed\n {2}help: run "npm install/,
    );
    await expect(refused(['bare'])).rejects.toThrow(
      /bare has no TypeScript declarations.*\n {2}help: .*@types\/bare/,
    );
    await expect(refused(['./absent'])).rejects.toThrow(/no such folder/);
    await expect(refused(['tiny'])).rejects.toThrow(/only 1 descriptions were found/);
    await expect(refused([])).rejects.toThrow(/no package is named/);
    await expect(refused(['absent'])).rejects.toBeInstanceOf(UsageError);
    expect(readdirSync(project)).not.toContain('no');
  });

  it('overwrites nothing that it did not make', async () => {
    const cwd = tempFiles({ 'mine/notes.txt': 'dear', file: 'a' });
    await expect(buildApiDocs({ out: 'mine', cwd })).rejects.toThrow(
      /mine: is not empty and was not made by this command/,
    );
    await expect(buildApiDocs({ out: 'file', cwd })).rejects.toBeInstanceOf(DataError);
    expect(readFileSync(join(cwd, 'mine/notes.txt'), 'utf8')).toBe('dear');
    await expect(buildApiDocs({ out: 'x', cwd, seed: 0.5 })).rejects.toBeInstanceOf(UsageError);
  });

  it("prefers the project's own TypeScript", async () => {
    const cwd = tempFiles();
    mkdirSync(join(cwd, 'node_modules/typescript/lib'), { recursive: true });
    writeFileSync(join(cwd, 'node_modules/typescript/package.json'), '{"version":"5.0.0-own"}');
    symlinkSync(
      ts.sys.resolvePath('node_modules/typescript/lib/typescript.js'),
      join(cwd, 'node_modules/typescript/lib/typescript.js'),
    );
    const library = Array.from(
      { length: 120 },
      (_, i) => `/** Thing number ${i} of this library. */\ndeclare const t${i}: ${i};\n`,
    );
    writeFileSync(join(cwd, 'node_modules/typescript/lib/lib.es5.d.ts'), library.join(''));
    const { sources, queries } = await buildApiDocs({
      out: 'out',
      packages: ['typescript'],
      only: true,
      cwd,
    });
    expect(sources).toEqual([{ name: 'typescript', version: '5.0.0-own', files: 1, described: 120 }]);
    expect(queries).toBe(120);
  });
});
