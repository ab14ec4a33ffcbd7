import { DataError } from '../util/errors.ts';
import { attemptRow, type BadRows } from './bad-rows.ts';
import { type CorpusRecord, joinTitle, quote } from './corpus.ts';
import { DigestSet } from './digest-set.ts';
import { type DataRecord, placeOf } from './record.ts';

/** Text of a stream, with its place. */
export interface StreamedText extends CorpusRecord {
  /** File of the text. */
  readonly file: string;
}

/** Numbers distinct texts in the order of their first occurrence: `d0`, `d1`, … */
export class DistinctTexts {
  readonly #seen = new DigestSet();
  readonly #prefix: string;

  /** @param prefix  letter before the numbers */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Number of distinct texts. */
  get size(): number {
    return this.#seen.size;
  }

  /** Picks the texts of a record that have not occurred before. */
  take(
    texts: readonly { readonly title?: string | undefined; readonly text: string }[],
    record: DataRecord,
  ): StreamedText[] {
    return texts.flatMap(({ title, text }) => {
      const id = `${this.#prefix}${this.#seen.size}`;
      return this.#seen.add(joinTitle(title, text))
        ? [{ id, title, text, ...placeOf(record), file: record.file ?? '' }]
        : [];
    });
  }
}

/**
 * Checks the ids of a stream of texts. Takes 15 to 24 bytes a text, or twice as much with `sameTextAgain`.
 *
 * @param options.noun  noun for a text in error messages
 * @param options.sameTextAgain  leave a text out whose id has occurred with the same text, as in several files of MS MARCO's queries
 * @throws DataError for an empty id, and for one that was used before
 */
export async function* withUniqueIds<T extends StreamedText>(
  texts: AsyncIterable<T>,
  {
    noun,
    badRows,
    sameTextAgain = false,
  }: { noun: string; badRows?: BadRows | undefined; sameTextAgain?: boolean },
): AsyncGenerator<T> {
  const ids = new DigestSet();
  const whole = new DigestSet();
  for await (const text of texts) {
    const isNew = attemptRow(badRows, () => {
      if (text.id === '') throw new DataError(`a ${noun} needs an id that is not empty`, text);
      if (sameTextAgain && !whole.add(`${text.id}\0${joinTitle(text.title, text.text)}`)) return false;
      if (ids.add(text.id)) return true;
      throw new DataError(`${noun} id ${quote(text.id)} was used before`, {
        ...text,
        help: 'ids must be unique: rename or remove one of the two',
      });
    });
    if (isNew) yield text;
  }
}
