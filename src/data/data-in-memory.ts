import { UsageError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';
import type { Qrels } from './examples.ts';
import type { PairRecord } from './pairs.ts';
import { describe } from './record.ts';
import { isRecords, type Records } from './records.ts';

interface Named {
  /** Name of the data, for notes and for the card of the model. Default `(memory)`. */
  name?: string | undefined;
}

/**
 * Training pairs from memory: queries with the passages that answer them.
 *
 * The sources are read in the order dev, test, pairs. A split that is not given is held out of `pairs` by a
 * hash of the query, 5 % of the queries each.
 */
export interface PairData extends Named {
  /** Training pairs. */
  pairs: Records<PairRecord>;
  /** Pairs to evaluate on during training. Default: held out of `pairs`. */
  dev?: Records<PairRecord> | undefined;
  /** Pairs of the split test. Default: held out of `pairs`. */
  test?: Records<PairRecord> | undefined;
}

/** Document or query of {@link JudgedData}. Ids are unique among the documents and among the queries. */
export type TextRecord = (
  | { readonly id: string | number | bigint }
  | { readonly _id: string | number | bigint }
) & {
  readonly text: string;
  /** Title, put before the text with a space between. */
  readonly title?: string | null | undefined;
};

/** Relevance judgement, like one line of a qrels file. */
export interface JudgementRecord {
  /** Id of a query. */
  readonly queryId: string | number | bigint;
  /** Id of a document. */
  readonly docId: string | number | bigint;
  /** Relevance grade; above 0 the document answers the query. Default 1. */
  readonly grade?: number | bigint | undefined;
}

/**
 * Documents, queries and relevance judgements from memory, like corpus, queries and qrels of a BEIR folder.
 * They are read in this order, judgements split by split.
 */
export interface JudgedData extends Named {
  /** Documents to search. */
  documents: Records<TextRecord>;
  /** Queries of all splits. */
  queries: Records<TextRecord>;
  /** Judgements by split (`train`, `dev`, `test`), as records or as a map of maps: query id → document id → grade. */
  judgements: Readonly<Record<string, Records<JudgementRecord> | Qrels>>;
  /** Answers to the queries in words, for methods that need them. Default none. */
  answers?: Records<AnswersRecord> | undefined;
}

/** Answers to a query of {@link JudgedData}. */
export type AnswersRecord = (
  | { readonly id: string | number | bigint }
  | { readonly _id: string | number | bigint }
) & {
  /** Answers, the preferred one first. */
  readonly answers: string | readonly string[];
};

/** Documents alone, for methods that need no queries (`crop`). */
export interface TextData extends Named {
  /** Texts, or records with `text` and optionally `title` and `id`. Ids are kept for language models only. */
  texts: Records<
    | string
    | {
        readonly text: string;
        readonly title?: string | null | undefined;
        readonly id?: string | number | bigint | undefined;
      }
  >;
}

/** Pair of texts with a similarity score, for the method `scored-pairs`. */
export interface ScoredPairRecord {
  /** First text. */
  readonly sentence1: string;
  /** Second text. */
  readonly sentence2: string;
  /** Similarity of the two texts. */
  readonly score: number | bigint;
}

/**
 * Scored pairs from memory. A split that is not given is held out of `scoredPairs` by a hash of the first
 * text, 5 % each.
 */
export interface ScoredPairData extends Named {
  /** Training pairs. */
  scoredPairs: Records<ScoredPairRecord>;
  /** Pairs to evaluate on during training. Default: held out of `scoredPairs`. */
  dev?: Records<ScoredPairRecord> | undefined;
  /** Pairs of the split test. Default: held out of `scoredPairs`. */
  test?: Records<ScoredPairRecord> | undefined;
}

/** Data from memory, instead of the path of a file or folder. */
export type DataInMemory = PairData | JudgedData | TextData | ScoredPairData;

/** Default name of data from memory, also in the `settings.json` of a run. */
export const IN_MEMORY = '(memory)';

/** Fields of data from memory, by the field that marks each kind. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  pairs: ['pairs', 'dev', 'test'],
  documents: ['documents', 'queries', 'judgements', 'answers'],
  texts: ['texts'],
  scoredPairs: ['scoredPairs', 'dev', 'test'],
};

const FORMS =
  'give { pairs, dev?, test? }, { documents, queries, judgements: { train, dev? }, answers? }, { texts } or { scoredPairs, dev?, test? }';

/**
 * Checks the fields of data from memory.
 *
 * @throws UsageError for data of no known kind, with fields of two kinds, or with a field that is missing or
 *   misspelt
 */
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
  const missing = FIELDS[kind]!.find(
    (name) => !['dev', 'test', 'answers'].includes(name) && !given.includes(name),
  );
  if (missing !== undefined) throw new UsageError(`data with ${kind} needs ${missing} too`, { help: FORMS });
}
