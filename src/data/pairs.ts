import { DataError, type Place, placeText } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { Answers } from './answers.ts';
import { attemptRow } from './bad-rows.ts';
import { joinFingerprints } from './beir.ts';
import { ColumnChoice } from './column-choice.ts';
import { COLUMNS } from './columns.ts';
import { Corpus, joinTitle, quote } from './corpus.ts';
import { DistinctTexts, type StreamedText } from './distinct-texts.ts';
import { FileLog } from './file-log.ts';
import { JudgementsBuilder, joinJudgements } from './judgements.ts';
import type { GivenDocuments, ReadingOptions } from './load-options.ts';
import { type Pair, type PairPassage, readPair } from './pair-record.ts';
import { type DataRecord, placeOf } from './record.ts';
import { type RecordSource, recordsOfFiles } from './records.ts';
import { type RetrievalData, retrievalData, type Split } from './retrieval-data.ts';
import { SplitAssignment } from './split-assignment.ts';
import { StringTable } from './string-table.ts';

/** Names of the columns of pairs by role, the canonical one first. Columns are matched by name, never by order. */
export const PAIR_FIELDS = {
  query: COLUMNS.query.names,
  positive: COLUMNS.positive.names,
  negative: COLUMNS.negative.names,
  scores: COLUMNS.scores.names,
  positiveScores: COLUMNS.positiveScores.names,
  negativeScores: COLUMNS.negativeScores.names,
  label: COLUMNS.label.names,
  answers: COLUMNS.answers.names,
  split: COLUMNS.split.names,
} as const;

/** A required field that goes by one of several names. */
export type PairField<Names extends string, T> = { [N in Names]: { readonly [Name in N]: T } }[Names];

/** An optional field that goes by one of several names; null counts as absent. */
export type OptionalPairField<Names extends string, T> = {
  readonly [Name in Names]?: T | null | undefined;
};

/** A text, or a title and a text. */
export type Passage = string | { readonly title?: string | undefined; readonly text: string };

/**
 * A training pair: `{ query, positive }`, with `negative` and a teacher's `scores` (of the positives, then of the negatives) where
 * there are any. Fields may go by all names that are understood in a file of pairs (`anchor`, `question`, `answer`, `negative_1`, …).
 */
export type PairRecord = PairField<(typeof PAIR_FIELDS)['query'][number], string> &
  PairField<(typeof PAIR_FIELDS)['positive'][number], Passage | readonly Passage[]> &
  OptionalPairField<
    (typeof PAIR_FIELDS)['negative'][number] | `negative_${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9}`,
    Passage | readonly Passage[]
  > &
  OptionalPairField<
    (typeof PAIR_FIELDS)['scores' | 'positiveScores' | 'negativeScores'][number],
    number | readonly number[]
  > &
  OptionalPairField<(typeof PAIR_FIELDS)['answers'][number], string | readonly string[]> &
  OptionalPairField<(typeof PAIR_FIELDS)['label'][number], number | bigint | boolean> &
  OptionalPairField<(typeof PAIR_FIELDS)['split'][number], string>;

/**
 * Loads training pairs or triples as a retrieval data set.
 *
 * Files are JSONL, CSV or TSV with a header (each plain or gzip), or Parquet, with `query`, `positive` (a text or a list), and
 * optionally `negative` (a text or a list), `label`, `scores` (a teacher's, positives first) and `split`.
 *
 * The corpus holds all distinct positive and negative texts as `d0`, `d1`, … in order of first occurrence,
 * and the queries are `q0`, `q1`, … likewise. Equal texts are one row, so that every known positive of a
 * query can be masked.
 *
 * A split without a file, and without a record that names it, is held out of the training file: with u = SHA-256(query text) / 2^256, a query goes
 * to dev if u < devFraction and to test if devFraction ≤ u < devFraction + testFraction. A query therefore
 * keeps its split when the file grows or is shuffled.
 *
 * With documents from elsewhere (`documents`), the passages are found among them by their texts.
 *
 * @param files  split → files; a single file is the split `train`
 * @throws DataError with file and line for a record without query or positive, or with a field of the wrong
 *   type
 */
export async function loadPairs(
  path: string,
  files: ReadonlyMap<string, readonly string[]>,
  options: ReadingOptions = {},
): Promise<RetrievalData> {
  const log = new FileLog(options.onProgress);
  const read = await readPairs(recordsOfFiles(files, log, options), path, options);
  const fingerprint = joinFingerprints(log.fingerprint(), options.documents);
  return retrievalData({ ...read, path, fingerprint, answers: read.answers?.of });
}

/**
 * Reads pairs from sources of records, as {@link loadPairs} says.
 *
 * @param path what the data is called in messages
 */
export async function readPairs(
  sources: PairSources,
  path: string,
  options: ReadingOptions,
): Promise<{
  corpus: Corpus;
  queries: Corpus;
  splits: Map<string, Split>;
  notes: string[];
  answers?: Answers;
}> {
  const { documents } = options;
  const assignment = new SplitAssignment(sources, options);
  const columns = new ColumnChoice('pairs', options.columns);
  const queryTexts = new StringTable({ indexed: true });
  const docTexts = new StringTable({ indexed: true });
  const builders = new Map<string, JudgementsBuilder>();
  const places = new Places();
  const answers = new Answers();
  const absent = documents && new AbsentPassages(documents, options);
  const rowOf = (passage: PairPassage, record: DataRecord) => {
    const text = joinTitle(passage.title, passage.text);
    return absent ? absent.row(text, record) : docTexts.intern(text);
  };
  const found = pairsOf(sources, path, { options, assignment, columns }, ({ pair, key, record }) => {
    const passages = [...pair.positives, ...pair.negatives];
    return { pair, key, record, rows: passages.map((passage) => rowOf(passage, record)) };
  });
  for await (const { pair, key, record, rows } of found) {
    const builder = builders.get(key) ?? new JudgementsBuilder();
    builders.set(key, builder);
    const positives = rows.slice(0, pair.positives.length);
    // A query without any of its right answers would have wrong ones alone.
    if (positives.length > 0 && positives.every((row) => row === undefined)) continue;
    const queryRow = queryTexts.intern(pair.query);
    answers.add(queryRow, pair.answers);
    for (const [i, row] of rows.entries()) {
      if (row === undefined) continue;
      places.add(key, builder.size, record);
      builder.add(queryRow, row, i < positives.length ? 1 : 0, { score: pair.scores?.[i] });
    }
  }
  if (queryTexts.size === 0) throw noPair(path, absent);
  const { splits, conflicts } = finishSplits(builders, { assignment, places, queryTexts });
  const notes = [
    ...columns.notes(),
    ...assignment.notes(path, (name) => splits.get(name)?.judgements.queryRows.length ?? 0),
    ...(absent?.notes() ?? []),
  ];
  if (conflicts > 0)
    notes.push(`${conflicts} texts were positive and negative of one query: they count as positive`);
  const corpus = documents?.corpus ?? numbered(docTexts, 'd');
  const queries = numbered(queryTexts, 'q');
  return { corpus, queries, splits, notes, ...(options.answers && { answers }) };
}

/** Sources of the records of each split. */
type PairSources = ReadonlyMap<string, readonly RecordSource[]>;

/** Pair with the record that it was read from. */
interface ReadPair {
  readonly pair: Pair;
  /** Key of its split; see `SplitAssignment`. */
  readonly key: string;
  readonly record: DataRecord;
}

/**
 * Reads the pairs of all sources, one at a time.
 *
 * @param use  makes the result of a pair; an error that it throws is one of the record
 */
async function* pairsOf<T>(
  sources: PairSources,
  path: string,
  {
    options,
    assignment,
    columns,
  }: { options: ReadingOptions; assignment: SplitAssignment; columns: ColumnChoice },
  use: (read: ReadPair) => T,
): AsyncGenerator<T> {
  let any = false;
  for (const [given, parts] of sources) {
    for (const records of parts) {
      for await (const record of records(columns.select)) {
        const used = attemptRow(options.badRows, () => {
          const pair = readPair(record, columns, options);
          const key = assignment.key(given, pair.split, pair.query, record);
          any = true;
          return [use({ pair, key, record })] as const;
        });
        if (used) yield used[0];
      }
    }
  }
  if (any) columns.check(path);
}

/**
 * Streams the distinct passages of pairs, or the distinct queries, with the ids that {@link loadPairs} gives them.
 *
 * Memory: 15 to 24 bytes for each distinct text.
 *
 * @throws DataError for an invalid record
 */
export async function* streamPairTexts(
  path: string,
  files: ReadonlyMap<string, readonly string[]>,
  side: 'query' | 'document',
  { options, log }: { readonly options: ReadingOptions; readonly log: FileLog },
): AsyncGenerator<StreamedText, void> {
  const sources = recordsOfFiles(files, log, options);
  const assignment = new SplitAssignment(sources, options);
  const columns = new ColumnChoice('pairs', options.columns);
  const distinct = new DistinctTexts(side === 'query' ? 'q' : 'd');
  const found = pairsOf(sources, path, { options, assignment, columns }, ({ pair, record }) => {
    const { query, positives, negatives } = pair;
    const texts = side === 'query' ? [{ title: undefined, text: query }] : [...positives, ...negatives];
    return distinct.take(texts, record);
  });
  for await (const texts of found) yield* texts;
  if (distinct.size === 0) throw noPair(path);
}

const noPair = (path: string, absent?: AbsentPassages): DataError =>
  absent?.count
    ? absent.error(path)
    : new DataError('holds no pair', {
        file: path,
        help: 'one object for each pair, in a file one a line: {"query": …, "positive": …}; a CSV file has the names in its first row',
      });

/** Passages of pairs that are looked for in documents from elsewhere. */
class AbsentPassages {
  /** Number of passages that were not found. */
  count = 0;
  readonly #documents: GivenDocuments;
  readonly #isRefused: boolean;

  constructor(documents: GivenDocuments, { missingDocuments }: ReadingOptions) {
    this.#documents = documents;
    // A passage without an id cannot be counted as judged and not found.
    this.#isRefused = missingDocuments !== 'drop';
  }

  /** Finds the row of a text; undefined if it is to be left out. @throws DataError for an unknown text, unless those are left out */
  row(text: string, record: DataRecord): number | undefined {
    const row = this.#documents.corpus.rowOfText(text);
    if (row === undefined && this.#isRefused) {
      throw new DataError(`${this.#documents.name} has no passage ${quote(text)}`, {
        ...placeOf(record),
        help: `index the passages of these pairs too, or leave them out by ${option('missingDocuments', 'drop')}`,
      });
    }
    if (row === undefined) this.count++;
    return row;
  }

  notes(): string[] {
    if (this.count === 0) return [];
    const passages = this.count === 1 ? '1 passage' : `${this.count} passages`;
    return [`${passages} of the pairs left out, because ${this.#documents.name} has no such text`];
  }

  error(path: string): DataError {
    return new DataError(`${this.#documents.name} has none of the passages`, {
      file: path,
      help: 'index the passages of these pairs',
    });
  }
}

/** Groups the judgements of each split. @throws DataError for two scores of one pair */
function finishSplits(
  builders: ReadonlyMap<string, JudgementsBuilder>,
  {
    assignment,
    places,
    queryTexts,
  }: { assignment: SplitAssignment; places: Places; queryTexts: StringTable },
): { splits: Map<string, Split>; conflicts: number } {
  let conflicts = 0;
  const finished = (key: string) =>
    builders.get(key)!.finish(
      () => conflicts++,
      ({ queryRow, added, scores }) => {
        const [first, second] = [places.of(key, added[0]), places.of(key, added[1])];
        throw twoScores(scores, first, second, `query ${quote(queryTexts.get(queryRow))}`);
      },
    );
  const splits = new Map<string, Split>();
  for (const [name, keys] of assignment.splits(builders.keys()))
    splits.set(name, { judgements: joinJudgements(keys.map(finished)), negativesAreJudged: false });
  return { splits, conflicts };
}

/** Places of judgements, by split and position: of each record the first judgement. */
class Places {
  readonly #starts = new Map<string, { numbers: number[]; at: number[] }>();
  readonly #files = new Map<string, { file: string; at: number; inMemory: boolean }[]>();

  add(split: string, at: number, { file, line, item }: DataRecord): void {
    const files = this.#files.get(split) ?? [];
    this.#files.set(split, files);
    if (files.length === 0 || files.at(-1)!.file !== (file ?? ''))
      files.push({ file: file ?? '', at, inMemory: item !== undefined });
    const starts = this.#starts.get(split) ?? { numbers: [], at: [] };
    this.#starts.set(split, starts);
    const number = item ?? line ?? 0;
    if (starts.numbers.at(-1) === number && files.at(-1)!.at !== at) return;
    starts.numbers.push(number);
    starts.at.push(at);
  }

  of(split: string, position: number): Place {
    const { file, inMemory } = this.#files.get(split)!.findLast(({ at }) => at <= position)!;
    const { numbers, at } = this.#starts.get(split)!;
    const number = numbers[at.findLastIndex((start) => start <= position)]!;
    return { file, ...(inMemory ? { item: number } : { line: number }) };
  }
}

function numbered(texts: StringTable, prefix: string): Corpus {
  const ids = new StringTable({ indexed: true });
  for (let row = 0; row < texts.size; row++) ids.intern(`${prefix}${row}`);
  return new Corpus(ids.trim(), texts.dropIndex().trim());
}

/** Error for two scores of one pair. */
export const twoScores = (
  [first, second]: readonly [number, number],
  firstPlace: Place,
  secondPlace: Place,
  what: string,
): DataError =>
  new DataError(
    `two scores of one pair: ${second} here, and ${first} in ${placeText(firstPlace)}, for ${what}`,
    {
      ...secondPlace,
      help: 'keep one of the two: a pair has one score',
    },
  );
