import { basename } from 'node:path';
import { DataError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { AnswersOf } from './answers.ts';
import { type Corpus, quote } from './corpus.ts';
import type { Qrels, TrainingExamples } from './examples.ts';
import { type Judgements, trainingExamples } from './judgements.ts';

/** Retrieval data set: documents, queries, and the judgements of each split. */
export interface RetrievalData {
  /** Name of the folder or file. */
  readonly name: string;
  /** Documents, N rows. */
  readonly corpus: Corpus;
  /** Queries of all splits. */
  readonly queries: Corpus;
  /** Splits present: train, dev and test first, then others by name. */
  readonly splits: readonly string[];
  /** Short SHA-256 of all files' bytes: equal data have equal fingerprints. */
  readonly fingerprint: string;
  /** Decisions of the reader that a user should know: columns matched by alias, lines left out, held-out splits. */
  readonly notes: readonly string[];
  /**
   * Returns the queries of a split with their positives, and their negatives if the data has any.
   *
   * @throws DataError for an absent split, or one without a positive
   */
  examples(split: string): TrainingExamples;
  /**
   * Returns the grades of a split by query id and document id, as evaluation expects them.
   *
   * @throws DataError for an absent split
   */
  qrels(split: string): Qrels;
  /**
   * Returns a function that gives the known positives of a query row in a split, as ascending document rows;
   * empty for a query of another split. Training masks them out of the negatives.
   *
   * @throws DataError for an absent split
   */
  positiveSets(split: string): (queryRow: number) => Int32Array;
  /** Answers to the queries in words. Absent where the data has none, or where they were not asked for (`LoadOptions.answers`). */
  readonly answers?: AnswersOf | undefined;
}

/** Split as returned by a reader. */
export interface Split {
  /** All judgements of the split. */
  readonly judgements: Judgements;
  /**
   * Whether documents of grade 0 were judged by a person, and so count as judged in evaluation, rather than
   * being mined negatives.
   */
  readonly negativesAreJudged: boolean;
  /** Judgements of documents that are not in the corpus: query row → document id → grade. */
  readonly missing?: ReadonlyMap<number, ReadonlyMap<string, number>> | undefined;
}

/** Order of the first splits in lists. */
const FIRST_SPLITS = ['train', 'dev', 'test'];
/** Other names of the development split. */
export const DEV_NAMES = ['validation', 'valid', 'val'];

/** Combines the parts of a data set into the interface that training and evaluation use. */
export function retrievalData(parts: {
  /** Default: the last part of the path. */
  name?: string | undefined;
  path: string;
  corpus: Corpus;
  queries: Corpus;
  /** Splits. One with an error throws it when it is used. */
  splits: ReadonlyMap<string, Split | DataError>;
  fingerprint: string;
  notes?: readonly string[];
  answers?: AnswersOf | undefined;
}): RetrievalData {
  const { path, corpus, queries, splits, fingerprint, notes = [], answers } = parts;
  const names = sortSplits(splits.keys());
  const pick = (name: string): Split => {
    const split = splits.get(name) ?? (DEV_NAMES.includes(name) ? splits.get('dev') : undefined);
    if (split === undefined) throw missingSplit(name, names, path);
    if (split instanceof DataError) throw split;
    return split;
  };
  return {
    name: parts.name ?? dataName(path),
    corpus,
    queries,
    splits: names,
    fingerprint,
    notes,
    ...(answers && { answers }),
    examples(name) {
      const examples = trainingExamples(pick(name).judgements);
      if (examples.queryRows.length > 0) return examples;
      throw new DataError(`no query of split ${quote(name)} has a document of a grade above 0`, {
        file: path,
      });
    },
    qrels: (name) => toQrels(pick(name), queries, corpus),
    positiveSets(name) {
      const { queryRows, positives } = trainingExamples(pick(name).judgements);
      const sorted = positives.rows.slice();
      const listOf = new Int32Array(queries.size).fill(-1);
      for (let i = 0; i < queryRows.length; i++) {
        listOf[queryRows[i]!] = i;
        sorted.subarray(positives.offsets[i], positives.offsets[i + 1]).sort();
      }
      const none = new Int32Array(0);
      return (queryRow) => {
        const list = listOf[queryRow] ?? -1;
        return list < 0 ? none : sorted.subarray(positives.offsets[list], positives.offsets[list + 1]);
      };
    },
  };
}

/** Returns the last part of a path without the extensions of data files. */
export function dataName(path: string): string {
  return basename(path).replace(/(\.(jsonl?|parquet|csv|tsv|txt|md))?(\.gz)?$/i, '') || 'data';
}

/** Sorts splits: train, dev and test first, then others by name. */
export function sortSplits(names: Iterable<string>): string[] {
  const rank = (name: string) =>
    FIRST_SPLITS.includes(name) ? FIRST_SPLITS.indexOf(name) : FIRST_SPLITS.length;
  return [...names].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Maps the spellings of the development split to `dev`, unless another file already has that name. */
export function normaliseSplits<T>(found: ReadonlyMap<string, T>): Map<string, T> {
  return new Map(
    [...found].map(([name, value]) => [
      DEV_NAMES.includes(name) && canRename(name, found) ? 'dev' : name,
      value,
    ]),
  );
}

function canRename(name: string, found: ReadonlyMap<string, unknown>): boolean {
  return !found.has('dev') && DEV_NAMES.find((spelling) => found.has(spelling)) === name;
}

/**
 * Makes a test for the splits to read.
 *
 * @throws DataError when a wanted split does not exist
 */
export function splitFilter(
  wanted: readonly string[] | undefined,
  present: Iterable<string>,
  path: string,
): (name: string) => boolean {
  if (wanted === undefined) return () => true;
  const names = sortSplits(present);
  const resolved = wanted.map((name) => (!names.includes(name) && DEV_NAMES.includes(name) ? 'dev' : name));
  for (const name of resolved) if (!names.includes(name)) throw missingSplit(name, names, path);
  return (name) => resolved.includes(name);
}

function toQrels({ judgements, negativesAreJudged, missing }: Split, queries: Corpus, corpus: Corpus): Qrels {
  const { queryRows, judged } = judgements;
  const qrels = new Map<string, Map<string, number>>();
  for (let i = 0; i < queryRows.length; i++) {
    const grades = new Map<string, number>();
    for (let j = judged.offsets[i]!; j < judged.offsets[i + 1]!; j++) {
      const grade = judged.grades[j]!;
      if (grade > 0 || negativesAreJudged) grades.set(corpus.id(judged.rows[j]!), grade);
    }
    qrels.set(queries.id(queryRows[i]!), grades);
  }
  for (const [queryRow, absent] of missing ?? []) {
    const id = queries.id(queryRow);
    qrels.set(id, new Map([...(qrels.get(id) ?? []), ...absent]));
  }
  return qrels;
}

function missingSplit(name: string, present: readonly string[], path: string): DataError {
  const message =
    present.length === 0
      ? `no split ${quote(name)}: there are no relevance judgements at all`
      : `no split ${quote(name)}; splits present: ${present.join(', ')}`;
  const help =
    name === 'train'
      ? 'to train here, write judgements of further queries to qrels/train.tsv (query id, document id, grade; in code, ' +
        'judgements.train), give pairs as JSONL (query, positive), or train on other data and only evaluate on this'
      : name === 'dev'
        ? 'undrift data clean DATA --out FOLDER copies the data and holds out a dev split; or move the judgements of some training ' +
          'queries to qrels/dev.tsv (in code, judgements.dev): whole queries, never part of one query'
        : present.length === 0
          ? `write qrels/${name}.tsv (in code, judgements.${name}): query id, document id, grade`
          : `choose one with ${option('split', present.at(-1))}`;
  return new DataError(message, { file: path, help });
}
