import { existsSync, readdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import type { HubName } from '../hub/hub-name.ts';
import { hubSnapshot } from '../hub/snapshot.ts';
import { DataError } from '../util/errors.ts';
import { DELIMITED_FILE } from './delimited.ts';
import type { LoadOptions } from './load-options.ts';

/** Patterns of the files that the data readers know, at the places where they look for them. */
const WANTED = [
  /^(data\/)?[^/]+\.(jsonl(\.gz)?|parquet|(csv|tsv)(\.gz)?)$/i,
  /^(corpus|queries)\/[^/]+\.(jsonl(\.gz)?|parquet|(csv|tsv)(\.gz)?)$/i,
  /^qrels\/[^/]+\.(tsv|txt|jsonl|parquet)(\.gz)?$/i,
  /^(collection|queries\.[^/]+|qrels\.[^/]+)\.tsv(\.gz)?$/i,
];
const isWanted = (path: string): boolean => WANTED.some((pattern) => pattern.test(path));

/** Tells whether a path is that of a CSV or TSV file that is no part of BEIR or MS MARCO. */
const isTable = (path: string): boolean =>
  DELIMITED_FILE.test(path) && !WANTED.slice(2).some((pattern) => pattern.test(path));

/** Matches the number and count of a part of a table in several files. */
const PART = /-(\d{5})-of-(\d{5})\./;

/**
 * Downloads the JSONL, CSV, TSV and Parquet files of a data set on the hub, and nothing else (see `hubSnapshot`):
 * those of the repository, or of one of its folders. Returns the local folder.
 */
export async function hubData(
  name: HubName,
  { onProgress, onNote }: Pick<LoadOptions, 'onProgress' | 'onNote'> = {},
): Promise<string> {
  const { folder: inside } = name;
  const { folder } = await hubSnapshot(name, {
    wanted: (paths) => dataFiles(paths, name),
    isComplete: (folder) => isWhole(join(folder, inside)),
    onProgress,
    onNote,
  });
  return join(folder, inside);
}

/**
 * Chooses the data files of a repository or of one of its folders.
 *
 * @throws DataError that names the folders with data, when the folder asked for has none
 */
function dataFiles(paths: readonly string[], { repo, folder }: HubName): string[] {
  const start = folder === '' ? '' : `${folder}/`;
  const files = paths.filter((path) => path.startsWith(start) && isWanted(path.slice(start.length)));
  const tables = files.filter((path) => isTable(path.slice(start.length)));
  // A repository with several formats holds the same rows in each.
  const others = files.filter((path) => !tables.includes(path));
  if (files.length > 0) return others.some((path) => WANTED[0]!.test(path)) ? others : files;
  const folders = [
    ...new Set(
      paths
        .filter((path) => path.includes('/') && WANTED[0]!.test(path.slice(path.lastIndexOf('/') + 1)))
        .map((path) => path.slice(0, path.lastIndexOf('/'))),
    ),
  ];
  throw new DataError(
    `${folder === '' ? 'the repository' : `its folder "${folder}"`} has no data that we read`,
    {
      file: repo,
      help:
        folders.length > 0
          ? `name one of its folders: ${folders
              .slice(0, 12)
              .map((each) => `hf:${repo}/${each}`)
              .join(', ')}${folders.length > 12 ? ', …' : ''}`
          : 'JSONL, CSV, TSV, Parquet, and the files of BEIR and MS MARCO are read; it holds none',
    },
  );
}

/** Tells whether a folder of the cache has data, and all parts of tables in numbered parts. */
function isWhole(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter(isWanted);
  const present = new Set(paths);
  return (
    paths.length > 0 &&
    paths.every((path) => {
      const count = Number(PART.exec(path)?.[2] ?? 0);
      const part = (i: number) => path.replace(PART, `-${String(i).padStart(5, '0')}-of-$2.`);
      return Array.from({ length: count }, (_, i) => part(i)).every((each) => present.has(each));
    })
  );
}
