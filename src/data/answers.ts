import { attemptRow } from './bad-rows.ts';
import { ColumnChoice } from './column-choice.ts';
import { type Corpus, quote } from './corpus.ts';
import type { ReadingOptions } from './load-options.ts';
import { type DataRecord, describe, idField, wrongType } from './record.ts';
import type { RecordSource } from './records.ts';

/** Returns the answers to a query, the preferred one first; empty for a query without any. */
export type AnswersOf = (queryRow: number) => readonly string[];

/** Collects the answers to queries, each answer of a query once. */
export class Answers {
  readonly #lists = new Map<number, string[]>();

  /** Adds answers to a query. */
  add(queryRow: number, answers: readonly string[]): void {
    const list = this.#lists.get(queryRow) ?? [];
    for (const answer of answers) if (!list.includes(answer)) list.push(answer);
    if (list.length > 0) this.#lists.set(queryRow, list);
  }

  /** All answers as bytes, for the fingerprint of data without files. */
  get bytes(): Uint8Array {
    const lists = [...this.#lists].sort(([a], [b]) => a - b);
    return Buffer.from(JSON.stringify(lists));
  }

  /** Answers by query row. */
  readonly of: AnswersOf = (queryRow) => this.#lists.get(queryRow) ?? [];
}

/** Note on answers that belong to no query of the data; empty where there are none. */
const unknownNote = (count: number): string[] =>
  count === 0 ? [] : [`left out the answers to ${count} unknown quer${count === 1 ? 'y' : 'ies'}`];

/**
 * Reads the answers to queries by id: records with `_id` and `answers`. Answers to unknown queries are left out, with a note.
 *
 * @throws DataError for a record without an id or answers, or with a field of the wrong type
 */
export async function readAnswers(
  sources: readonly RecordSource[],
  queries: Corpus,
  { badRows }: Pick<ReadingOptions, 'badRows'>,
): Promise<{ answers: Answers; notes: string[] }> {
  const answers = new Answers();
  const columns = new ColumnChoice('answers');
  let unknown = 0;
  for (const records of sources) {
    for await (const record of records(columns.select)) {
      attemptRow(badRows, () => {
        const id = columns.first(record, 'id');
        if (id === undefined) throw columns.missing(record, 'id');
        const name = columns.find(record, 'answers');
        if (name === undefined) throw columns.missing(record, 'answers');
        const row = queries.row(idField(record, id));
        const texts = answerTexts(record, name);
        if (row === undefined) unknown++;
        else answers.add(row, texts);
      });
    }
  }
  return { answers, notes: unknownNote(unknown) };
}

/**
 * Reads a field that holds one answer, a list of answers, or, as in SQuAD on the hub, `{"text": […]}`. Blank answers are left out.
 *
 * @throws DataError for a value of another type
 */
export function answerTexts(record: DataRecord, name: string): string[] {
  const value = record.fields[name];
  const isNested = typeof value === 'object' && value !== null && !Array.isArray(value) && 'text' in value;
  const given = isNested ? value.text : value;
  const list: unknown[] = Array.isArray(given) ? given : [given];
  const wrong = list.find((item) => typeof item !== 'string');
  if (wrong !== undefined || list.includes(undefined)) {
    const wanted = 'an answer or a list of answers';
    if (!Array.isArray(given)) throw wrongType(record, name, wanted, given);
    throw wrongType(record, name, `${wanted} (each a string, not ${describe(wrong)})`, given);
  }
  return (list as string[]).filter((answer) => answer.trim() !== '');
}

/** Help where data has no answers. */
export const ANSWERS_HELP =
  `add a file answers.jsonl beside queries.jsonl, one line a query (${'{"_id": …, "answers": ["…"]}'}), or a column ${quote('answers')} ` +
  'to records of pairs';
