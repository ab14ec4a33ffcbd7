import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DataError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { option } from '../util/option-name.ts';
import { checkOption } from '../util/option-table.ts';
import { BadRows } from './bad-rows.ts';
import { listFolder, loadRetrievalData, roleFiles } from './beir.ts';
import { quote } from './corpus.ts';
import type { DataInMemory } from './data-in-memory.ts';
import { findData } from './find-data.ts';
import { LAYOUTS } from './layouts.ts';
import { retrievalDataInMemory } from './load-memory.ts';
import { type LoadOptions, READ_OPTIONS, type ReadingOptions } from './load-options.ts';
import { COLLECTION, loadMsMarco } from './ms-marco.ts';
import { loadPairs } from './pairs.ts';
import { isRecordFile } from './records.ts';
import { dataName, normaliseSplits, type RetrievalData } from './retrieval-data.ts';

/** Matches the names of queries of MS MARCO. */
const MS_MARCO_QUERIES = /^queries\..+\.tsv(\.gz)?$/;

const SPLIT_FILE = /^(train|dev|validation|valid|val|test)([-_.].*)?\.[a-z]+(\.gz)?$/i;

/** Tells whether the name of a file is that of a split. */
export const isSplitFile = (name: string): boolean => SPLIT_FILE.test(name);

/**
 * Loads a retrieval data set of any known layout: a BEIR folder, an MS MARCO folder, a folder of pairs with a
 * file per split, or one file of pairs. `named` may also be a name (`beir/scifact`, `hf:organisation/name`;
 * see `findData`), or data in memory: `{ pairs }` (see `PairData`) or `{ documents, queries, judgements }` (see
 * `JudgedData`).
 *
 * @throws DataError when no layout is recognised (the message lists them) or a file is invalid
 */
export async function loadData(
  named: string | DataInMemory,
  options: LoadOptions = {},
): Promise<RetrievalData> {
  checkReadOptions(options);
  const badRows = new BadRows(options.skipBadRows);
  const data = await badRows.during(() => readData(named, { ...options, badRows }));
  return { ...data, notes: [...data.notes, ...badRows.notes()] };
}

/** Checks the options for reading a data set. @throws UsageError */
function checkReadOptions(options: LoadOptions): void {
  for (const [key, spec] of Object.entries(READ_OPTIONS)) {
    const value = options[key as keyof typeof READ_OPTIONS];
    if (value !== undefined) checkOption(key, spec, value);
  }
}

async function readData(named: string | DataInMemory, options: ReadingOptions): Promise<RetrievalData> {
  if (typeof named !== 'string') return await retrievalDataInMemory(named, options);
  const path = await findData(named, options);
  const data = await loadPath(path, options);
  return path === named ? data : { ...data, name: dataName(named) };
}

/** Loads the data set at a path. @throws DataError when no layout is recognised, or a file is invalid */
export async function loadPath(path: string, options: ReadingOptions): Promise<RetrievalData> {
  if (!(await isFolder(path))) {
    const file = await findPairFiles(path);
    if (file) return await loadPairs(path, file, options);
    throw new DataError('is no data set', { file: path, help: fileHelp(path) });
  }
  const names = await listFolder(path);
  // With documents from elsewhere, the folder need not have any.
  const mark = options.documents
    ? { beir: 'queries', msMarco: MS_MARCO_QUERIES }
    : { beir: 'corpus', msMarco: COLLECTION };
  if ((await roleFiles(path, mark.beir)).length > 0) return await loadRetrievalData(path, options);
  if (names.some((name) => mark.msMarco.test(name))) return await loadMsMarco(path, options);
  const pairs = await findPairFiles(path);
  if (pairs !== undefined) return await loadPairs(path, pairs, options);
  throw new DataError('no data set is recognised in this folder', {
    file: path,
    help:
      `looked for\n    ${LAYOUTS.map(({ name, files }) => `${name}: ${files}`).join('\n    ')}\n  found ` +
      (names.length === 0
        ? 'nothing'
        : names.slice(0, 12).map(quote).join(', ') + (names.length > 12 ? ', …' : '')),
  });
}

/**
 * Tells whether a path is a folder of queries and judgements without documents, which are then to be given.
 *
 * @throws DataError when there is nothing at the path
 */
export async function lacksDocuments(path: string): Promise<boolean> {
  if (!(await isFolder(path)) || (await roleFiles(path, 'corpus')).length > 0) return false;
  const names = await listFolder(path);
  const isMsMarco = names.some((name) => MS_MARCO_QUERIES.test(name));
  if (isMsMarco) return !names.some((name) => COLLECTION.test(name));
  return (await roleFiles(path, 'queries')).length > 0;
}

/** Advice for a file that is not read as pairs. */
function fileHelp(path: string): string {
  if (/\.(xlsx?|ods|numbers)$/i.test(path)) return 'save the table as CSV (UTF-8)';
  if (/\.json$/i.test(path))
    return "one object a line is wanted, in a file .jsonl: jq -c '.[]' FILE.json > FILE.jsonl turns an array into that";
  return (
    'a folder is wanted (BEIR, MS MARCO, or pairs), or one file of pairs: .csv, .tsv, .jsonl (each also .gz) or .parquet. ' +
    `Documents alone are trained on by ${option('method', 'crop')}`
  );
}

/** Finds files of pairs by split, in a folder or as a single file; undefined if there are none. */
export async function findPairFiles(path: string): Promise<Map<string, string[]> | undefined> {
  if (!(await isFolder(path))) return isRecordFile(path) ? new Map([['train', [path]]]) : undefined;
  const names = await listFolder(path);
  const inside = names.includes('data') ? join(path, 'data') : undefined;
  return (await pairFiles(path, names)) ?? (inside === undefined ? undefined : await pairFiles(inside));
}

/** Finds files of pairs by split; a single file counts as split `train`. */
async function pairFiles(
  folder: string,
  names?: readonly string[],
): Promise<Map<string, string[]> | undefined> {
  const present = (names ?? (await listFolder(folder).catch(() => []))).filter(isRecordFile);
  const bySplit = new Map<string, string[]>();
  for (const name of present) {
    const split = SPLIT_FILE.exec(name)?.[1]?.toLowerCase();
    if (split !== undefined) bySplit.set(split, [...(bySplit.get(split) ?? []), join(folder, name)]);
  }
  for (const [split, files] of bySplit) checkOneFormat(folder, split, files);
  if (bySplit.size > 0) return normaliseSplits(bySplit);
  return present.length === 1 ? new Map([['train', [join(folder, present[0]!)]]]) : undefined;
}

/**
 * Checks that the files of a split are parts of one table.
 *
 * @throws DataError for files of several formats, which are copies of each other rather than parts
 */
function checkOneFormat(folder: string, split: string, files: readonly string[]): void {
  const format = (file: string) => /\.([a-z]+)(\.gz)?$/i.exec(file)![1]!.toLowerCase();
  const other = files.find((file) => format(file) !== format(files[0]!));
  if (other === undefined) return;
  throw new DataError(`${basename(files[0]!)} and ${basename(other)} are both split ${split}`, {
    file: folder,
    help: 'keep one of the two, or name a file alone',
  });
}

/**
 * Tells whether a path is a folder.
 *
 * @throws DataError when there is nothing at the path
 */
export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw fileError(error, path, 'read');
  }
}
