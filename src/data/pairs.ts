import { DataError, type Place, placeText } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { attemptRow } from './bad-rows.ts';
import { Corpus, joinTitle, quote } from './corpus.ts';
import { FileLog } from './file-log.ts';
import { heldOutNotes, holdOut, holdOutFractions } from './hold-out-fraction.ts';
import { JudgementsBuilder } from './judgements.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { type DataRecord, hasValue, placeOf, wrongType } from './record.ts';
import { type RecordSource, recordsOfFiles } from './records.ts';
import { type RetrievalData, retrievalData, type Split } from './retrieval-data.ts';
import { StringTable } from './string-table.ts';

/** Known names of each column, the canonical one first. Columns are matched by name, never by order. */
export const PAIR_FIELDS = {
  query: ['query', 'anchor', 'question', 'query_text', 'queries'],
  positive: [
    'positive',
    'positives',
    'pos',
    'positive_text',
    'positive_passages',
    'document',
    'passage',
    'answer',
  ],
  negative: ['negative', 'negatives', 'neg', 'negative_text', 'negative_passages', 'hard_negatives'],
  scores: ['scores', 'teacher_scores'],
  positiveScores: ['positive_scores', 'pos_scores'],
  negativeScores: ['negative_scores', 'neg_scores'],
  label: ['label', 'score', 'relevance', 'grade'],
} as const;

type Role = keyof typeof PAIR_FIELDS;

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
  OptionalPairField<(typeof PAIR_FIELDS)['label'][number], number | bigint | boolean>;

/** Matches `negative_1`, `negative_2`, …, as sentence-transformers writes them. */
const NUMBERED_NEGATIVE = /^negative_\d+$/;

/** Record with its columns recognised. */
interface Pair {
  readonly query: string;
  readonly positives: readonly string[];
  readonly negatives: readonly string[];
  /** Scores of a teacher: those of the positives, then those of the negatives. */
  readonly scores: readonly number[] | undefined;
}

/**
 * Loads training pairs or triples as a retrieval data set.
 *
 * Files are JSONL (plain or gzip) or Parquet with `query`, `positive` (a text or a list), and optionally
 * `negative` (a text or a list) and `scores` (a teacher's, positives first).
 *
 * The corpus holds all distinct positive and negative texts as `d0`, `d1`, … in order of first occurrence,
 * and the queries are `q0`, `q1`, … likewise. Equal texts are one row, so that every known positive of a
 * query can be masked.
 *
 * A split without a file is held out of the training file: with u = SHA-256(query text) / 2^256, a query goes
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
  const fractions = holdOutFractions(sources, options);
  const columns = new ColumnNames(options.columns);
  const queryTexts = new StringTable({ indexed: true });
  const docTexts = new StringTable({ indexed: true });
  const builders = new Map<string, JudgementsBuilder>();
  const places = new Places();
  let conflicts = 0;
  for (const [given, parts] of sources) {
    for (const records of parts) {
      for await (const record of records((names) => columns.select(names))) {
        const pair = attemptRow(options.badRows, () => readPair(record, columns));
        if (pair === undefined) continue;
        const split = given === 'train' ? holdOut(pair.query, fractions) : given;
        const builder = builders.get(split) ?? new JudgementsBuilder();
        builders.set(split, builder);
        const queryRow = queryTexts.intern(pair.query);
        for (const [i, text] of [...pair.positives, ...pair.negatives].entries()) {
          const grade = i < pair.positives.length ? 1 : 0;
          places.add(split, builder.size, record);
          builder.add(queryRow, docTexts.intern(text), grade, { score: pair.scores?.[i] });
        }
      }
    }
  }
  if (queryTexts.size === 0) {
    throw new DataError('holds no pair', {
      file: path,
      help: 'one object for each pair, in a file one a line: {"query": …, "positive": …}',
    });
  }
  const splits = new Map<string, Split>();
  for (const [name, builder] of builders) {
    const judgements = builder.finish(
      () => conflicts++,
      ({ queryRow, added, scores }) => {
        const [first, second] = [places.of(name, added[0]), places.of(name, added[1])];
        throw new DataError(
          `two scores of one pair: ${scores[1]} here, and ${scores[0]} in ${placeText(first)}, for query ${quote(queryTexts.get(queryRow))}`,
          { ...second, help: 'keep one of the two: a pair has one score of a teacher' },
        );
      },
    );
    splits.set(name, { judgements, negativesAreJudged: false });
  }
  const notes = [
    ...columns.notes(),
    ...heldOutNotes(fractions, path, (name) => splits.get(name)?.judgements.queryRows.length ?? 0),
  ];
  if (conflicts > 0)
    notes.push(`${conflicts} texts were positive and negative of one query: they count as positive`);
  return { corpus: numbered(docTexts, 'd'), queries: numbered(queryTexts, 'q'), splits, notes };
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

/** Recognises columns by name and records those it used, for the notes. */
class ColumnNames {
  readonly #chosen: Partial<Record<Role, string>>;
  readonly #used = new Map<string, string>();
  readonly #ignored = new Set<string>();

  constructor(chosen: LoadOptions['columns'] = {}) {
    this.#chosen = chosen;
  }

  /** Selects the columns of a Parquet file worth reading; all if none is known, so that the error can list them. */
  select(names: readonly string[]): readonly string[] {
    const known: readonly string[] = [...Object.values(PAIR_FIELDS).flat(), ...Object.values(this.#chosen)];
    const wanted = names.filter((name) => known.includes(name) || NUMBERED_NEGATIVE.test(name));
    if (wanted.length === 0) return names;
    for (const name of names) if (!wanted.includes(name)) this.#ignored.add(name);
    return wanted;
  }

  /** Finds the column name of a role in this record; undefined if there is none. */
  find(record: DataRecord, role: Role): string | undefined {
    const chosen = this.#chosen[role];
    const names: readonly string[] = chosen === undefined ? PAIR_FIELDS[role] : [chosen];
    const present = names.filter((name) => hasValue(record, name));
    if (present.length > 1 && present[0] !== names[0]) {
      throw new DataError(`both ${present.map(quote).join(' and ')} could be the ${role}`, {
        ...placeOf(record),
        help: `drop one of them, or say in code which: columns: { ${role}: '${present[0]}' }`,
      });
    }
    const name = present[0];
    if (name !== undefined) this.#used.set(name, role);
    return name;
  }

  negatives(record: DataRecord): string[] {
    const name = this.find(record, 'negative');
    const names = name === undefined ? [] : [name];
    if (this.#chosen.negative !== undefined) return names;
    for (const key in record.fields) {
      if (!NUMBERED_NEGATIVE.test(key) || !hasValue(record, key)) continue;
      names.push(key);
      this.#used.set(key, 'negative');
    }
    return names;
  }

  /** Records columns that no role uses, so that a misspelt "negativ" is reported. */
  seen(record: DataRecord): void {
    if (this.#ignored.size > 20) return;
    for (const key in record.fields)
      if (!this.#used.has(key) && hasValue(record, key)) this.#ignored.add(key);
  }

  notes(): string[] {
    const renamed = [...this.#used].filter(([name, role]) => name !== role);
    const ignored = [...this.#ignored].filter((name) => !this.#used.has(name));
    return [
      ...(renamed.length === 0
        ? []
        : [`columns: ${renamed.map(([name, role]) => `${name} as ${role}`).join(', ')}`]),
      ...(ignored.length === 0 ? [] : [`columns not used: ${ignored.join(', ')}`]),
    ];
  }
}

function readPair(record: DataRecord, columns: ColumnNames): Pair {
  const queryName = columns.find(record, 'query');
  if (queryName === undefined) throw missingRole(record, 'query');
  const query = record.fields[queryName];
  if (typeof query !== 'string') throw wrongType(record, queryName, 'a string', query);
  if (query.trim() === '') throw new DataError('the query is empty', record);

  const positiveName = columns.find(record, 'positive');
  if (positiveName === undefined) throw missingRole(record, 'positive');
  const found = texts(record, positiveName);
  if (found.length === 0) throw new DataError(`${quote(positiveName)} is an empty list`, record);
  const given = columns.negatives(record).flatMap((name) => texts(record, name));
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
  return { query, positives, negatives, scores };
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
        'a teacher\'s scores are called "scores" (positives first); similarities of two texts are trained on by ' +
        `${option('method', 'scored-pairs')}; drop the column if it means something else`,
    },
  );
}

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
  const value = record.fields[name];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.map((item) => {
    const score = typeof item === 'bigint' ? Number(item) : item;
    if (typeof score === 'number' && Number.isFinite(Math.fround(score))) return score;
    throw wrongType(record, name, 'a number or a list of numbers', item);
  });
}

function missingRole(record: DataRecord, role: 'query' | 'positive'): DataError {
  const present = Object.keys(record.fields);
  const names = present.slice(0, 8).map(quote).join(', ');
  return new DataError(`no ${role} column`, {
    ...placeOf(record),
    help:
      `${present.length === 0 ? 'the record is empty' : `the record has ${names}${present.length > 8 ? ', …' : ''}`}; ` +
      `understood are ${PAIR_FIELDS[role].join(', ')}; rename yours, or name it in code: columns: { ${role}: … }` +
      (present.includes('sentence1') || present.includes('text1')
        ? `. Scored pairs are trained on by ${option('method', 'scored-pairs')}, and measured by undrift eval --metrics spearman`
        : ''),
  });
}
