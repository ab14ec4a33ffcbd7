import { DataError, type Place, placeText } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { nearest } from '../util/nearest.ts';
import { option } from '../util/option-name.ts';
import { attemptRow, onBadLine } from './bad-rows.ts';
import { ColumnChoice } from './column-choice.ts';
import { type Corpus, quote } from './corpus.ts';
import type { Qrels } from './examples.ts';
import { type Judgements, JudgementsBuilder } from './judgements.ts';
import { type Line, type LineOptions, readLines } from './lines.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { isParquet } from './parquet.ts';
import { type DataRecord, idField, numberOf, placeOf, wrongType } from './record.ts';
import { readRecords } from './records.ts';

/** Judgement and the place where it was read. */
export interface Judgement extends Place {
  readonly queryId: string;
  readonly docId: string;
  /** Relevance grade; above 0 is relevant. */
  readonly grade: number;
}

/** Judgements of one file or one iterable. */
export interface JudgementSource {
  /** Path of the file, or name of the iterable in memory. */
  readonly file: string;
  readonly judgements: AsyncIterable<Judgement>;
}

/** Columns of judgements by their known names. */
const KNOWN_COLUMNS = new ColumnChoice('judgements');

/** Settings of {@link readJudgementLines}. */
export interface JudgementLineOptions extends LineOptions {
  /** Columns of files with names. Default: recognised by the known names. */
  columns?: ColumnChoice | undefined;
  /** Names of columns that the user chose. */
  chosen?: LoadOptions['columns'];
}

/**
 * Streams the judgements of a qrels file.
 *
 * Formats: BEIR (`query-id corpus-id score`, tab-separated, with or without that header), TREC and MS MARCO
 * (`qid 0 docid grade`, separated by tabs or spaces), or JSONL, CSV and Parquet with fields of those names.
 *
 * @throws DataError with file and line for a line of another shape, or a grade that is not a number
 */
export async function* readJudgementLines(
  file: string,
  options: JudgementLineOptions = {},
): AsyncGenerator<Judgement> {
  const { columns = KNOWN_COLUMNS, onBadLine } = options;
  if (/\.(jsonl?|csv)(\.gz)?$/i.test(file) || (await isParquet(file))) {
    yield* judgementsOf(readRecords(file, options), columns, onBadLine);
  } else yield* parseJudgements(readLines(file, options), file, columns, onBadLine);
}

/** Parses the judgements in the lines of a text file. Lines of another shape throw, or go to `onBad`. */
export async function* parseJudgements(
  lines: AsyncIterable<Line>,
  file: string,
  columns: ColumnChoice = KNOWN_COLUMNS,
  onBad?: LineOptions['onBadLine'],
): AsyncGenerator<Judgement> {
  let shape: Shape | undefined;
  for await (const { text, line } of lines) {
    if (text.trim() === '') continue;
    try {
      // The first line decides whether tabs separate the columns, since ids in tab-separated files may hold
      // spaces.
      const tabs: boolean = shape?.tabs ?? text.includes('\t');
      const cells = tabs ? text.split('\t').map((cell) => cell.trim()) : text.trim().split(/[ \t]+/);
      if (shape === undefined) {
        const header = headerColumns(cells, columns, { file, line });
        const width = cells.length;
        if (header === undefined && width !== 3 && width !== 4) throw shapeError(cells, file, line);
        shape = { columns: header ?? (width === 3 ? [0, 1, 2] : [0, 2, 3]), width, tabs };
        if (header !== undefined) continue;
      }
      yield judgementOfCells(cells, shape, file, line);
    } catch (error) {
      if (!onBad) throw error;
      onBad(error);
    }
  }
}

/** Shape of the lines of a qrels file. */
interface Shape {
  readonly columns: readonly [query: number, doc: number, grade: number];
  readonly width: number;
  readonly tabs: boolean;
}

function judgementOfCells(cells: readonly string[], shape: Shape, file: string, line: number): Judgement {
  const { columns, width } = shape;
  if (cells.length !== width) throw shapeError(cells, file, line);
  const [query, doc, gradeColumn] = columns;
  const queryId = cells[query]!;
  const docId = cells[doc]!;
  if (queryId === '' || docId === '') throw new DataError('an id is empty', { file, line });
  return { queryId, docId, grade: parseGrade(cells[gradeColumn]!, file, line), file, line };
}

/**
 * Reads judgements by id, without looking the ids up. If a pair has two grades, the higher counts.
 *
 * @throws DataError when a line is invalid or there is no judgement
 */
export async function readQrels(file: string, options: LineOptions = {}): Promise<Qrels> {
  const qrels = new Map<string, Map<string, number>>();
  for await (const { queryId, docId, grade } of readJudgementLines(file, options)) {
    const judged = qrels.get(queryId) ?? new Map<string, number>();
    qrels.set(queryId, judged);
    judged.set(docId, Math.max(grade, judged.get(docId) ?? grade));
  }
  if (qrels.size === 0) throw new DataError('holds no judgement', { file });
  return qrels;
}

/** Settings of {@link readJudgements}. */
export interface ReadJudgementsOptions
  extends Pick<
    ReadingOptions,
    'maxLineBytes' | 'unknownIds' | 'missingDocuments' | 'badRows' | 'columns' | 'documents'
  > {
  /** Queries that the ids refer to. */
  queries: Corpus;
  /** Documents that the ids refer to. */
  corpus: Corpus;
  /** Returns the observer of a file's bytes (see {@link LineOptions}). */
  watch?: ((file: string) => LineOptions['onBytes']) | undefined;
}

/** Judgements of a split, and those whose ids are unknown. */
export interface ReadJudgements extends Judgements {
  /** Number of judgements left out because of an unknown id. */
  readonly skipped: number;
  /** Judgements of documents that are not in the corpus: query row → document id → grade. Absent if there are none. */
  readonly missing?: ReadonlyMap<number, ReadonlyMap<string, number>> | undefined;
  /** Note with the number of judgements in `missing`. */
  readonly missingNote?: string | undefined;
}

/**
 * Reads the qrels files of one split and looks up their ids.
 *
 * @throws DataError for an unknown query id (unless such ids are skipped), for an unknown document id (if asked), for one pair with
 *   two grades, and for a split without any judgement left
 */
export async function readJudgements(
  files: readonly string[],
  options: ReadJudgementsOptions,
): Promise<ReadJudgements> {
  const { maxLineBytes, watch, badRows, columns: chosen } = options;
  const columns = new ColumnChoice('judgements', chosen, { others: ['documents'] });
  const sources = files.map((file) => {
    const onBytes = watch?.(file);
    const reading = { maxLineBytes, onBytes, onBadLine: onBadLine(badRows), columns, chosen };
    return { file, judgements: readJudgementLines(file, reading) };
  });
  return await collectJudgements(sources, options);
}

/** Collects the judgements of one split from its sources, like {@link readJudgements}. @throws DataError */
export async function collectJudgements(
  sources: readonly JudgementSource[],
  options: Omit<ReadJudgementsOptions, 'maxLineBytes' | 'watch' | 'columns'>,
): Promise<ReadJudgements> {
  const { queries, corpus, documents, badRows, unknownIds = 'error' } = options;
  const missingDocuments =
    options.missingDocuments ??
    (options.unknownIds === undefined ? 'count' : unknownIds === 'skip' ? 'drop' : 'error');
  const builder = new JudgementsBuilder();
  const missing = new MissingDocuments();
  let skipped = 0;
  let inMemory = false;
  for (const { judgements } of sources) {
    for await (const judgement of judgements) {
      const { queryId, docId, grade, line, item } = judgement;
      const queryRow = queries.row(queryId);
      const docRow = corpus.row(docId);
      inMemory = item !== undefined;
      if (queryRow !== undefined && docRow !== undefined) {
        builder.add(queryRow, docRow, grade, { line: item ?? line });
      } else if (queryRow === undefined ? unknownIds === 'skip' : missingDocuments === 'drop') {
        skipped++;
      } else {
        attemptRow(badRows, () => {
          if (queryRow === undefined || missingDocuments === 'error')
            throw unknownId(judgement, { queries, corpus, documents });
          missing.add(queryRow, judgement);
        });
      }
    }
  }
  const file = sources.map((source) => source.file).join(', ');
  if (builder.size === 0 && missing.first)
    throw unknownId(missing.first, { queries, corpus, documents }, missing.size);
  if (builder.size === 0) throw noJudgement(file, skipped);
  const judgements = builder.finish(({ queryRow, docRow, lines: [first, second] }) => {
    const earlier = inMemory ? `in ${placeText({ file, item: first })}` : `in line ${first}`;
    throw gradesDiffer([queries.id(queryRow), corpus.id(docRow)], earlier, {
      file,
      ...(inMemory ? { item: second } : { line: second }),
    });
  });
  return { ...judgements, skipped, missing: missing.byQuery, missingNote: missing.note(corpus) };
}

/** Judgements of documents that are not in the corpus. */
class MissingDocuments {
  readonly #byQuery = new Map<number, Map<string, number>>();
  #first: Judgement | undefined;
  #size = 0;

  /** First judgement of them. */
  get first(): Judgement | undefined {
    return this.#first;
  }

  /** Number of judgements, each pair of query and document counted once. */
  get size(): number {
    return this.#size;
  }

  /** Judgements by query row and document id; undefined if there are none. */
  get byQuery(): ReadonlyMap<number, ReadonlyMap<string, number>> | undefined {
    return this.#size === 0 ? undefined : this.#byQuery;
  }

  /** Adds a judgement. @throws DataError for one pair with two grades */
  add(queryRow: number, judgement: Judgement): void {
    const { queryId, docId, grade, ...place } = judgement;
    const grades = this.#byQuery.get(queryRow) ?? new Map<string, number>();
    this.#byQuery.set(queryRow, grades);
    const before = grades.get(docId);
    if (before !== undefined && before !== grade) throw gradesDiffer([queryId, docId], 'before', place);
    if (before === undefined) this.#size++;
    grades.set(docId, grade);
    this.#first ??= judgement;
  }

  /** Note with the number of judgements and the first of them; undefined if there are none. */
  note(corpus: Corpus): string | undefined {
    if (this.#first === undefined) return undefined;
    const { docId, ...place } = this.#first;
    const [names, effect] =
      this.#size === 1
        ? ['judgement names a document', 'it counts in the metrics as never found, and is not trained on']
        : ['judgements name documents', 'they count in the metrics as never found, and are not trained on'];
    const near = nearestId(docId, corpus);
    return (
      `${count(this.#size)} ${names} that the corpus does not have (the first is ${quote(docId)}, ${placeText(place)}` +
      `${near === undefined ? '' : `; did you mean ${quote(near)}?`}); ${effect}`
    );
  }
}

function noJudgement(file: string, unknown: number): DataError {
  return new DataError(
    unknown === 0
      ? 'holds no judgement'
      : `none of its ${unknown} judgements names a known query and document`,
    {
      file,
      help:
        unknown === 0
          ? 'a judgement is a query id, a document id and a grade'
          : 'do the files belong together?',
    },
  );
}

function gradesDiffer([query, doc]: readonly [string, string], earlier: string, place: Place): DataError {
  return new DataError(
    `query ${quote(query)} and document ${quote(doc)} have another grade here than ${earlier}`,
    { ...place, help: `keep one of the two ${place.item === undefined ? 'lines' : 'judgements'}` },
  );
}

/** Converts records to judgements. A bad record throws, or goes to `onBad`. */
export async function* judgementsOf(
  records: AsyncIterable<DataRecord>,
  columns: ColumnChoice = KNOWN_COLUMNS,
  onBad?: LineOptions['onBadLine'],
): AsyncGenerator<Judgement> {
  for await (const record of records) {
    let judgement: Judgement;
    try {
      judgement = judgementOf(record, columns);
    } catch (error) {
      if (!onBad) throw error;
      onBad(error);
      continue;
    }
    yield judgement;
  }
}

/** Converts a record to a judgement. The grade of a record without one is 1. @throws DataError */
function judgementOf(record: DataRecord, columns: ColumnChoice): Judgement {
  const name = columns.first(record, 'grade');
  const grade = name === undefined ? 1 : numberOf(record.fields[name]);
  if (grade === undefined) throw wrongType(record, name!, GRADE, record.fields[name!]);
  const id = (role: 'queryId' | 'docId'): string => {
    const found = columns.first(record, role);
    if (found === undefined) throw columns.missing(record, role);
    return idField(record, found);
  };
  return { queryId: id('queryId'), docId: id('docId'), grade, ...placeOf(record) };
}

/**
 * Finds the positions of query, document and grade if the cells are column names.
 *
 * @throws DataError where columns were chosen and the cells do not name them
 */
function headerColumns(
  cells: readonly string[],
  columns: ColumnChoice,
  place: Place,
): [number, number, number] | undefined {
  const position = (role: 'queryId' | 'docId' | 'grade') => {
    const known = columns.names(role);
    return cells.findIndex((cell) => known.includes(cell) || known.includes(cell.toLowerCase()));
  };
  const found: [number, number, number] = [position('queryId'), position('docId'), position('grade')];
  if (!found.includes(-1)) return found;
  const { chosen } = columns;
  if (chosen.length === 0) return undefined;
  throw new DataError(`the header lacks a column that ${option('columns')} names: ${chosen.join(', ')}`, {
    ...place,
    help: `it has ${cells.map(quote).join(', ')}`,
  });
}

/** Tells whether a number is a grade. Grades are stored as float32, so a number that overflows it is none. */
const isGrade = (value: number): boolean => Number.isFinite(Math.fround(value));

const GRADE = 'a number below 3.4e38';

/** Matches a decimal number. `Number` alone would also take `0x10`, `0b11` and the empty text. */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function parseGrade(cell: string, file: string, line: number): number {
  const grade = Number(cell);
  if (DECIMAL.test(cell) && isGrade(grade)) return grade;
  throw new DataError(`the grade ${quote(cell)} is not a number`, {
    file,
    line,
    help: 'columns are query id, document id, grade (BEIR) or query id, 0, document id, grade (TREC)',
  });
}

function shapeError(cells: readonly string[], file: string, line: number): DataError {
  return new DataError(`${cells.length} column${cells.length === 1 ? '' : 's'}: ${quote(cells.join('\t'))}`, {
    file,
    line,
    help: 'columns are query id, document id, grade (BEIR, tab-separated) or query id, 0, document id, grade (TREC)',
  });
}

/**
 * Makes the error for an unknown id.
 *
 * @param all  number of judgements, if none of them names a known document
 */
function unknownId(
  { queryId, docId, ...place }: Judgement,
  { queries, corpus, documents }: Pick<ReadJudgementsOptions, 'queries' | 'corpus' | 'documents'>,
  all?: number,
): DataError {
  const isQuery = queries.row(queryId) === undefined;
  const [noun, id, known, others] = isQuery
    ? (['query', queryId, queries, corpus] as const)
    : (['document', docId, corpus, queries] as const);
  const near = nearestId(id, known);
  let help: string;
  if (queries.row(docId) !== undefined && corpus.row(queryId) !== undefined) {
    help = 'the columns seem to be swapped: the query id comes first';
  } else if (near !== undefined) {
    help = `did you mean ${quote(near)}?`;
  } else if (others.row(id) !== undefined) {
    help = `${quote(id)} is the id of a ${isQuery ? 'document' : 'query'}`;
  } else if (all !== undefined) {
    help = `${noun} ids look like ${quote(known.id(0))}; none of the ${count(all)} judgements names a known document: do the files belong together?`;
  } else {
    help = `${noun} ids look like ${quote(known.id(0))}; ${
      isQuery
        ? "unknownIds: 'skip' leaves such judgements out"
        : `${option('missingDocuments', 'count')} counts such judgements as never found`
    }`;
  }
  const where = documents && !isQuery ? `: ${documents.name} has none such` : '';
  return new DataError(`unknown ${noun} id ${quote(id)}${where}`, { ...place, help });
}

/**
 * Finds a known id that the unknown one was probably meant to be: equal apart from case and surrounding
 * space, or, for ids that are words, a typing error away. Looks at the first 100,000 ids. Numbered ids are
 * skipped, because being near says nothing for them.
 */
function nearestId(id: string, known: Corpus): string | undefined {
  const plain = id.trim().toLowerCase();
  const candidates = Array.from({ length: Math.min(known.size, 100_000) }, (_, row) => known.id(row));
  return (
    candidates.find((candidate) => candidate.trim().toLowerCase() === plain) ??
    (/\d/.test(plain) ? undefined : nearest(plain, candidates))
  );
}
