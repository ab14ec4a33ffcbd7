import { DataError, type Place, placeText } from '../util/errors.ts';
import { StringTable } from './string-table.ts';

/** Document or query to be added to a {@link Corpus}. */
export interface CorpusRecord {
  /** Unique id, not empty. */
  id: string;
  /** Title, put before the text. */
  title?: string | undefined;
  /** Text; may be empty if there is a title. */
  text: string;
  /** Line (or Parquet row) of the record in its source, from 1, for error messages. */
  line?: number | undefined;
  /** Position of the record in an iterable in memory, from 0, instead of a line. */
  item?: number | undefined;
}

/** Settings of a {@link CorpusBuilder}. */
export interface CorpusOptions {
  /** Source of the records, for error messages. Default `(memory)`. */
  file?: string | undefined;
  /** Noun for a record in error messages. Default `document`. */
  noun?: string | undefined;
}

/**
 * N texts (documents or queries) with their ids, addressed by row 0 … N − 1 in the order of the source.
 *
 * The text of a row is `title + ' ' + text`, as BEIR defines it, or the part that is not empty. Texts are
 * held once, as UTF-8 outside the JavaScript heap; each access makes a new string.
 */
export class Corpus {
  readonly #ids: StringTable;
  readonly #texts: StringTable;

  /** @internal Use {@link Corpus.from} or {@link CorpusBuilder}. */
  constructor(ids: StringTable, texts: StringTable) {
    this.#ids = ids;
    this.#texts = texts;
  }

  /**
   * Reads all records of a source, one at a time.
   *
   * @throws DataError for an empty source, an empty id or an id that occurs twice
   */
  static async from(
    records: AsyncIterable<CorpusRecord> | Iterable<CorpusRecord>,
    options: CorpusOptions = {},
  ): Promise<Corpus> {
    const builder = new CorpusBuilder(options);
    for await (const record of records) builder.add(record);
    return builder.finish();
  }

  /** Number of texts N. */
  get size(): number {
    return this.#ids.size;
  }

  /** Memory held, in bytes: texts, ids and the index from id to row. */
  get bytes(): number {
    return this.#ids.bytes + this.#texts.bytes;
  }

  /** Id of a row. */
  id(row: number): string {
    return this.#ids.get(row);
  }

  /** Text of a row. */
  text(row: number): string {
    return this.#texts.get(row);
  }

  /** UTF-8 bytes of a text; a view that must not be written to. */
  utf8(row: number): Uint8Array {
    return this.#texts.utf8(row);
  }

  /** Finds the row of an id; undefined if there is none. */
  row(id: string): number | undefined {
    return this.#ids.find(id);
  }

  /**
   * Finds the first row of a text; undefined if there is none. The first call makes an index, which takes 12 to 20 bytes a row.
   */
  rowOfText(text: string): number | undefined {
    return this.#texts.index().find(text);
  }

  /** Yields all texts in the order of their rows. */
  *texts(): Generator<string> {
    for (let row = 0; row < this.size; row++) yield this.text(row);
  }
}

/** Builds a {@link Corpus} record by record, from one file or several. */
export class CorpusBuilder {
  readonly #ids = new StringTable({ indexed: true });
  readonly #texts = new StringTable();
  readonly #noun: string;
  #file: string;
  /**
   * Line or item of each row and first row of each file, for messages about duplicates. They are not part of the
   * finished corpus.
   */
  readonly #numbers: number[] = [];
  readonly #files: { name: string; firstRow: number; inMemory: boolean }[] = [];

  constructor({ file = '(memory)', noun = 'document' }: CorpusOptions = {}) {
    this.#file = file;
    this.#noun = noun;
  }

  /** Number of records added so far. */
  get size(): number {
    return this.#ids.size;
  }

  /** Sets the file name of the records added from now on. */
  from(file: string): this {
    this.#file = file;
    return this;
  }

  /**
   * Appends a record and returns its row.
   *
   * @param options.sameTextAgain  accept an id again if its text is the same (MS MARCO repeats queries in
   *   several files)
   * @throws DataError for an empty id, or an id that was used before
   */
  add(record: CorpusRecord, { sameTextAgain = false }: { sameTextAgain?: boolean } = {}): number {
    const { id, line, item } = record;
    const text = joinTitle(record.title, record.text);
    const where: Place = { file: this.#file, line, item };
    if (id === '') throw new DataError(`a ${this.#noun} needs an id that is not empty`, where);
    const row = this.#ids.intern(id);
    if (row < this.#texts.size) {
      if (sameTextAgain && this.#texts.get(row) === text) return row;
      throw new DataError(`${this.#noun} id ${quote(id)} was used before, ${this.#place(row)}`, {
        ...where,
        help: 'ids must be unique: rename or remove one of the two',
      });
    }
    if (this.#files.at(-1)?.name !== this.#file)
      this.#files.push({ name: this.#file, firstRow: row, inMemory: item !== undefined });
    this.#numbers.push(item ?? line ?? 0);
    return this.#texts.add(text);
  }

  /**
   * Returns the finished corpus.
   *
   * @throws DataError when nothing was added
   */
  finish(): Corpus {
    if (this.size === 0) {
      throw new DataError(`holds no ${this.#noun}`, {
        file: this.#file,
        help: 'was the file written completely?',
      });
    }
    return new Corpus(this.#ids.trim(), this.#texts.trim());
  }

  #place(row: number): string {
    const { name: file, inMemory } = this.#files.findLast(({ firstRow }) => firstRow <= row)!;
    const number = this.#numbers[row]!;
    if (inMemory) return `in ${placeText({ file, item: number })}`;
    if (number === 0) return `in row ${row + 1}`;
    return file === this.#file ? `in line ${number}` : `in ${placeText({ file, line: number })}`;
  }
}

/** Joins title and text with a space, or returns the one that is not empty: the text that is encoded and searched. */
export function joinTitle(title: string | undefined, text: string): string {
  if (title === undefined || title === '') return text;
  return text === '' ? title : `${title} ${text}`;
}

/** Formats a string for a message: quoted, escaped and shortened to 60 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}
