import type { RowLists } from '../data/examples.ts';
import type { RetrievalData } from '../data/retrieval-data.ts';
import { UndriftError } from '../util/errors.ts';
import { checkOptions, type GivenOptions, optionValues } from '../util/option-table.ts';
import { identityOf, type SourceTexts } from './candidate-source.ts';
import type { MinedBlock, MiningTask } from './mine-negatives.ts';
import { MINABLE_OPTIONS, PAIR_OPTIONS } from './mining-options.ts';

/** Queries of a split that negatives can be mined for, numbered 0 … Q − 1, with the data that mining needs. */
export interface MinableQueries extends MiningTask {
  /** Rows of the queries in the query corpus, i32[Q]. */
  readonly queryRows: Int32Array;
  /** Rows of a query's positives that have text, in the order of the data. */
  readonly positives: (query: number) => Int32Array;
  /** Texts of all documents and of the Q queries. */
  readonly texts: SourceTexts;
  /** Number of queries left out, because they or all their positives have no text. */
  readonly skipped: number;
}

/**
 * Selects the queries of a split to mine for. Queries and positives without text are left out, because no
 * reader of pairs accepts them.
 *
 * @param options  `dropSameId`: treat the document with a query's id as the query itself (ArguAna, Quora);
 *   default false
 * @throws DataError when the split does not exist
 * @throws UndriftError when no query is left
 * @throws UsageError for an unknown option
 */
export function minableQueries(
  data: RetrievalData,
  split: string,
  options: GivenOptions<typeof MINABLE_OPTIONS> = {},
): MinableQueries {
  checkOptions(MINABLE_OPTIONS, options);
  const { dropSameId } = optionValues(MINABLE_OPTIONS, options);
  const { corpus, queries } = data;
  const { queryRows, positives } = data.examples(split);
  const empty = new Set<number>();
  for (let row = 0; row < corpus.size; row++) if (isBlank(corpus.utf8(row))) empty.add(row);
  const rowsOf = (example: number) =>
    positives.rows
      .subarray(positives.offsets[example], positives.offsets[example + 1])
      .filter((row) => !empty.has(row));
  const kept = Uint32Array.from(queryRows.keys()).filter(
    (example) => !isBlank(queries.utf8(queryRows[example]!)) && rowsOf(example).length > 0,
  );
  if (kept.length === 0)
    throw new UndriftError(`no query of ${data.name}/${split} has a text and a positive with one`);
  const rows = Int32Array.from(kept, (example) => queryRows[example]!);
  const texts: SourceTexts = {
    documents: corpus.size,
    document: (row) => corpus.text(row),
    queries: rows.length,
    query: (query) => queries.text(rows[query]!),
  };
  const known = (query: number) => rowsOf(kept[query]!);
  let rightAnswers: ((query: number) => Int32Array) | undefined;
  return {
    queryRows: rows,
    positives: known,
    sameText: (query) => identityOf(texts).ownDocuments(query),
    rightAnswers(query) {
      rightAnswers ??= identityOf(texts).rightAnswers(known);
      return rightAnswers(query);
    },
    copies: (document) => identityOf(texts).copies(document),
    empty,
    ...(dropSameId && { ownDocument: (query: number) => corpus.row(queries.id(rows[query]!)) }),
    texts,
    skipped: queryRows.length - kept.length,
  };
}

/** Characters written at once, since some queries have hundreds of positives. */
const CHUNK_CHARACTERS = 1 << 20;

/**
 * Formats mined negatives as lines of JSONL, one query per line, which `loadData` reads as pairs:
 *
 *     {"split": "train", "query": "…", "positive": ["…", …], "negative": ["…", …]}
 *
 * A query without negatives is kept, with an empty list, since its positives are still useful.
 *
 * @param options  `positives`: positives to write, `all` of a query (default) or only the `first`
 * @param split  name of the split to write. Default: none
 * @yields several lines at a time
 * @throws UsageError for an unknown option, and for other words as `positives`
 */
export async function* pairLines(
  queries: MinableQueries,
  blocks: AsyncIterable<MinedBlock>,
  options: GivenOptions<typeof PAIR_OPTIONS> = {},
  split?: string | undefined,
): AsyncGenerator<string> {
  checkOptions(PAIR_OPTIONS, options);
  const { positives } = optionValues(PAIR_OPTIONS, options);
  const { texts } = queries;
  for await (const { start, offsets, rows } of blocks) {
    let lines = '';
    for (let i = 0; i + 1 < offsets.length; i++) {
      const answers = queries.positives(start + i);
      const record = {
        ...(split !== undefined && { split }),
        query: texts.query(start + i),
        positive: Array.from(positives === 'all' ? answers : answers.subarray(0, 1), texts.document),
        negative: Array.from(rows.subarray(offsets[i], offsets[i + 1]), texts.document),
      };
      lines += `${JSON.stringify(record)}\n`;
      if (lines.length < CHUNK_CHARACTERS) continue;
      yield lines;
      lines = '';
    }
    yield lines;
  }
}

/**
 * Formats the queries of a split with their positives, and the negatives that the data gives, as lines like those of `pairLines`, so
 * that a file of mined negatives keeps the other splits of its data.
 *
 * @yields several lines at a time
 */
export function* keptLines(data: RetrievalData, split: string): Generator<string> {
  const { queries, corpus } = data;
  const { queryRows, positives, negatives } = data.examples(split);
  const texts = (list: RowLists | undefined, i: number) =>
    list === undefined
      ? []
      : Array.from(list.rows.subarray(list.offsets[i], list.offsets[i + 1]))
          .filter((row) => !isBlank(corpus.utf8(row)))
          .map((row) => corpus.text(row));
  let lines = '';
  for (const [i, row] of queryRows.entries()) {
    const positive = texts(positives, i);
    if (positive.length === 0 || isBlank(queries.utf8(row))) continue;
    const negative = texts(negatives, i);
    const record = { split, query: queries.text(row), positive, ...(negative.length > 0 && { negative }) };
    lines += `${JSON.stringify(record)}\n`;
    if (lines.length < CHUNK_CHARACTERS) continue;
    yield lines;
    lines = '';
  }
  yield lines;
}

/** Tells whether a text is only white space. For most texts the first byte decides. */
const isBlank = (utf8: Uint8Array): boolean =>
  (utf8.length === 0 || utf8[0]! <= 0x20 || utf8[0]! >= 0x80) &&
  Buffer.from(utf8).toString('utf8').trim() === '';
