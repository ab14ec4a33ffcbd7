import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../util/errors.ts';
import { writeFileAtomic, writeFolderAtomic } from '../util/files.ts';
import { checkOption, type GivenOptions, type OptionTable } from '../util/option-table.ts';
import { loadAnyData } from './any-data.ts';
import { checkEmptyFolder, QRELS_HEAD, qrelsLine } from './beir-lines.ts';
import type { Corpus } from './corpus.ts';
import type { LoadOptions } from './load-options.ts';
import type { RetrievalData } from './retrieval-data.ts';
import { checkFractions, holdOut } from './split-assignment.ts';
import { identityOf, sharedTrainingQueries } from './statistics.ts';
import { comparableText, type TextIdentity } from './text-identity.ts';

/** Options of {@link cleanData}. */
export const CLEAN_OPTIONS = {
  /** Share of the training queries that become the split dev, where the data has none. Default 0.05. */
  devFraction: {
    type: 'number',
    min: 0,
    below: 1,
    default: 0.05,
    help: 'share of the training queries that become the split dev, where the data has none',
  },
  /** Share of the training queries that become the split test, where the data has none. Default 0.05. */
  testFraction: {
    type: 'number',
    min: 0,
    below: 1,
    default: 0.05,
    help: 'share of the training queries that become the split test, where the data has none',
  },
} as const satisfies OptionTable;

/** Settings of {@link cleanData}. */
export interface CleanOptions
  extends GivenOptions<typeof CLEAN_OPTIONS>,
    Omit<LoadOptions, 'devFraction' | 'testFraction'> {
  /** Folder to write. It must be absent or empty. */
  out: string;
}

/** Result of {@link cleanData}. */
export interface CleanedData {
  /** Folder written. */
  readonly folder: string;
  /** Documents written. */
  readonly documents: number;
  /** Documents left out because an earlier one has their text. */
  readonly mergedDocuments: number;
  /** Training queries left out because their text is a query of another split, by this split. */
  readonly sharedQueries: Readonly<Record<string, number>>;
  /** Training queries left out because their only positives are their own text. */
  readonly ownTextQueries: number;
  /** Queries of each split that was written. */
  readonly splits: Readonly<Record<string, number>>;
  /** Splits that were held out of the training split. */
  readonly heldOut: readonly string[];
}

/**
 * Copies a data set in BEIR's layout, and mends what spoils training or evaluation:
 *
 * - documents of the same text become one, with the judgements of all
 * - training queries whose text is a query of another split are left out, and so are those whose only positives are their own text
 * - splits dev and test that are absent are held out of the training split, by a hash of the comparable text of a query. The
 *   queries of a text stay together, and keep their split when the data grows.
 *
 * Texts are the same if `TextIdentity` says so. The folder is written completely or not at all.
 *
 * @throws DataError for scored pairs, documents alone, and data with a teacher's scores, which the layout has no place for
 * @throws UndriftError where `out` holds something
 */
export async function cleanData(named: string, options: CleanOptions): Promise<CleanedData> {
  const { out, devFraction, testFraction, ...loading } = options;
  for (const key of ['devFraction', 'testFraction'] as const)
    if (options[key] !== undefined) checkOption(key, CLEAN_OPTIONS[key], options[key]);
  const shares = {
    dev: devFraction ?? CLEAN_OPTIONS.devFraction.default,
    test: testFraction ?? CLEAN_OPTIONS.testFraction.default,
  };
  checkFractions(shares);
  await checkEmptyFolder(out);
  // The reader would hold out splits by the exact text; here the comparable text decides.
  const read = await loadAnyData(named, { ...loading, answers: true, devFraction: 0, testFraction: 0 });
  if (read.kind !== 'pairs' || !read.data) {
    throw new DataError(read.kind === 'texts' ? 'holds documents alone' : 'holds scored pairs', {
      file: named,
      help: 'queries with judgements, or pairs of query and positive, can be cleaned',
    });
  }
  const cleaned = clean(named, read.data, shares);
  await writeFolderAtomic(out, async (folder) => {
    await mkdir(join(folder, 'qrels'));
    await writeFileAtomic(join(folder, 'corpus.jsonl'), records(read.corpus, cleaned.documents));
    await writeFileAtomic(join(folder, 'queries.jsonl'), records(read.data!.queries, cleaned.queries));
    const answered = cleaned.queries.filter((row) => (read.data!.answers?.(row) ?? []).length > 0);
    if (answered.length > 0)
      await writeFileAtomic(join(folder, 'answers.jsonl'), answerLines(read.data!, answered));
    for (const [split, lists] of cleaned.splits)
      await writeFileAtomic(join(folder, 'qrels', `${split}.tsv`), qrelsLines(lists));
  });
  return {
    folder: out,
    documents: cleaned.documents.length,
    mergedDocuments: read.corpus.size - cleaned.documents.length,
    sharedQueries: cleaned.shared,
    ownTextQueries: cleaned.ownText,
    splits: Object.fromEntries([...cleaned.splits].map(([split, lists]) => [split, lists.size])),
    heldOut: cleaned.heldOut,
  };
}

/** Judgements of a split: query id → document id → grade. */
type Lists = Map<string, Map<string, number>>;

/** Data after cleaning: rows that stay, and the judgements of each split. */
interface Cleaned {
  readonly documents: readonly number[];
  readonly queries: readonly number[];
  readonly splits: ReadonlyMap<string, Lists>;
  readonly shared: Readonly<Record<string, number>>;
  readonly ownText: number;
  readonly heldOut: readonly string[];
}

function clean(file: string, data: RetrievalData, shares: { dev: number; test: number }): Cleaned {
  const { corpus, queries } = data;
  const identity = identityOf(corpus, queries);
  const first = (row: number) => identity.copies(row)[0] ?? row;
  const documents = Array.from({ length: corpus.size }, (_, row) => row).filter((row) => first(row) === row);
  const splits = new Map(data.splits.map((split) => [split, merged(data, split, first)]));
  const sharedRows = sharedTrainingQueries({ data, kind: 'pairs' }, identity);
  const train = splits.get('train');
  let ownText = 0;
  const heldOut: string[] = [];
  if (train) {
    addNegatives(file, data, train, first);
    for (const rows of sharedRows.values()) for (const row of rows) train.delete(queries.id(row));
    ownText = dropOwnTexts(train, data, identity);
    const fractions = { dev: splits.has('dev') ? 0 : shares.dev, test: splits.has('test') ? 0 : shares.test };
    for (const [id, list] of train) {
      const split = holdOut(comparableText(queries.text(queries.row(id)!)), fractions);
      if (split === 'train') continue;
      if (!splits.has(split)) heldOut.push(split);
      const lists = splits.get(split) ?? new Map();
      splits.set(split, lists.set(id, withoutNegatives(list)));
      train.delete(id);
    }
    if (train.size === 0)
      throw new DataError('no training query is left', {
        file,
        help: 'every one of them is in another split too, or has the text of its own positive',
      });
  }
  const kept = new Set([...splits.values()].flatMap((lists) => [...lists.keys()]));
  return {
    documents,
    queries: Array.from({ length: queries.size }, (_, row) => row).filter((row) => kept.has(queries.id(row))),
    splits,
    shared: Object.fromEntries([...sharedRows].map(([split, rows]) => [split, rows.length])),
    ownText,
    heldOut: heldOut.sort(),
  };
}

/** Returns the judgements of a split, with those of copies joined: the highest grade counts. */
function merged(data: RetrievalData, split: string, first: (row: number) => number): Lists {
  const lists: Lists = new Map();
  for (const [query, grades] of data.qrels(split)) {
    const list = new Map<string, number>();
    for (const [id, grade] of grades) {
      const row = data.corpus.row(id);
      // A judgement of a document that is not in the corpus is kept as it is.
      const document = row === undefined ? id : data.corpus.id(first(row));
      list.set(document, Math.max(grade, list.get(document) ?? Number.NEGATIVE_INFINITY));
    }
    if (list.size > 0) lists.set(query, list);
  }
  return lists;
}

/** Adds the negatives of the training queries, with grade 0. */
function addNegatives(file: string, data: RetrievalData, train: Lists, first: (row: number) => number): void {
  if (![...train.values()].some((list) => [...list.values()].some((grade) => grade > 0))) return;
  const { queryRows, positives, negatives } = data.examples('train');
  if (
    positives.scores?.some((score) => !Number.isNaN(score)) ||
    negatives?.scores?.some((s) => !Number.isNaN(s))
  ) {
    throw new DataError("has a teacher's scores, which the layout of the copy has no place for", {
      file,
      help: 'remove the scores, or clean the files that they were made from',
    });
  }
  if (!negatives) return;
  for (const [i, row] of queryRows.entries()) {
    const list = train.get(data.queries.id(row))!;
    for (const document of negatives.rows.subarray(negatives.offsets[i], negatives.offsets[i + 1])) {
      const id = data.corpus.id(first(document));
      if (!list.has(id)) list.set(id, 0);
    }
  }
}

/** Removes training queries whose only positives have the text of the query. @returns  their number */
function dropOwnTexts(train: Lists, { corpus, queries }: RetrievalData, identity: TextIdentity): number {
  let dropped = 0;
  for (const [id, list] of train) {
    const own = new Set(identity.ownDocuments(queries.row(id)!));
    const positives = [...list].filter(([, grade]) => grade > 0);
    if (own.size === 0 || positives.length === 0) continue;
    if (!positives.every(([document]) => own.has(corpus.row(document) ?? -1))) continue;
    train.delete(id);
    dropped++;
  }
  return dropped;
}

/** Returns the judgements of a query without grades of 0 and below, which may be mined and not judged. */
const withoutNegatives = (list: Map<string, number>): Map<string, number> =>
  new Map([...list].filter(([, grade]) => grade > 0));

async function* records(corpus: Corpus, rows: readonly number[]): AsyncGenerator<string> {
  for (const row of rows) yield `${JSON.stringify({ _id: corpus.id(row), text: corpus.text(row) })}\n`;
}

async function* answerLines(
  { queries, answers }: RetrievalData,
  rows: readonly number[],
): AsyncGenerator<string> {
  for (const row of rows) yield `${JSON.stringify({ _id: queries.id(row), answers: answers!(row) })}\n`;
}

async function* qrelsLines(lists: Lists): AsyncGenerator<string> {
  yield QRELS_HEAD;
  for (const [query, list] of lists)
    for (const [document, grade] of list) yield qrelsLine(query, document, grade);
}
