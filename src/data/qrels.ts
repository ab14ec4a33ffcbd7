import { DataError, type Place, placeText } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { type Corpus, quote } from './corpus.ts';
import type { Qrels } from './examples.ts';
import { type Judgements, JudgementsBuilder } from './judgements.ts';
import { type Line, type LineOptions, readLines } from './lines.ts';
import { isParquet } from './parquet.ts';
import { type DataRecord, idField, placeOf, wrongType } from './record.ts';
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

const QUERY_NAMES = ['query-id', 'query_id', 'queryId', 'queryid', 'qid', 'query'];
const DOC_NAMES = [
  'corpus-id',
  'corpus_id',
  'doc-id',
  'doc_id',
  'docId',
  'docid',
  'docno',
  'pid',
  'document-id',
  'document_id',
];
const GRADE_NAMES = ['score', 'grade', 'rel', 'relevance', 'label'];

/**
 * Streams the judgements of a qrels file.
 *
 * Formats: BEIR (`query-id corpus-id score`, tab-separated, with or without that header), TREC and MS MARCO
 * (`qid 0 docid grade`, separated by tabs or spaces), or JSONL and Parquet with fields of those names.
 *
 * @throws DataError with file and line for a line of another shape, or a grade that is not a number
 */
export async function* readJudgementLines(
  file: string,
  options: LineOptions = {},
): AsyncGenerator<Judgement> {
  if (/\.jsonl?(\.gz)?$/i.test(file) || (await isParquet(file))) {
    yield* readJudgementRecords(file, options);
  } else yield* parseJudgements(readLines(file, options), file);
}

/** Parses the judgements in the lines of a text file. */
export async function* parseJudgements(lines: AsyncIterable<Line>, file: string): AsyncGenerator<Judgement> {
  let columns: readonly [query: number, doc: number, grade: number] | undefined;
  let width = 0;
  let tabs: boolean | undefined;
  for await (const { text, line } of lines) {
    if (text.trim() === '') continue;
    // The first line decides whether tabs separate the columns, since ids in tab-separated files may hold
    // spaces.
    tabs ??= text.includes('\t');
    const cells = tabs ? text.split('\t').map((cell) => cell.trim()) : text.trim().split(/[ \t]+/);
    if (columns === undefined) {
      width = cells.length;
      const header = headerColumns(cells);
      if (header !== undefined) {
        columns = header;
        continue;
      }
      if (width !== 3 && width !== 4) throw shapeError(cells, file, line);
      columns = width === 3 ? [0, 1, 2] : [0, 2, 3];
    }
    if (cells.length !== width) throw shapeError(cells, file, line);
    const [query, doc, gradeColumn] = columns;
    const queryId = cells[query]!;
    const docId = cells[doc]!;
    if (queryId === '' || docId === '') throw new DataError('an id is empty', { file, line });
    yield { queryId, docId, grade: parseGrade(cells[gradeColumn]!, file, line), file, line };
  }
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
export interface ReadJudgementsOptions {
  /** Queries that the ids refer to. */
  queries: Corpus;
  /** Documents that the ids refer to. */
  corpus: Corpus;
  /** Longest line accepted, in bytes. Default 64 MiB. */
  maxLineBytes?: number | undefined;
  /** Returns the observer of a file's bytes (see {@link LineOptions}). */
  watch?: ((file: string) => LineOptions['onBytes']) | undefined;
  /** Treatment of judgements with an unknown id. `error` (default): throw. `skip`: leave them out and count them. */
  unknownIds?: 'error' | 'skip' | undefined;
}

/** Judgements of a split, and the number left out. */
export interface ReadJudgements extends Judgements {
  /** Number of judgements left out because of an unknown id. */
  readonly skipped: number;
}

/**
 * Reads the qrels files of one split and looks up their ids.
 *
 * @throws DataError for an unknown id (unless such ids are skipped), for one pair with two grades, and for a
 *   split without any judgement left
 */
export async function readJudgements(
  files: readonly string[],
  options: ReadJudgementsOptions,
): Promise<ReadJudgements> {
  const { maxLineBytes, watch } = options;
  const sources = files.map((file) => {
    return { file, judgements: readJudgementLines(file, { maxLineBytes, onBytes: watch?.(file) }) };
  });
  return await collectJudgements(sources, options);
}

/** Collects the judgements of one split from its sources, like {@link readJudgements}. @throws DataError */
export async function collectJudgements(
  sources: readonly JudgementSource[],
  { queries, corpus, unknownIds = 'error' }: Pick<ReadJudgementsOptions, 'queries' | 'corpus' | 'unknownIds'>,
): Promise<ReadJudgements> {
  const builder = new JudgementsBuilder();
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
      } else if (unknownIds === 'skip') {
        skipped++;
      } else {
        throw unknownId(judgement, queries, corpus);
      }
    }
  }
  const file = sources.map((source) => source.file).join(', ');
  if (builder.size === 0) {
    throw new DataError(
      skipped === 0
        ? 'holds no judgement'
        : `none of its ${skipped} judgements names a known query and document`,
      {
        file,
        help:
          skipped === 0
            ? 'a judgement is a query id, a document id and a grade'
            : 'do the files belong together?',
      },
    );
  }
  const judgements = builder.finish(({ queryRow, docRow, lines: [first, second] }) => {
    const earlier = inMemory ? placeText({ file, item: first }) : `line ${first}`;
    throw new DataError(
      `query ${quote(queries.id(queryRow))} and document ${quote(corpus.id(docRow))} have another grade here than in ${earlier}`,
      {
        file,
        ...(inMemory ? { item: second } : { line: second }),
        help: `keep one of the two ${inMemory ? 'judgements' : 'lines'}`,
      },
    );
  });
  return { ...judgements, skipped };
}

async function* readJudgementRecords(file: string, options: LineOptions): AsyncGenerator<Judgement> {
  for await (const record of readRecords(file, options)) yield judgementOf(record);
}

/** Converts a record to a judgement. The grade of a record without one is 1. @throws DataError */
export function judgementOf(record: DataRecord): Judgement {
  const name = GRADE_NAMES.find((name) => record.fields[name] !== undefined);
  const value = name === undefined ? 1 : record.fields[name];
  const grade = typeof value === 'bigint' ? Number(value) : value;
  if (typeof grade !== 'number' || !Number.isFinite(grade)) throw wrongType(record, name!, 'a number', value);
  const [queryId, docId] = [idField(record, QUERY_NAMES), idField(record, DOC_NAMES)];
  return { queryId, docId, grade, ...placeOf(record) };
}

/** Finds the positions of query, document and grade if the cells are column names. */
function headerColumns(cells: readonly string[]): [number, number, number] | undefined {
  const names = cells.map((cell) => cell.toLowerCase());
  const position = (known: readonly string[]) => names.findIndex((name) => known.includes(name));
  const columns: [number, number, number] = [
    position(QUERY_NAMES),
    position(DOC_NAMES),
    position(GRADE_NAMES),
  ];
  return columns.includes(-1) ? undefined : columns;
}

function parseGrade(cell: string, file: string, line: number): number {
  const grade = Number(cell);
  // Grades are stored as float32, so a number that overflows float32 is no grade.
  if (cell !== '' && Number.isFinite(Math.fround(grade))) return grade;
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

function unknownId({ queryId, docId, ...place }: Judgement, queries: Corpus, corpus: Corpus): DataError {
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
  } else {
    help = `${noun} ids look like ${quote(known.id(0))}; unknownIds: 'skip' leaves such judgements out`;
  }
  return new DataError(`unknown ${noun} id ${quote(id)}`, { ...place, help });
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
