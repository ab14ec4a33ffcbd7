import { CorpusBuilder } from '../data/corpus.ts';
import { passagesOfDocument } from '../data/passages.ts';
import { streamTextCorpus, type TextCorpusOptions } from '../data/text-corpus.ts';
import { type Passages, passagesOf } from './passages.ts';

/**
 * Reads documents and cuts them into passages, in whole sentences where these fit. A passage has the id of its document, with `#` and its
 * number from 1 where the document has several, and begins with the title of the document.
 *
 * @param path  corpus of texts in any layout that `streamTextCorpus` reads
 * @param options.words  largest number of words of a passage, without the title
 * @throws DataError where there is no document
 */
export async function loadPassages(
  path: string,
  { words, ...reading }: TextCorpusOptions & { readonly words: number },
): Promise<Passages> {
  const builder = new CorpusBuilder({ file: path, noun: 'passage' });
  const documents: string[] = [];
  for await (const document of streamTextCorpus(path, reading)) {
    const { id, title } = document;
    for (const passage of passagesOfDocument(document, words)) {
      builder.add({ ...passage, ...(title !== undefined && { title }) });
      documents.push(id);
    }
  }
  return passagesOf(builder.finish(), (row) => documents[row]!);
}
