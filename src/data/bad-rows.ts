import { DataError, type Place, placeText } from '../util/errors.ts';
import { count } from '../util/format.ts';
import { option } from '../util/option-name.ts';

/** Number of bad rows that an error or a note lists. */
const LISTED = 20;

/**
 * Bad rows of one load: lines, Parquet rows or items that cannot be used.
 *
 * Reading goes on after a bad row, so that one error lists them all. Up to `allowed` of them are left out with a note instead.
 */
export class BadRows {
  readonly #allowed: number;
  readonly #errors: DataError[] = [];
  #count = 0;
  #anyGood = false;
  #thrown: DataError | undefined;

  /** @param allowed  number of bad rows that may be left out */
  constructor(allowed = 0) {
    this.#allowed = allowed;
  }

  /**
   * Notes a bad row.
   *
   * @throws the error itself where it names no row
   * @throws DataError, once there are more bad rows than are allowed and listed
   */
  add(error: unknown): void {
    if (!(error instanceof DataError) || (error.line === undefined && error.item === undefined)) throw error;
    this.#count++;
    if (this.#errors.length < LISTED) this.#errors.push(error);
    if (this.#count > Math.max(this.#allowed, LISTED)) throw this.#error(true);
  }

  /** Runs a function that reads one row, and notes the row if it is bad. Returns undefined for a bad row. */
  attempt<T>(read: () => T): T | undefined {
    try {
      const row = read();
      this.#anyGood = true;
      return row;
    } catch (error) {
      this.add(error);
      return undefined;
    }
  }

  /**
   * Runs a load to its end.
   *
   * @throws DataError that lists all bad rows, where there are more than allowed, also if the load fails because of them
   */
  async during<T>(load: () => Promise<T>): Promise<T> {
    let loaded: T;
    try {
      loaded = await load();
    } catch (error) {
      if (this.#count > this.#allowed && error !== this.#thrown) throw this.#error(false);
      throw error;
    }
    if (this.#count > this.#allowed) throw this.#error(false);
    return loaded;
  }

  /** Note on the rows that were left out; none if every row was good. */
  notes(): string[] {
    if (this.#count === 0) return [];
    const left = this.#count === 1 ? 'left out 1 bad row' : `left out ${count(this.#count)} bad rows`;
    const more = this.#count - this.#errors.length;
    const list = this.#errors.map(({ marked }) => marked.message).join('; ');
    return [`${left}: ${list}${more > 0 ? `; and ${count(more)} more` : ''}`];
  }

  #error(stopped: boolean): DataError {
    if (this.#thrown) return this.#thrown;
    const first = this.#errors[0]!;
    const { help } = first.marked;
    const place: Place = { file: first.file, line: first.line, item: first.item };
    const own = withoutPlace(first);
    // A fault of every row is a fault of the file.
    if (!this.#anyGood && this.#errors.every((error) => sameFault(error, first))) {
      this.#thrown = first;
      return first;
    }
    const others = this.#errors.slice(1).map(({ marked }) => `\n  ${marked.message}`);
    const end = stopped ? '\n  … (reading stopped here)' : '';
    const list = others.length === 0 ? '' : `, and other rows are bad:${others.join('')}${end}`;
    const rows = `${option('skipBadRows', this.#count)} leaves ${this.#count === 1 ? 'such a row' : 'them'} out`;
    const skip = stopped ? '' : rows;
    const advice = [help, skip].filter((part) => part !== undefined && part !== '').join('; ');
    this.#thrown = new DataError(`${own}${list}`, {
      ...place,
      cause: first.cause,
      ...(advice !== '' && { help: advice }),
    });
    return this.#thrown;
  }
}

/** Message of an error without its place. */
function withoutPlace(error: DataError): string {
  const { message } = error.marked;
  const start = `${placeText(error)}: `;
  return message.startsWith(start) ? message.slice(start.length) : message;
}

const sameFault = (a: DataError, b: DataError): boolean => withoutPlace(a) === withoutPlace(b);

/** Runs a function that reads one row. A bad row is noted where bad rows are collected, and throws elsewhere. */
export const attemptRow = <T>(badRows: BadRows | undefined, read: () => T): T | undefined =>
  badRows ? badRows.attempt(read) : read();

/** Returns the callback for lines that cannot be read; undefined where bad rows are not collected. */
export const onBadLine = (badRows: BadRows | undefined): ((error: unknown) => void) | undefined =>
  badRows && ((error) => badRows.add(error));
