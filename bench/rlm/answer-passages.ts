import type { JudgedData } from '../../src/data/data-in-memory.ts';
import type { RetrievalData } from '../../src/data/retrieval-data.ts';
import { sentencesOf } from '../../src/data/sentences.ts';

const SPLITS = ['train', 'dev', 'test'] as const;

/**
 * Cuts the documents of a question set into passages of whole sentences, and keeps the questions whose first answer stands, in its words, in
 * exactly one passage of the right document: that passage is then the right one.
 *
 * @param words  words of a passage at most; a sentence that is longer is cut
 */
export function answerPassages(whole: RetrievalData, words: number): JudgedData {
  const passages = Array.from({ length: whole.corpus.size }, (_, row) =>
    packSentences(whole.corpus.text(row), words),
  );
  const idOf = (row: number, part: number) => `${whole.corpus.id(row)}#${part}`;
  const kept = new Set<number>();
  const judgements = Object.fromEntries(
    SPLITS.map((split) => {
      const { queryRows, positives } = whole.examples(split);
      const records = [...queryRows.entries()].flatMap(([i, query]) => {
        const answer = plainText(whole.answers!(query)[0] ?? '');
        const right = positives.rows[positives.offsets[i]!]!;
        const found = passages[right]!.flatMap((text, part) =>
          answer !== '' && plainText(text).includes(answer) ? [part] : [],
        );
        if (found.length !== 1) return [];
        kept.add(query);
        return [{ queryId: whole.queries.id(query), docId: idOf(right, found[0]!) }];
      });
      return [split, records];
    }),
  );
  return {
    name: whole.name,
    documents: passages.flatMap((texts, row) => texts.map((text, part) => ({ id: idOf(row, part), text }))),
    queries: [...kept].map((row) => ({ id: whole.queries.id(row), text: whole.queries.text(row) })),
    judgements,
    answers: [...kept].map((row) => ({ id: whole.queries.id(row), answers: whole.answers!(row) })),
  };
}

/** Packs sentences into passages of at most so many words. */
function packSentences(text: string, words: number): string[] {
  const passages: string[][] = [];
  for (const sentence of sentencesOf(text)) {
    const own = sentence.split(/\s+/);
    for (let start = 0; start < own.length; start += words) {
      const part = own.slice(start, start + words);
      const last = passages.at(-1);
      if (last && last.length + part.length <= words) last.push(...part);
      else passages.push(part);
    }
  }
  return passages.map((passage) => passage.join(' '));
}

/** Text in lower case, with single spaces and without punctuation at its ends, surrounded by spaces. */
function plainText(text: string): string {
  const words = text.toLowerCase().split(/[^\p{L}\p{N}]+/u);
  const plain = words.filter((word) => word !== '').join(' ');
  return plain === '' ? '' : ` ${plain} `;
}
