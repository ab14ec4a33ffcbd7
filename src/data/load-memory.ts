import { DataError, UsageError } from '../util/errors.ts';
import { type Answers, readAnswers } from './answers.ts';
import { onBadLine } from './bad-rows.ts';
import { addRecords, judgedColumns, judgedSplit } from './beir.ts';
import { contentFingerprint, numbersOf } from './content-fingerprint.ts';
import { type Corpus, CorpusBuilder } from './corpus.ts';
import {
  checkDataInMemory,
  type DataInMemory,
  IN_MEMORY,
  type JudgedData,
  type JudgementRecord,
  type PairData,
} from './data-in-memory.ts';
import type { Qrels } from './examples.ts';
import type { ReadingOptions } from './load-options.ts';
import { readPairs } from './pairs.ts';
import { collectJudgements, judgementsOf } from './qrels.ts';
import { describe } from './record.ts';
import { isRecords, type RecordSource, recordsInMemory } from './records.ts';
import {
  normaliseSplits,
  type RetrievalData,
  retrievalData,
  type Split,
  splitFilter,
} from './retrieval-data.ts';

/**
 * Reads pairs, or documents with queries and judgements, from memory. Each source is read once, in the order
 * given at its type. Texts are held once, as UTF-8 (see `Corpus`).
 *
 * @throws UsageError for data of another kind
 * @throws DataError (`pairs[3]: …`) for an invalid record
 */
export async function retrievalDataInMemory(
  data: DataInMemory,
  options: ReadingOptions = {},
): Promise<RetrievalData> {
  checkDataInMemory(data);
  if ('pairs' in data) return await pairsInMemory(data, options);
  if ('documents' in data) return await judgedInMemory(data, options);
  const [found, method] = 'texts' in data ? ['texts', 'crop'] : ['scoredPairs', 'scored-pairs'];
  throw new UsageError(`data with ${found} has no queries with relevant documents`, {
    help: `give { pairs } or { documents, queries, judgements }, or train on it with method: '${method}'`,
  });
}

async function pairsInMemory(data: PairData, options: ReadingOptions): Promise<RetrievalData> {
  const { name = IN_MEMORY } = data;
  const read = await readPairs(splitSources('pairs', data, options), 'pairs', options);
  // The corpus is part of the fingerprint, wherever it comes from.
  const { answers } = read;
  return retrievalData({
    ...{ ...read, name, path: name, fingerprint: judgedFingerprint(read) },
    answers: answers?.of,
  });
}

async function judgedInMemory(data: JudgedData, options: ReadingOptions): Promise<RetrievalData> {
  const { name = IN_MEMORY, judgements } = data;
  if (options.documents) {
    throw new UsageError(`data with documents of its own cannot take those of ${options.documents.name}`, {
      help: 'give { pairs }, or a folder with queries and judgements',
    });
  }
  if (typeof judgements !== 'object' || judgements === null || isRecords(judgements)) {
    throw new UsageError(`judgements should be an object of splits, found ${describe(judgements)}`, {
      help: 'judgements: { train: [{ queryId, docId, grade }, …], dev: [ … ] }',
    });
  }
  const given = Object.entries(judgements).filter(([, records]) => records !== undefined);
  const bySplit = normaliseSplits(new Map(given.map((entry) => [entry[0], entry])));
  const isWanted = splitFilter(options.splits, bySplit.keys(), name);
  const columns = judgedColumns('documents', options);
  const read = async (file: 'documents' | 'queries', noun: string): Promise<Corpus> => {
    const builder = new CorpusBuilder({ file, noun });
    const { badRows } = options;
    await addRecords(builder, recordsInMemory(file, data[file], options), { columns, badRows });
    return builder.finish();
  };
  const corpus = await read('documents', 'document');
  const queries = await read('queries', 'query');
  columns.check(name);
  const splits = new Map<string, Split | DataError>();
  const notes: string[] = [];
  for (const [split, [field, records]] of bySplit) {
    const file = `judgements.${field}`;
    const source = recordsInMemory(
      file,
      records instanceof Map ? judgementRecords(records) : records,
      options,
    );
    const found = () => {
      const judgements = judgementsOf(
        source(),
        judgedColumns('judgements', options),
        onBadLine(options.badRows),
      );
      return collectJudgements([{ file, judgements }], { ...options, queries, corpus });
    };
    splits.set(split, await judgedSplit(split, found, options, isWanted(split) ? notes : []));
  }
  const answered =
    data.answers !== undefined
      ? await readAnswers([recordsInMemory('answers', data.answers, options)], queries, options)
      : undefined;
  notes.push(...(answered?.notes ?? []));
  const answers = answered?.answers;
  const fingerprint = judgedFingerprint({ corpus, queries, splits, answers });
  for (const split of bySplit.keys()) if (!isWanted(split)) splits.delete(split);
  return retrievalData({
    name,
    path: name,
    corpus,
    queries,
    splits,
    fingerprint,
    notes,
    answers: options.answers ? answers?.of : undefined,
  });
}

/**
 * The sources of data with splits of its own: `dev` and `test` where they are given, and the main field as `train`. In this order, in
 * which the files of a folder are read too, so that the rows are the same.
 */
export function splitSources(
  field: 'pairs' | 'scoredPairs',
  data: { readonly [K in typeof field | 'dev' | 'test']?: unknown },
  options: ReadingOptions,
): Map<string, RecordSource[]> {
  const fields = { dev: 'dev', test: 'test', train: field } as const;
  const given = Object.entries(fields).filter(([, name]) => data[name] !== undefined);
  return new Map(given.map(([split, name]) => [split, [recordsInMemory(name, data[name], options)]]));
}

/** The records of qrels. */
function* judgementRecords(qrels: Qrels): Generator<JudgementRecord> {
  for (const [queryId, grades] of qrels) for (const [docId, grade] of grades) yield { queryId, docId, grade };
}

function judgedFingerprint({
  corpus,
  queries,
  splits,
  answers,
}: {
  corpus: Corpus;
  queries: Corpus;
  splits: ReadonlyMap<string, Split | DataError>;
  answers?: Answers | undefined;
}): string {
  const numbers = new Map(
    [...splits].map(([name, split]) => [name, split instanceof DataError ? [] : numbersOf(split)]),
  );
  if (answers) numbers.set('/answers', [answers.bytes]);
  return contentFingerprint([corpus, queries], numbers);
}
