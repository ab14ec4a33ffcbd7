import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type TypeScript from 'typescript';
import { COMMON_RANGES } from '../util/common-options.ts';
import { DataError, UndriftError, UsageError } from '../util/errors.ts';
import { fileError, readText, writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import { checkOption } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { type DeclarationSource, declarationSource, packageFolders } from './declaration-source.ts';
import { type Declaration, declarationsOf } from './declarations.ts';

type Ts = typeof TypeScript;

/** Settings of {@link buildApiDocs}. */
export interface ApiDocsOptions {
  /** Folder to write. A folder that an earlier call wrote is replaced; any other must be absent or empty. */
  out: string;
  /**
   * Packages to read in addition to `typescript` and `@types/node`: names, or folders of TypeScript sources
   * as `./path`. Default none.
   */
  packages?: readonly string[];
  /** Read `packages` only, without `typescript` and `@types/node`. Default false. */
  only?: boolean;
  /** Include declarations without a description in the corpus. Default false: see {@link buildApiDocs}. */
  undescribed?: boolean;
  /** Seed of the splits. Default 0. */
  seed?: number;
  /** Folder where packages are looked for first. Default: the working directory. */
  cwd?: string;
  /** Progress in files, with the stage `read declarations`. */
  onProgress?: (progress: Progress) => void;
}

/** Result of {@link buildApiDocs}, also written to `manifest.json` (without `folder`). */
export interface ApiDocs {
  /** Folder written, as an absolute path. */
  readonly folder: string;
  /** Number of documents. */
  readonly documents: number;
  /** Number of queries. */
  readonly queries: number;
  /** Number of queries and judgements in each split. */
  readonly splits: Readonly<Record<Split, { queries: number; judgements: number }>>;
  /** Packages and folders read, with their number of files and of described declarations. */
  readonly sources: readonly { name: string; version: string | null; files: number; described: number }[];
}

/** Split of the data set. */
export type Split = 'train' | 'dev' | 'test';

/** Share of the queries in each split, by a hash of the description; the rest, 0.15, is test. */
const TRAIN_SHARE = 0.8;
const DEV_SHARE = 0.05;
const BASE_PACKAGES = ['typescript', '@types/node'];
/** Name and version in the manifest. The version changes when the same packages give other bytes. */
const GENERATOR_NAME = 'undrift api-docs';
const GENERATOR_VERSION = 1;
/** Minimum number of queries that are worth training on. */
const MIN_QUERIES = 100;

/**
 * Builds the quick-start data set, in BEIR's layout, from the JSDoc of installed declaration files. A query
 * is the English description of a declaration; its document is the declaration without the comment.
 *
 * - Equal texts are one document, or one query. So a query can have several relevant documents, such as the
 *   same method of `Int8Array`, `Uint8Array`, ….
 * - The split of a query is a hash of the letters and digits of its description, so no description is in two
 *   splits.
 * - Only described declarations are in the corpus, because the query that an undescribed one answers is
 *   unknown. As a distractor it would count as wrong where it is right. `undescribed: true` includes it, for
 *   a corpus to search rather than to measure on.
 * - Equal packages and options give equal bytes. The folder is written completely or not at all.
 *
 * @throws UsageError when a package or TypeScript is not installed, or too few descriptions are found
 * @throws DataError when `out` holds something else
 */
export async function buildApiDocs(options: ApiDocsOptions): Promise<ApiDocs> {
  const { out, packages = [], only = false, undescribed = false, seed = 0, cwd = process.cwd() } = options;
  checkOption('seed', COMMON_RANGES.seed, seed);
  const folder = resolve(cwd, out);
  await checkReplaceable(folder);
  const names = [...new Set([...(only ? [] : BASE_PACKAGES), ...packages])];
  if (names.length === 0)
    throw new UsageError('no package is named', { help: 'name at least one, or leave "only" out' });
  const ts = await loadTypeScript(cwd);
  const sources = names.map((name) => declarationSource(name, cwd));
  const collected = await collect(ts, sources, options);
  if (!undescribed) collected.dropUndescribed();
  if (collected.queries.length < MIN_QUERIES) {
    throw new UsageError(`only ${collected.queries.length} descriptions were found, too few to train on`, {
      help: 'add packages, or leave "only" out',
    });
  }
  const { files, summary } = render(collected, sources, { seed, undescribed });
  await writeFolderAtomic(folder, async (temporary) => {
    await mkdir(join(temporary, 'qrels'));
    for (const [name, text] of files) await writeFileAtomic(join(temporary, name), text);
  });
  return { folder, ...summary };
}

/** Documents and queries with their relation, each text once. */
class Collected {
  /** Text → place of its first occurrence, and the queries it answers. */
  documents = new Map<string, { source: string; queries: Set<number> }>();
  readonly queries: string[] = [];
  readonly #queryRows = new Map<string, number>();

  add(document: string, description: string | undefined, source: string): void {
    const entry = this.documents.get(document) ?? { source, queries: new Set<number>() };
    this.documents.set(document, entry);
    if (description === undefined) return;
    const row = this.#queryRows.get(description) ?? this.queries.length;
    if (row === this.queries.length) {
      this.queries.push(description);
      this.#queryRows.set(description, row);
    }
    entry.queries.add(row);
  }

  dropUndescribed(): void {
    this.documents = new Map([...this.documents].filter(([, { queries }]) => queries.size > 0));
  }
}

async function collect(
  ts: Ts,
  sources: readonly DeclarationSource[],
  options: ApiDocsOptions,
): Promise<Collected> {
  const collected = new Collected();
  const total = sources.reduce((sum, { files }) => sum + files.length, 0);
  let done = 0;
  for (const source of sources) {
    for (const file of source.files) {
      const path = join(source.folder, file);
      for (const { document, description, line } of readDeclarations(ts, path, await readText(path))) {
        const place = line === undefined ? file : `${file}:${line}`;
        collected.add(document, description, `${source.name}/${place}`);
      }
      options.onProgress?.({ stage: 'read declarations', done: ++done, total, unit: 'files' });
    }
  }
  return collected;
}

function readDeclarations(ts: Ts, path: string, text: string): Declaration[] {
  try {
    return declarationsOf(ts, path, text);
  } catch (error) {
    if (error instanceof UndriftError) throw error;
    throw new DataError(`is no TypeScript that can be read (${(error as Error).message})`, {
      file: path,
      cause: error,
    });
  }
}

/** Makes all files of the folder as text. */
function render(
  { documents, queries }: Collected,
  sources: readonly DeclarationSource[],
  { seed, undescribed }: { seed: number; undescribed: boolean },
): { files: Map<string, string>; summary: Omit<ApiDocs, 'folder'> } {
  const splitOf = queries.map((query) => splitOfQuery(query, seed));
  const judgements: Record<Split, [query: number, doc: number][]> = { train: [], dev: [], test: [] };
  const corpusLines: string[] = [];
  const described = new Map<string, number>();
  for (const [text, entry] of documents) {
    const doc = corpusLines.length;
    corpusLines.push(`${JSON.stringify({ _id: `d${doc}`, text, source: entry.source })}\n`);
    for (const query of entry.queries) judgements[splitOf[query]!].push([query, doc]);
    if (entry.queries.size === 0) continue;
    const name = sources.findLast((source) => entry.source.startsWith(`${source.name}/`))!.name;
    described.set(name, (described.get(name) ?? 0) + 1);
  }
  const files = new Map([
    ['corpus.jsonl', corpusLines.join('')],
    ['queries.jsonl', queries.map((text, row) => `${JSON.stringify({ _id: `q${row}`, text })}\n`).join('')],
  ]);
  const count = (split: Split) => ({
    queries: splitOf.filter((name) => name === split).length,
    judgements: judgements[split].length,
  });
  const splits = { train: count('train'), dev: count('dev'), test: count('test') };
  for (const [split, pairs] of Object.entries(judgements)) {
    pairs.sort(([queryA, docA], [queryB, docB]) => queryA - queryB || docA - docB);
    const rows = pairs.map(([query, doc]) => `q${query}\td${doc}\t1\n`);
    files.set(`qrels/${split}.tsv`, `query-id\tcorpus-id\tscore\n${rows.join('')}`);
  }
  const summary = {
    documents: documents.size,
    queries: queries.length,
    splits,
    sources: sources.map(({ name, version, files }) => ({
      name,
      version: version ?? null,
      files: files.length,
      described: described.get(name) ?? 0,
    })),
  };
  files.set(
    'manifest.json',
    `${JSON.stringify({ generator: `${GENERATOR_NAME} ${GENERATOR_VERSION}`, seed, undescribed, ...summary }, null, 2)}\n`,
  );
  files.set('README.md', readme(summary, undescribed));
  return { files, summary };
}

/** Chooses the split of a description, regardless of case, spacing and punctuation. */
function splitOfQuery(description: string, seed: number): Split {
  const letters = description.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
  const u = createHash('sha256').update(`${seed}\n${letters}`).digest().readUIntBE(0, 6) / 2 ** 48;
  return u < TRAIN_SHARE ? 'train' : u < TRAIN_SHARE + DEV_SHARE ? 'dev' : 'test';
}

function readme(
  { documents, queries, splits, sources }: Omit<ApiDocs, 'folder'>,
  undescribed: boolean,
): string {
  const sourceRows = sources.map((s) => `| ${s.name} | ${s.version ?? ''} | ${s.files} | ${s.described} |`);
  const splitRows = Object.entries(splits).map(([name, s]) => `| ${name} | ${s.queries} | ${s.judgements} |`);
  return `# api-docs

Code search over API declarations, in BEIR's layout. Query: the English description of a declaration (JSDoc, its first
paragraph). Document: the declaration without its comment, inside the heads of what it is declared in.
${documents} documents${undescribed ? ' (those without a description included)' : ''}, ${queries} queries. A query is
relevant to every declaration that it describes word for word.

| source | version | files | described declarations |
|---|---|---|---|
${sourceRows.join('\n')}

| split | queries | judgements |
|---|---|---|
${splitRows.join('\n')}

The split of a query is a hash of its description: no description is in two splits. The texts belong to the packages they
were read from, under the licences of these.
`;
}

/** Loads the TypeScript compiler of the user's project, or the one installed beside Undrift. */
async function loadTypeScript(cwd: string): Promise<Ts> {
  for (const folder of packageFolders('typescript', cwd)) {
    const entry = join(folder, 'lib', 'typescript.js');
    if (!existsSync(entry)) continue;
    const loaded = (await import(pathToFileURL(entry).href)) as { default?: Partial<Ts> } & Partial<Ts>;
    const ts = loaded.default ?? loaded;
    if (typeof ts.createSourceFile === 'function') return ts as Ts;
  }
  throw new UsageError('TypeScript is not installed: it is needed to read declaration files', {
    help: 'run "npm install --save-dev typescript@5 @types/node"',
  });
}

/**
 * Checks that the folder is absent, empty or an earlier result of this function.
 *
 * @throws DataError when the folder holds anything else
 */
async function checkReplaceable(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw fileError(error, folder, 'read');
  });
  if (names.length === 0) return;
  const manifest = await readFile(join(folder, 'manifest.json'), 'utf8').catch(() => '');
  if (manifest.includes(GENERATOR_NAME)) return;
  throw new DataError('is not empty and was not made by this command', {
    file: folder,
    help: 'name a folder that does not exist yet',
  });
}
