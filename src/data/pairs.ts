import { DataError, type Place, placeText } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { attemptRow } from './bad-rows.ts';
import { ColumnChoice } from './column-choice.ts';
import { COLUMNS } from './columns.ts';
import { Corpus, joinTitle, quote } from './corpus.ts';
import { FileLog } from './file-log.ts';
import { JudgementsBuilder, joinJudgements } from './judgements.ts';
import type { ReadingOptions } from './load-options.ts';
import { type DataRecord, numberOf, placeOf, textField, wrongType } from './record.ts';
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
  OptionalPairField<(typeof PAIR_FIELDS)['label'][number], number | bigint | boolean> &
  OptionalPairField<(typeof PAIR_FIELDS)['split'][number], string>;

/** Record with its columns recognised. */
interface Pair {
  readonly query: string;
  readonly positives: readonly string[];
  readonly negatives: readonly string[];
  /** Scores of a teacher: those of the positives, then those of the negatives. */
  readonly scores: readonly number[] | undefined;
  /** Name of a split. */
  readonly split: string | undefined;
}

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
  return retrievalData({ ...read, path, fingerprint: log.fingerprint() });
}

/**
 * Reads pairs from sources of records, as {@link loadPairs} says.
 *
 * @param path what the data is called in messages
 */
export async function readPairs(
  sources: ReadonlyMap<string, readonly RecordSource[]>,
  path: string,
  options: ReadingOptions,
): Promise<{ corpus: Corpus; queries: Corpus; splits: Map<string, Split>; notes: string[] }> {
  const assignment = new SplitAssignment(sources, options);
  const columns = new ColumnChoice('pairs', options.columns);
  const queryTexts = new StringTable({ indexed: true });
  const docTexts = new StringTable({ indexed: true });
  const builders = new Map<string, JudgementsBuilder>();
  const places = new Places();
  for (const [given, parts] of sources) {
    for (const records of parts) {
      for await (const record of records(columns.select)) {
        const pair = attemptRow(options.badRows, () => {
          const read = readPair(record, columns);
          return { ...read, key: assignment.key(given, read.split, read.query, record) };
        });
        if (pair === undefined) continue;
        const builder = builders.get(pair.key) ?? new JudgementsBuilder();
        builders.set(pair.key, builder);
        const queryRow = queryTexts.intern(pair.query);
        for (const [i, text] of [...pair.positives, ...pair.negatives].entries()) {
          const grade = i < pair.positives.length ? 1 : 0;
          places.add(pair.key, builder.size, record);
          builder.add(queryRow, docTexts.intern(text), grade, { score: pair.scores?.[i] });
        }
      }
    }
  }
  if (queryTexts.size === 0) {
    throw new DataError('holds no pair', {
      file: path,
      help: 'one object for each pair, in a file one a line: {"query": …, "positive": …}; a CSV file has the names in its first row',
    });
  }
  columns.check(path);
  const { splits, conflicts } = finishSplits(builders, { assignment, places, queryTexts });
  const notes = [
    ...columns.notes(),
    ...assignment.notes(path, (name) => splits.get(name)?.judgements.queryRows.length ?? 0),
  ];
  if (conflicts > 0)
    notes.push(`${conflicts} texts were positive and negative of one query: they count as positive`);
  return { corpus: numbered(docTexts, 'd'), queries: numbered(queryTexts, 'q'), splits, notes };
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

function readPair(record: DataRecord, columns: ColumnChoice): Pair {
  const queryName = columns.find(record, 'query');
  if (queryName === undefined) throw columns.missing(record, 'query', scoredPairsHelp(record));
  const query = record.fields[queryName];
  if (typeof query !== 'string') throw wrongType(record, queryName, 'a string', query);
  if (query.trim() === '') throw new DataError('the query is empty', record);

  const positiveNames = columns.all(record, 'positive');
  const [positiveName] = positiveNames;
  if (positiveName === undefined) throw columns.missing(record, 'positive', scoredPairsHelp(record));
  const found = positiveNames.flatMap((name) => texts(record, name));
  if (found.length === 0) throw new DataError(`${quote(positiveName)} is an empty list`, record);
  const given = columns.all(record, 'negative').flatMap((name) => texts(record, name));
  const isWrong = isLabelledWrong(record, columns.find(record, 'label'));
  if (isWrong && given.length > 0) {
    throw new DataError(`label 0 beside negatives: is ${quote(positiveName)} right or wrong?`, {
      ...placeOf(record),
      help: 'give a wrong passage as a negative, or in a record of its own with label 0',
    });
  }
  const [positives, negatives] = isWrong ? [[], found] : [found, given];

  let scores = numbers(record, columns.find(record, 'scores'));
  const positiveScores = numbers(record, columns.find(record, 'positiveScores'));
  const negativeScores = numbers(record, columns.find(record, 'negativeScores'));
  const splitName = columns.find(record, 'split');
  const split = splitName === undefined ? undefined : textField(record, splitName);
  columns.seen(record);
  if (positiveScores !== undefined || negativeScores !== undefined) {
    if (scores !== undefined) throw new DataError('scores are given twice, together and apart', record);
    if (positiveScores !== undefined) checkCount(record, positiveScores, positives.length, 'positives');
    if (negativeScores !== undefined) checkCount(record, negativeScores, negatives.length, 'negatives');
    const none = (list: readonly string[]) => list.map(() => Number.NaN);
    scores = [...(positiveScores ?? none(positives)), ...(negativeScores ?? none(negatives))];
  } else if (scores !== undefined) {
    checkCount(record, scores, positives.length + negatives.length, 'texts (positives, then negatives)');
  }
  return { query, positives, negatives, scores, split };
}

/**
 * Tells whether a label says that the passage of a record does not answer the query.
 *
 * @throws DataError for a label that is no whole number ≥ 0
 */
function isLabelledWrong(record: DataRecord, name: string | undefined): boolean {
  if (name === undefined) return false;
  const value = record.fields[name];
  const isNumber =
    ['number', 'bigint', 'boolean'].includes(typeof value) || /^\s*\d+\s*$/.test(String(value));
  const label = isNumber ? Number(value) : Number.NaN;
  if (Number.isInteger(label) && label >= 0) return label === 0;
  throw new DataError(
    `column ${quote(name)} should be a label, 1 for a right passage and 0 for a wrong one, found ${quote(String(value))}`,
    {
      ...placeOf(record),
      help:
        `say what it is: ${option('columns', { positiveScores: name })} for a teacher's scores of the positives, ` +
        `${option('method', 'scored-pairs')} to train on similarities of two texts, or ${option('columns', { label: '' })} to ignore it`,
    },
  );
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

function checkCount(record: DataRecord, scores: readonly number[], wanted: number, what: string): void {
  if (scores.length === wanted) return;
  throw new DataError(`${scores.length} scores for ${wanted} ${what}`, record);
}

/** Reads a field that holds a text, or a list of texts or of objects with `text` and optionally `title`. */
function texts(record: DataRecord, name: string): string[] {
  const value = record.fields[name];
  return (Array.isArray(value) ? value : [value]).map((item: unknown) => {
    const text = textOf(item);
    if (text === undefined) {
      throw wrongType(record, name, 'a string, a list of strings, or a list of {"title", "text"}', item);
    }
    if (text.trim() === '') throw new DataError(`field ${quote(name)} holds an empty text`, record);
    return text;
  });
}

function textOf(item: unknown): string | undefined {
  if (typeof item === 'string') return item;
  if (typeof item !== 'object' || item === null) return undefined;
  const { title, text } = item as { title?: unknown; text?: unknown };
  if (typeof text !== 'string') return undefined;
  return joinTitle(typeof title === 'string' ? title : undefined, text);
}

function numbers(record: DataRecord, name: string | undefined): number[] | undefined {
  if (name === undefined) return undefined;
  const value = listOf(record.fields[name]);
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.map((item) => {
    const score = numberOf(item);
    if (score !== undefined) return score;
    throw wrongType(record, name, 'a number or a list of numbers', item);
  });
}

/** Reads a list written as text, such as `[0.9, 0.1]` in a CSV file. Returns any other value unchanged. */
function listOf(value: unknown): unknown {
  if (typeof value !== 'string' || !value.trim().startsWith('[')) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** Help for a record that looks like a scored pair; empty for others. */
const scoredPairsHelp = ({ fields }: DataRecord): string =>
  'sentence1' in fields || 'text1' in fields
    ? `. Scored pairs are trained on by ${option('method', 'scored-pairs')}, and measured by undrift eval --metrics spearman`
    : '';
