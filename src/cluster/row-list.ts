import { UndriftError } from '../util/errors.ts';

/** Most rows in a list, as a guard against damaged messages. */
const MOST_ROWS = 1 << 20;
const LARGEST_ROW = 2 ** 32 - 1;

/** Formats ascending row numbers as ranges: `0-1023,1030`. */
export function formatRows(rows: ArrayLike<number>): string {
  return Array.from(runsOf(rows), ({ first, end }) =>
    end - first === 1 ? `${first}` : `${first}-${end - 1}`,
  ).join(',');
}

/** Divides ascending numbers into runs of consecutive ones. */
export function* runsOf(rows: ArrayLike<number>): Generator<{ first: number; end: number }> {
  for (let start = 0; start < rows.length; ) {
    let next = start + 1;
    while (next < rows.length && rows[next] === rows[next - 1]! + 1) next++;
    yield { first: rows[start]!, end: rows[next - 1]! + 1 };
    start = next;
  }
}

/**
 * Parses row numbers that {@link formatRows} has written.
 *
 * @throws UndriftError for anything else, also for rows that are not ascending
 */
export function parseRows(text: unknown): Uint32Array {
  if (typeof text !== 'string') throw damaged();
  const rows: number[] = [];
  for (const range of text === '' ? [] : text.split(',')) {
    const match = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(range);
    if (!match) throw damaged();
    const first = Number(match[1]);
    const last = Number(match[2] ?? first);
    const previous = rows.at(-1) ?? -1;
    if (first <= previous || last < first || last > LARGEST_ROW || rows.length + last - first >= MOST_ROWS)
      throw damaged();
    for (let row = first; row <= last; row++) rows.push(row);
  }
  return Uint32Array.from(rows);
}

const damaged = () => new UndriftError('a list of rows is damaged');
