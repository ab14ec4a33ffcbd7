import { UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';
import type { Qrels } from './examples.ts';
import type { PairRecord } from './pairs.ts';
import { describe } from './record.ts';

/** Records one after the other: an array, a generator, a cursor of a database. Read once, and never held as a whole. */
export type Records<T> = Iterable<T> | AsyncIterable<T>;

interface Named {
  /** Name of the data, for notes and for the card of the model. Default `(memory)`. */
  name?: string | undefined;
}

/**
 * Queries with the passages that answer them. Read in the order dev, test, pairs. A split that is not given is held out of
 * `pairs` by a hash of the query: 5 % of the queries each.
 */
export interface PairData extends Named {
  /** The training pairs. */
  pairs: Records<PairRecord>;
  dev?: Records<PairRecord> | undefined;
  test?: Records<PairRecord> | undefined;
}

/** A document or a query of {@link JudgedData}; ids are unique among the documents, and among the queries. */
export type TextRecord = (
  | { readonly id: string | number | bigint }
  | { readonly _id: string | number | bigint }
) & {
  readonly text: string;
  /** Put before the text, with a space between. */
  readonly title?: string | null | undefined;
};

/** One relevance judgement (one line of a qrels file). */
export interface JudgementRecord {
  readonly queryId: string | number | bigint;
  readonly docId: string | number | bigint;
  /** Above 0: the document answers the query. Default 1. */
  readonly grade?: number | bigint | undefined;
}

/**
 * Documents, queries, and judgements of which document answers which query: what a BEIR folder holds as corpus, queries and qrels.
 * Read in this order; judgements split by split.
 */
export interface JudgedData extends Named {
  documents: Records<TextRecord>;
  /** The queries of all splits. */
  queries: Records<TextRecord>;
  /** Judgements by split (`train`, `dev`, `test`), as records or as a map of maps: query id → document id → grade. */
  judgements: Readonly<Record<string, Records<JudgementRecord> | Qrels>>;
}

/** Documents alone, for methods that need no queries (`crop`). */
export interface TextData extends Named {
  /** Texts, or records with `text` and perhaps `title`. */
  texts: Records<string | { readonly text: string; readonly title?: string | null | undefined }>;
}

/** A pair of texts and how similar they are, for the method `scored-pairs`. */
export interface ScoredPairRecord {
  readonly sentence1: string;
  readonly sentence2: string;
  readonly score: number | bigint;
}

/** Scored pairs; a split that is not given is held out of `scoredPairs` by a hash of the first text, 5 % each. */
export interface ScoredPairData extends Named {
  scoredPairs: Records<ScoredPairRecord>;
  dev?: Records<ScoredPairRecord> | undefined;
  test?: Records<ScoredPairRecord> | undefined;
}

/** Data that a program gives from memory, instead of the path of a file or folder. */
export type DataInMemory = PairData | JudgedData | TextData | ScoredPairData;

/** The name of data from memory that was given none, also in the `settings.json` of a run. */
export const IN_MEMORY = '(memory)';

/** What may stand in data from memory, by the field that says of what kind it is. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  pairs: ['pairs', 'dev', 'test'],
  documents: ['documents', 'queries', 'judgements'],
  texts: ['texts'],
  scoredPairs: ['scoredPairs', 'dev', 'test'],
};

const FORMS =
  'give { pairs, dev?, test? }, { documents, queries, judgements: { train, dev? } }, { texts } or { scoredPairs, dev?, test? }';

/** @throws UsageError for data of no known kind, with fields of two kinds, or with a field that is missing or misspelt */
export function checkDataInMemory(data: DataInMemory): void {
  if (typeof data !== 'object' || data === null || isRecords(data)) {
    throw new UsageError(`data should be a path or an object, found ${describe(data)}`, { help: FORMS });
  }
  const given = Object.entries(data).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  const kind = Object.keys(FIELDS).find((name) => given.includes(name));
  if (kind === undefined) {
    const [first = ''] = given;
    const found = given.length === 0 ? 'an empty object' : `fields ${given.join(', ')}`;
    throw new UsageError(`data of no known kind: ${found}.${didYouMean(first, Object.keys(FIELDS))}`, {
      help: FORMS,
    });
  }
  const known = [...FIELDS[kind]!, 'name'];
  const unknown = given.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`data with ${kind} takes no field ${unknown}.${didYouMean(unknown, known)}`, {
      help: FORMS,
    });
  }
  const missing = FIELDS[kind]!.find((name) => !['dev', 'test'].includes(name) && !given.includes(name));
  if (missing !== undefined) throw new UsageError(`data with ${kind} needs ${missing} too`, { help: FORMS });
}

/** Whether a value can be read item by item. A string is not meant to be. */
export const isRecords = (value: unknown): value is Records<unknown> =>
  typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
