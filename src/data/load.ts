import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../util/errors.ts';
import { fileError } from '../util/files.ts';
import { checkOption } from '../util/option-table.ts';
import { BadRows } from './bad-rows.ts';
import { listFolder, loadRetrievalData, readCorpus, roleFiles } from './beir.ts';
import { type Corpus, quote } from './corpus.ts';
import type { DataInMemory } from './data-in-memory.ts';
import { findData } from './find-data.ts';
import { retrievalDataInMemory } from './load-memory.ts';
import { FAULT_OPTIONS, type LoadOptions, type ReadingOptions } from './load-options.ts';
import { loadMsMarco, readTsvCorpus } from './ms-marco.ts';
import { loadPairs, PAIR_FIELDS } from './pairs.ts';
import { readPlainText } from './plain-text.ts';
import { hasValue, presentName } from './record.ts';
import { readRecords } from './records.ts';
import { dataName, normaliseSplits, type RetrievalData } from './retrieval-data.ts';

const PAIRS_FILE = /\.(jsonl(\.gz)?|parquet)$/i;
const SPLIT_FILE = /^(train|dev|validation|valid|val|test)([-_.].*)?\.(jsonl(\.gz)?|parquet)$/i;

/** Layouts that are looked for in a folder, in this order. */
const LAYOUTS = [
  'BEIR: corpus.jsonl, queries.jsonl, qrels/<split>.tsv (plain, .gz or Parquet)',
  'MS MARCO: collection.tsv, queries.<split>.tsv, qrels.<split>.tsv (plain or .gz)',
  'pairs: train.jsonl and perhaps dev.jsonl, test.jsonl with query, positive and perhaps negative (plain, .gz or Parquet)',
];

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
  checkFaultOptions(options);
  const badRows = new BadRows(options.skipBadRows);
  const data = await badRows.during(() => readData(named, { ...options, badRows }));
  return { ...data, notes: [...data.notes, ...badRows.notes()] };
}

/** Checks the options for faults in data. @throws UsageError */
function checkFaultOptions(options: LoadOptions): void {
  for (const key of ['missingDocuments', 'skipBadRows'] as const)
    if (options[key] !== undefined) checkOption(key, FAULT_OPTIONS[key], options[key]);
}

async function readData(named: string | DataInMemory, options: ReadingOptions): Promise<RetrievalData> {
  if (typeof named !== 'string') return await retrievalDataInMemory(named, options);
  const path = await findData(named, options);
  const data = await loadPath(path, options);
  return path === named ? data : { ...data, name: dataName(named) };
}

async function loadPath(path: string, options: ReadingOptions): Promise<RetrievalData> {
  if (!(await isFolder(path))) {
    const file = await findPairFiles(path);
    if (file) return await loadPairs(path, file, options);
    throw new DataError('is no data set', {
      file: path,
      help: 'a folder is wanted (BEIR, MS MARCO, or pairs), or one file of pairs: .jsonl, .jsonl.gz or .parquet',
    });
  }
  const names = await listFolder(path);
  if ((await roleFiles(path, 'corpus')).length > 0) return await loadRetrievalData(path, options);
  if (names.some((name) => /^collection\.tsv(\.gz)?$/.test(name))) return await loadMsMarco(path, options);
  const pairs = await findPairFiles(path);
  if (pairs !== undefined) return await loadPairs(path, pairs, options);
  throw new DataError('no data set is recognised in this folder', {
    file: path,
    help:
      `looked for\n    ${LAYOUTS.join('\n    ')}\n  found ` +
      (names.length === 0
        ? 'nothing'
        : names.slice(0, 12).map(quote).join(', ') + (names.length > 12 ? ', …' : '')),
  });
}

/** Finds files of pairs by split, in a folder or as a single file; undefined if there are none. */
export async function findPairFiles(path: string): Promise<Map<string, string[]> | undefined> {
  if (!(await isFolder(path))) return PAIRS_FILE.test(path) ? new Map([['train', [path]]]) : undefined;
  const names = await listFolder(path);
  const inside = names.includes('data') ? join(path, 'data') : undefined;
  return (await pairFiles(path, names)) ?? (inside === undefined ? undefined : await pairFiles(inside));
}

/** Finds files of pairs by split; a single file counts as split `train`. */
async function pairFiles(
  folder: string,
  names?: readonly string[],
): Promise<Map<string, string[]> | undefined> {
  const present = (names ?? (await listFolder(folder).catch(() => []))).filter((name) =>
    PAIRS_FILE.test(name),
  );
  const bySplit = new Map<string, string[]>();
  for (const name of present) {
    const split = SPLIT_FILE.exec(name)?.[1]?.toLowerCase();
    if (split !== undefined) bySplit.set(split, [...(bySplit.get(split) ?? []), join(folder, name)]);
  }
  if (bySplit.size > 0) return normaliseSplits(bySplit);
  return present.length === 1 ? new Map([['train', [join(folder, present[0]!)]]]) : undefined;
}

/**
 * Loads documents alone, to encode or search them.
 *
 * Reads the corpus of a data set, the passages of a file of pairs, or one file: JSONL or Parquet (`_id`, `text`, optionally `title`), TSV (id,
 * text), or plain text with one document per line and line numbers as ids.
 *
 * @throws DataError for an invalid file
 */
export async function loadCorpus(named: string, options: LoadOptions = {}): Promise<Corpus> {
  const badRows = new BadRows(options.skipBadRows);
  const corpus = await badRows.during(() => readDocuments(named, { ...options, badRows }));
  for (const note of badRows.notes()) options.onNote?.(note);
  return corpus;
}

async function readDocuments(named: string, options: ReadingOptions): Promise<Corpus> {
  const path = await findData(named, options);
  if (await isFolder(path)) {
    const files = await roleFiles(path, 'corpus');
    return files.length > 0
      ? await readCorpus(files, 'document', options)
      : (await readData(path, options)).corpus;
  }
  if (PAIRS_FILE.test(path)) {
    return (await holdsPairs(path, options))
      ? (await loadPairs(path, new Map([['train', [path]]]), options)).corpus
      : await readCorpus([path], 'document', options);
  }
  if (/\.tsv(\.gz)?$/i.test(path)) return await readTsvCorpus([path], 'document', options);
  return await readPlainText(path, options);
}

/** Tells whether the first good record of a file is a pair: it has a positive, and no text of its own. */
async function holdsPairs(file: string, { maxLineBytes }: LoadOptions): Promise<boolean> {
  const names: readonly string[] = PAIR_FIELDS.positive;
  for await (const record of readRecords(file, { maxLineBytes, onBadLine: () => {} }))
    return !hasValue(record, 'text') && presentName(record, names) !== undefined;
  return false;
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
