import { idsDigest, readDocumentIds } from '../data/document-ids.ts';
import type { TextDocument } from '../data/text-corpus.ts';
import { count, plural } from '../util/format.ts';
import { type NoteListener, option, tellNote } from '../util/option-name.ts';
import type { OptionTable } from '../util/option-table.ts';
import type { Passages } from './passages.ts';

/** Option that keeps documents away from every query, such as the articles of an evaluation. */
export const EXCLUSION_OPTIONS = {
  /** File with documents that are never retrieved: records with ids, or a text file with one id a line. Default none. */
  excludeDocuments: {
    type: 'text',
    value: 'file',
    nonEmpty: true,
    group: 'Passages',
    help: 'documents that are never retrieved, such as the articles of an evaluation: a file of records with a column id, or of one id a line',
  },
} as const satisfies OptionTable;

/**
 * Reads the documents that are left out, and notes how many of a collection they are.
 *
 * @param file  value of the option; undefined for none
 * @throws DataError for a file that cannot be read or has no id
 */
export async function excludedDocuments(
  file: string | undefined,
  passages: Passages,
  onNote: NoteListener | undefined,
): Promise<ReadonlySet<string>> {
  if (file === undefined) return new Set();
  const ids = await readDocumentIds(file);
  const found = new Set<string>();
  let rows = 0;
  for (let row = 0; row < passages.size; row++) {
    const document = passages.document(row);
    if (!ids.has(document)) continue;
    found.add(document);
    rows += 1;
  }
  const of = `${option('excludeDocuments', file)}: ${found.size === 0 ? 'none' : count(found.size)} of ${plural(ids.size, 'document')}`;
  tellNote(
    onNote,
    `${of} ${found.size === 1 ? 'is' : 'are'} among the passages${rows > 0 ? `; ${plural(rows, 'passage')} left out` : ''}`,
  );
  return ids;
}

/** Documents without those that are left out. */
export class RemainingDocuments {
  /** Name of the text that remains, for the manifest of what is made of it. */
  readonly name: string;
  private readonly ids: ReadonlySet<string>;
  private readonly file: string;

  private constructor(ids: ReadonlySet<string>, file: string, name: string) {
    this.ids = ids;
    this.file = file;
    this.name = name;
  }

  /**
   * Reads the documents that are left out.
   *
   * @param file  value of the option
   * @param name  name of the whole text
   */
  static async read(file: string, name: string): Promise<RemainingDocuments> {
    const ids = await readDocumentIds(file);
    return new RemainingDocuments(
      ids,
      file,
      `${name} without ${plural(ids.size, 'document')} (${idsDigest(ids)})`,
    );
  }

  /** Streams the documents that remain, and notes at the end how many were left out. */
  async *of(documents: AsyncIterable<TextDocument>, onNote?: NoteListener): AsyncGenerator<TextDocument> {
    let left = 0;
    try {
      for await (const document of documents) {
        if (this.ids.has(document.id)) left += 1;
        else yield document;
      }
    } finally {
      // A reader that has enough stops before the end.
      const found = left === 0 ? 'none' : count(left);
      const of = `${option('excludeDocuments', this.file)}: ${found} of ${plural(this.ids.size, 'document')}`;
      tellNote(onNote, `${of} left out of the text`);
    }
  }
}
