import { DataError, UndriftError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { rankDocuments, type ScoredDocument } from './ranking.ts';
import { readFields, requireId } from './text-fields.ts';

/**
 * Format of a run file. `trec`: `qid Q0 docid rank score tag`, separated by white space. `msmarco`: `qid pid
 * rank`, separated by tabs.
 */
export type RunFormat = 'trec' | 'msmarco';

/** Settings of {@link writeRunFile}. */
export interface WriteRunOptions {
  /** Format of the file. Default `trec`. */
  readonly format?: RunFormat;
  /** Name of the system: the last column of a TREC run. Default `undrift`. */
  readonly tag?: string;
}

/** Results query by query, for example streamed from a search. A `Run` is accepted too. */
export type RunEntries =
  | Iterable<readonly [string, readonly ScoredDocument[]]>
  | AsyncIterable<readonly [string, readonly ScoredDocument[]]>;

/**
 * Writes a run file, streamed and atomically: the file appears only when it is complete.
 *
 * Documents of a query are written in the order of `rankDocuments`, so that the rank column agrees with
 * trec_eval. Scores are written with all digits of the double, since six decimals would tie documents that
 * differ.
 *
 * @throws UndriftError for an id or tag that is empty or holds white space or a NUL, for a query id that
 *   begins with `#` (a comment to trec_eval 10), for a query or document written twice, and for a NaN score.
 *   No file is left at `file` in that case.
 */
export async function writeRunFile(
  file: string,
  run: RunEntries,
  { format = 'trec', tag = 'undrift' }: WriteRunOptions = {},
): Promise<void> {
  requireId('tag', tag);
  await writeFileAtomic(file, runLines(run, format, tag));
}

async function* runLines(run: RunEntries, format: RunFormat, tag: string): AsyncGenerator<string> {
  const written = new Set<string>();
  for await (const [queryId, documents] of run) {
    requireId('query id', queryId);
    if (written.has(queryId)) throw new UndriftError(`query "${queryId}" occurs twice in the run to write`);
    written.add(queryId);
    const seen = new Set<string>();
    let lines = '';
    for (const [i, { docId, score }] of rankDocuments(documents).entries()) {
      requireId('document id', docId);
      if (seen.has(docId)) throw new UndriftError(`query "${queryId}" lists document "${docId}" twice`);
      seen.add(docId);
      lines +=
        format === 'trec'
          ? `${queryId} Q0 ${docId} ${i + 1} ${formatScore(score)} ${tag}\n`
          : `${queryId}\t${docId}\t${i + 1}\n`;
    }
    if (lines !== '') yield lines;
  }
}

/**
 * Formats a score as the shortest decimal that reads back as the same double; infinities as C's `atof` reads
 * them.
 */
function formatScore(score: number): string {
  if (Number.isFinite(score)) return String(score);
  return score > 0 ? 'inf' : '-inf';
}

/**
 * Reads a run file, plain or gzip, as a stream. Without `format`, the number of columns of the first line
 * decides the format.
 *
 * As in trec_eval, the rank column of a TREC run is ignored. An MS MARCO run has ranks only, so the score is
 * −rank.
 *
 * @returns queries in the order of their first line, documents in file order
 * @throws DataError with file and line for a wrong number of columns, an invalid score or rank, or a document
 *   or rank that occurs twice in a query
 * @throws DataError for a file that is missing, empty or not UTF-8
 */
export async function readRunFile(
  file: string,
  options: { readonly format?: RunFormat } = {},
): Promise<Map<string, ScoredDocument[]>> {
  let format = options.format;
  const run = new Map<string, ScoredDocument[]>();
  let current: { queryId: string; results: ScoredDocument[]; seen: Set<string> } | undefined;
  // Nearly all files hold the lines of a query together, so the set of seen documents is dropped after the
  // query. It is rebuilt, and kept, only for a query that occurs again.
  const returned = new Map<string, Set<string>>();
  for await (const { fields, line } of readFields(file)) {
    format ??= fields.length === 3 ? 'msmarco' : 'trec';
    const where = { file, line };
    const { queryId, result } = format === 'trec' ? trecRow(fields, where) : msmarcoRow(fields, where);
    if (queryId !== current?.queryId) {
      const results = run.get(queryId) ?? [];
      const seen = returned.get(queryId) ?? new Set(results.flatMap((earlier) => seenKeys(earlier, format!)));
      if (run.has(queryId)) returned.set(queryId, seen);
      else run.set(queryId, results);
      current = { queryId, results, seen };
    }
    for (const key of seenKeys(result, format)) {
      if (current.seen.has(key)) throw new DataError(`${key} occurs twice for query "${queryId}"`, where);
      current.seen.add(key);
    }
    current.results.push(result);
  }
  if (run.size === 0)
    throw new DataError('holds no results', { file, help: 'is this the run file you meant?' });
  return run;
}

interface Row {
  readonly queryId: string;
  readonly result: ScoredDocument;
}

type Where = { readonly file: string; readonly line: number };

function trecRow(fields: readonly string[], where: Where): Row {
  if (fields.length !== 6) {
    throw new DataError(`expected 6 columns, found ${fields.length}`, {
      ...where,
      help: 'a TREC run line is "qid Q0 docid rank score tag"; ids and tag cannot hold spaces',
    });
  }
  const text = fields[4]!;
  const isNumber = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(text);
  const isInfinite = /^[+-]?inf(inity)?$/i.test(text);
  if (!isNumber && !isInfinite) throw new DataError(`the score "${text}" is not a number`, where);
  const score = isNumber ? Number(text) : text.startsWith('-') ? -Infinity : Infinity;
  return { queryId: fields[0]!, result: { docId: fields[2]!, score } };
}

function msmarcoRow(fields: readonly string[], where: Where): Row {
  if (fields.length !== 3) {
    throw new DataError(`expected 3 columns, found ${fields.length}`, {
      ...where,
      help: 'an MS MARCO run line is "qid<tab>pid<tab>rank"',
    });
  }
  const rank = Number(fields[2]);
  if (!/^[0-9]+$/.test(fields[2]!) || rank < 1 || rank > 2 ** 24) {
    throw new DataError(`the rank "${fields[2]}" is not a whole number from 1 to 2^24`, where);
  }
  return { queryId: fields[0]!, result: { docId: fields[1]!, score: -rank } };
}

/** Keys that may occur only once per query: the document, and in an MS MARCO run also the rank. */
function seenKeys({ docId, score }: ScoredDocument, format: RunFormat): string[] {
  return format === 'trec' ? [`document "${docId}"`] : [`document "${docId}"`, `rank ${-score}`];
}
