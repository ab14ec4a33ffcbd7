import { readLines } from '../data/lines.ts';
import { DataError, UndriftError } from '../util/errors.ts';

/**
 * Longest line of a run or qrels file. It keeps a file of another kind, without line ends, from filling the
 * memory.
 */
const MAX_LINE_BYTES = 2 ** 20;

/**
 * Field between the separators of C's `isspace`, which trec_eval uses. Other Unicode spaces may be part of an
 * id.
 */
const FIELD = /[^ \t\v\f\r]+/g;

/** Fields of one line, and its number. */
export interface FieldsLine {
  readonly fields: readonly string[];
  /** Line number, from 1. */
  readonly line: number;
}

/**
 * Reads the fields of each line of a UTF-8 text file, plain or gzip, as a stream. Fields are separated by
 * white space.
 *
 * Blank lines are skipped, and so are lines that begin with `#`, as in trec_eval 10.
 *
 * @throws DataError if the file cannot be read, is not UTF-8, or holds a NUL or a line of over a megabyte
 */
export async function* readFields(file: string): AsyncGenerator<FieldsLine> {
  for await (const { text, line } of readLines(file, { maxLineBytes: MAX_LINE_BYTES })) {
    if (text.startsWith('#')) continue;
    if (text.includes('\0')) throw new DataError('a NUL byte: this is no text file', { file, line });
    const fields = text.match(FIELD);
    if (fields !== null) yield { fields, line };
  }
}

/**
 * Characters that no id may hold: Unicode's white space (where Python's readers split), NUL, and the control
 * characters that Python counts as white space.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these control characters are what it looks for
const SEPARATOR = /[\s\0\x1c-\x1f\x85]/;

/**
 * Checks that an id or tag is one field to every reader of these files.
 *
 * @throws UndriftError if it is empty, holds white space, a NUL or half a surrogate pair, or is a query id
 *   that begins with `#`
 */
export function requireId(kind: 'query id' | 'document id' | 'tag', id: string): void {
  let problem: string;
  if (id === '') problem = 'is empty';
  else if (SEPARATOR.test(id)) problem = 'holds white space or a NUL';
  else if (/\p{Surrogate}/u.test(id)) problem = 'holds half a surrogate pair';
  else if (kind === 'query id' && id.startsWith('#')) problem = 'begins with "#", which marks a comment';
  else return;
  throw new UndriftError(`the ${kind} ${JSON.stringify(id)} ${problem}`, {
    help: 'run and qrels files separate their columns by white space: rename the ids, for example with "_"',
  });
}
