import { readLines } from '../data/lines.ts';
import { DataError, UndriftError } from '../util/errors.ts';

/** No run or judgement is longer: a file that is something else is not held in memory for want of line ends. */
const MAX_LINE_BYTES = 2 ** 20;

/** What C's `isspace`, hence trec_eval, takes for a separator. Other Unicode spaces may be part of an id. */
const FIELD = /[^ \t\v\f\r]+/g;

export interface FieldsLine {
  readonly fields: readonly string[];
  /** 1-based. */
  readonly line: number;
}

/**
 * The whitespace-separated fields of each line of a UTF-8 text file, plain or gzip, as a stream.
 *
 * Blank lines and, as in trec_eval 10, lines that begin with `#` are left out.
 *
 * @throws DataError where the file cannot be read, is not UTF-8, holds a NUL or a line of over a megabyte.
 */
export async function* readFields(file: string): AsyncGenerator<FieldsLine> {
  for await (const { text, line } of readLines(file, { maxLineBytes: MAX_LINE_BYTES })) {
    if (text.startsWith('#')) continue;
    if (text.includes('\0')) throw new DataError('a NUL byte: this is no text file', { file, line });
    const fields = text.match(FIELD);
    if (fields !== null) yield { fields, line };
  }
}

/** Unicode's white space, where Python's readers split, NUL, and the control characters that Python counts as white space. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these control characters are what it looks for
const SEPARATOR = /[\s\0\x1c-\x1f\x85]/;

/**
 * Holds an id or tag to what every reader of these files takes for one field.
 *
 * @throws UndriftError where it is empty, holds white space, a NUL or half a surrogate pair, or as a query id begins with `#`.
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
