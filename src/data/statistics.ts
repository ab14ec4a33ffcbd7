import type { AnyData, DataKind } from './any-data.ts';
import type { Corpus } from './corpus.ts';
import type { RowLists, TrainingExamples } from './examples.ts';
import { countPieces, type ScriptShares, scriptShares } from './pieces.ts';
import type { RetrievalData } from './retrieval-data.ts';
import { TextIdentity } from './text-identity.ts';

/** Largest number of texts of a side whose characters are looked at; evenly spaced. */
const SAMPLE = 5000;

/** Lengths of texts. */
export interface LengthStatistics {
  /** Mean length. */
  readonly mean: number;
  /** Median length. */
  readonly median: number;
  /** 95th percentile of the lengths. */
  readonly p95: number;
  /** Greatest length. */
  readonly max: number;
}

/** Judgements of a split. */
export interface SplitStatistics {
  /** Queries with at least one judgement; of scored pairs, the pairs. */
  readonly queries: number;
  /** Judgements of any grade. */
  readonly judgements: number;
  /** Judgements of a grade above 0. */
  readonly relevant: number;
  /** Documents given as negatives, or judged 0 or less, of queries with a positive. */
  readonly negatives: number;
}

/** Statistics of the training split. */
export interface TrainingStatistics {
  /** Queries with at least one positive; of scored pairs, the pairs. */
  readonly queries: number;
  /** Distinct documents that are the positive of some query; copies count once. */
  readonly positiveDocuments: number;
  /** Mean number of queries for which a positive document is right: positives over distinct ones. */
  readonly queriesPerPositive: number;
  /** Mean number of negatives that the data gives for a query. */
  readonly negativesPerQuery: number;
  /** Share of the queries with a positive and a negative that a teacher has scored. */
  readonly scoredRatio: number;
  /** Queries that have the text of one of their own positives. */
  readonly equalToPositive: number;
}

/** Statistics of a data set, as `undrift data stats` prints them. */
export interface DataStatistics {
  /** Name of the data set. */
  readonly name: string;
  /** Kind of the data. */
  readonly kind: DataKind;
  /** Short SHA-256 of the bytes of all files. */
  readonly fingerprint: string;
  /** Number of documents. */
  readonly documents: number;
  /** Number of queries of all splits. */
  readonly queries: number;
  /** Splits by name. */
  readonly splits: Readonly<Record<string, SplitStatistics>>;
  /** Training split; null where there is none. */
  readonly training: TrainingStatistics | null;
  /** Documents with the same text as an earlier one. */
  readonly duplicateDocuments: number;
  /** Queries with the same text as an earlier one. */
  readonly duplicateQueries: number;
  /** Training queries whose text is a query of another split too, by this split. Splits without any are left out. */
  readonly sharedQueries: Readonly<Record<string, number>>;
  /** Lengths of the documents in words. A word is a run of bytes that are not ASCII white space. */
  readonly documentWords: LengthStatistics;
  /** Lengths of the queries in words; null where there are none. */
  readonly queryWords: LengthStatistics | null;
  /** Lengths of the documents in pieces, of which a tokenizer of words makes one token each at least. See `countPieces`. */
  readonly documentPieces: LengthStatistics;
  /** Lengths of the queries in pieces; null where there are none. */
  readonly queryPieces: LengthStatistics | null;
  /** Share of the letters of the documents by script, the largest first. */
  readonly scripts: ScriptShares;
  /** Memory of all texts, in bytes. */
  readonly bytes: number;
  /** Notes of the reader. */
  readonly notes: readonly string[];
}

/** Counts the documents, queries and judgements of a data set, and measures its texts. */
export function dataStatistics({ kind, name, corpus, fingerprint, notes, data }: AnyData): DataStatistics {
  const queries = data?.queries;
  const identity = identityOf(corpus, queries);
  const examples = data && trainingExamples(data, kind);
  return {
    name,
    kind,
    fingerprint,
    documents: corpus.size,
    queries: queries?.size ?? 0,
    splits: Object.fromEntries(
      (data?.splits ?? []).map((split) => [split, splitStatistics(data!, kind, split)]),
    ),
    training: examples ? trainingStatistics(examples, identity) : null,
    duplicateDocuments: countLater(corpus.size, (row) => identity.copies(row)),
    duplicateQueries: countLater(queries?.size ?? 0, (row) => identity.twins(row)),
    sharedQueries:
      data && examples
        ? Object.fromEntries(
            [...sharedTrainingQueries({ data, kind }, identity)].map(([split, rows]) => [split, rows.length]),
          )
        : {},
    documentWords: wordLengths(corpus),
    queryWords: queries ? wordLengths(queries) : null,
    documentPieces: pieceLengths(corpus),
    queryPieces: queries ? pieceLengths(queries) : null,
    scripts: scriptShares(sampleOf(corpus)),
    bytes: corpus.bytes + (queries?.bytes ?? 0),
    notes,
  };
}

/** Decides which texts of a data set are the same. */
export const identityOf = (corpus: Corpus, queries: Corpus | undefined): TextIdentity =>
  new TextIdentity({
    documents: corpus.size,
    document: (row) => corpus.text(row),
    queries: queries?.size ?? 0,
    query: (row) => queries!.text(row),
  });

/** Returns the rows of training queries whose text is a query of another split too: split → rows. */
export function sharedTrainingQueries(
  { data, kind }: { data: RetrievalData; kind: DataKind },
  identity: Pick<TextIdentity, 'twins'>,
): Map<string, number[]> {
  const found = new Map<string, number[]>();
  const trained = [...new Set(queryRows(data, kind, 'train'))];
  for (const split of data.splits) {
    if (split === 'train') continue;
    const rows = new Set(queryRows(data, kind, split));
    const isShared = (row: number) => rows.has(row) || identity.twins(row).some((twin) => rows.has(twin));
    const shared = trained.filter(isShared);
    if (shared.length > 0) found.set(split, shared);
  }
  return found;
}

/** Returns the rows of the queries of a split; of scored pairs, the row of each pair's first text. */
function queryRows(data: RetrievalData, kind: DataKind, split: string): number[] {
  if (kind === 'scored-pairs') return [...data.examples(split).queryRows];
  return [...data.qrels(split)].filter(([, grades]) => grades.size > 0).map(([id]) => data.queries.row(id)!);
}

function splitStatistics(data: RetrievalData, kind: DataKind, split: string): SplitStatistics {
  if (kind === 'scored-pairs') {
    const pairs = data.examples(split).queryRows.length;
    return { queries: pairs, judgements: pairs, relevant: pairs, negatives: 0 };
  }
  const lists = [...data.qrels(split).values()].filter((grades) => grades.size > 0);
  const grades = lists.flatMap((list) => [...list.values()]);
  const relevant = grades.filter((grade) => grade > 0).length;
  const negatives = relevant === 0 ? 0 : (data.examples(split).negatives?.rows.length ?? 0);
  return { queries: lists.length, judgements: grades.length, relevant, negatives };
}

/** Returns the examples of the split `train`; undefined where there is no such split, or no positive in it. */
function trainingExamples(data: RetrievalData, kind: DataKind): TrainingExamples | undefined {
  if (!data.splits.includes('train') || splitStatistics(data, kind, 'train').relevant === 0) return undefined;
  return data.examples('train');
}

function trainingStatistics(
  { queryRows: rows, positives, negatives }: TrainingExamples,
  identity: TextIdentity,
): TrainingStatistics {
  const distinct = new Set<number>();
  for (const row of positives.rows) distinct.add(identity.copies(row)[0] ?? row);
  const isScored = (list: RowLists | undefined, i: number): boolean =>
    list?.scores?.subarray(list.offsets[i], list.offsets[i + 1]).some((score) => !Number.isNaN(score)) ??
    false;
  let [scored, equal] = [0, 0];
  for (const [i, row] of rows.entries()) {
    if (isScored(positives, i) && isScored(negatives, i)) scored++;
    const own = new Set(identity.ownDocuments(row));
    const list = positives.rows.subarray(positives.offsets[i], positives.offsets[i + 1]);
    if (own.size > 0 && list.some((document) => own.has(document))) equal++;
  }
  return {
    queries: rows.length,
    positiveDocuments: distinct.size,
    queriesPerPositive: rounded(positives.rows.length / distinct.size),
    negativesPerQuery: rounded((negatives?.rows.length ?? 0) / rows.length),
    scoredRatio: rounded(scored / rows.length),
    equalToPositive: equal,
  };
}

/** Counts the rows that are the same as an earlier row. */
function countLater(rows: number, same: (row: number) => ArrayLike<number>): number {
  let later = 0;
  for (let row = 0; row < rows; row++) if ((same(row)[0] ?? row) !== row) later++;
  return later;
}

/** Returns texts of a corpus, evenly spaced. */
export function* sampleOf(corpus: Corpus, most = SAMPLE): Generator<string> {
  const size = Math.min(most, corpus.size);
  for (let i = 0; i < size; i++) yield corpus.text(Math.floor((i * corpus.size) / size));
}

const wordLengths = (corpus: Corpus): LengthStatistics =>
  lengthStatistics(Uint32Array.from({ length: corpus.size }, (_, row) => countWords(corpus.utf8(row))));

const pieceLengths = (corpus: Corpus): LengthStatistics =>
  lengthStatistics(Uint32Array.from(sampleOf(corpus), countPieces));

/** Computes statistics of lengths, which are sorted in place. At least one is needed. */
export function lengthStatistics(lengths: Uint32Array): LengthStatistics {
  lengths.sort();
  const quantile = (q: number) => lengths[Math.min(lengths.length - 1, Math.floor(q * lengths.length))]!;
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  return { mean: rounded(mean), median: quantile(0.5), p95: quantile(0.95), max: lengths.at(-1)! };
}

const rounded = (value: number): number => Number(value.toFixed(2));

/** Counts runs of bytes that are not ASCII space, without making a string. */
function countWords(utf8: Uint8Array): number {
  let words = 0;
  let inWord = false;
  for (const byte of utf8) {
    const isSpace = byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
    if (!isSpace && !inWord) words++;
    inWord = !isSpace;
  }
  return words;
}
