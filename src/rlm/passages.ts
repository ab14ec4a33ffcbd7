import type { Corpus } from '../data/corpus.ts';
import { ShapeError } from '../util/errors.ts';

/** Passages that a language model may read, and the document that each comes from. */
export interface Passages {
  /** Number of passages N. */
  readonly size: number;
  /** Returns the id of a passage. */
  id(row: number): string;
  /** Returns the text of a passage, its title included. */
  text(row: number): string;
  /** Returns the id of the document that a passage was cut from; the id of the passage where it is a whole document. */
  document(row: number): string;
}

/**
 * Makes passages of a corpus.
 *
 * @param documentOf  returns the id of the document of a row; default the id of the row. `documentByPrefix(':')` suits ids such as
 *   `Snow-man:2`
 */
export const passagesOf = (
  corpus: Corpus,
  documentOf: (row: number) => string = (row) => corpus.id(row),
): Passages => ({
  size: corpus.size,
  id: (row) => corpus.id(row),
  text: (row) => corpus.text(row),
  document: documentOf,
});

/** Returns the part of an id before the last `mark`; the whole id where the mark is absent. */
export function documentByPrefix(mark: string): (id: string) => string {
  if (mark === '') throw new ShapeError('the mark between the ids of a document and of its passage is empty');
  return (id) => {
    const at = id.lastIndexOf(mark);
    return at < 0 ? id : id.slice(0, at);
  };
}
