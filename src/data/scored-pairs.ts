import { DataError, type Place, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { attemptRow, BadRows } from './bad-rows.ts';
import { ColumnChoice } from './column-choice.ts';
import { contentFingerprint } from './content-fingerprint.ts';
import { Corpus, quote } from './corpus.ts';
import { checkDataInMemory, type DataInMemory, IN_MEMORY } from './data-in-memory.ts';
import { DistinctTexts, type StreamedText } from './distinct-texts.ts';
import type { TrainingExamples } from './examples.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { findPairFiles } from './load.ts';
import { splitSources } from './load-memory.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { twoScores } from './pairs.ts';
import { type DataRecord, numberOf, placeOf, textField, wrongType } from './record.ts';
import { type RecordSource, recordsOfFiles } from './records.ts';
import { dataName, type RetrievalData, sortSplits } from './retrieval-data.ts';
import { SplitAssignment } from './split-assignment.ts';
import { StringTable } from './string-table.ts';

/**
 * Loads pairs of texts with a score each: JSONL, CSV or TSV (plain or gzip) or Parquet with `sentence1`, `sentence2` and
 * `score`, as a file or a folder with a file per split; or from memory, see `ScoredPairData`. Splits that are
 * not given are held out of the training split by a hash of the first text.
 *
 * The distinct first texts are the queries and the distinct second texts the corpus. Every pair is an example
 * of its own; its only positive is the second text, with the pair's score. There are no relevance judgements:
 * `qrels` throws.
 *
 * @throws DataError with file and line, or the position of the item, for a record without both texts and a score
 */
export async function loadScoredPairs(
  named: string | DataInMemory,
  options: LoadOptions = {},
): Promise<RetrievalData> {
  const badRows = new BadRows(options.skipBadRows);
  const data = await badRows.during(() => readData(named, { ...options, badRows }));
  return { ...data, notes: [...data.notes, ...badRows.notes()] };
}

async function readData(named: string | DataInMemory, options: ReadingOptions): Promise<RetrievalData> {
  if (typeof named !== 'string') return await scoredPairsInMemory(named, options);
  const path = await findData(named, options);
  const files = await findPairFiles(path);
  if (!files) {
    throw new DataError('holds no scored pairs', {
      file: path,
      help: 'a .jsonl, .jsonl.gz or .parquet file with sentence1, sentence2 and score, or a folder with train.jsonl and perhaps dev.jsonl',
    });
  }
  return { ...(await scoredPairsOfFiles(files, path, options)), name: dataName(named) };
}

/** Reads scored pairs from files by split. @throws DataError */
export async function scoredPairsOfFiles(
  files: ReadonlyMap<string, readonly string[]>,
  path: string,
  options: ReadingOptions,
): Promise<RetrievalData> {
  const log = new FileLog(options.onProgress);
  const read = await readScoredPairs(recordsOfFiles(files, log, options), path, options);
  return scoredPairs(read, { name: dataName(path), path, fingerprint: log.fingerprint() });
}

/**
 * Streams the distinct first or second texts of scored pairs, with the ids that {@link loadScoredPairs} gives them.
 *
 * Memory: 15 to 24 bytes for each distinct text.
 *
 * @throws DataError for an invalid record
 */
export async function* streamScoredTexts(
  path: string,
  files: ReadonlyMap<string, readonly string[]>,
  side: 'query' | 'document',
  { options, log }: { readonly options: ReadingOptions; readonly log: FileLog },
): AsyncGenerator<StreamedText, void> {
  const columns = new ColumnChoice('scored pairs', options.columns);
  const distinct = new DistinctTexts(side === 'query' ? 'a' : 'b');
  for (const parts of recordsOfFiles(files, log, options).values()) {
    for (const records of parts) {
      for await (const record of records(columns.select)) {
        const texts = attemptRow(options.badRows, () => {
          const { one, other } = readPair(record, columns);
          return distinct.take([{ text: side === 'query' ? one : other }], record);
        });
        if (texts) yield* texts;
      }
    }
  }
  columns.check(path);
  if (distinct.size === 0) throw noPair(path);
}

async function scoredPairsInMemory(data: DataInMemory, options: ReadingOptions): Promise<RetrievalData> {
  checkDataInMemory(data);
  if (!('scoredPairs' in data)) {
    throw new UsageError('pairs with scores are wanted', {
      help: 'give { scoredPairs: [{ sentence1, sentence2, score }, …] }',
    });
  }
  const { name = IN_MEMORY } = data;
  const read = await readScoredPairs(splitSources('scoredPairs', data, options), 'scoredPairs', options);
  const splits = [...read.splits].map(([split, { first, second, scores }]) => {
    return [split, [Int32Array.from(first), Int32Array.from(second), Float32Array.from(scores)]] as const;
  });
  const fingerprint = contentFingerprint([read.corpus, read.queries], new Map(splits));
  return scoredPairs(read, { name, path: name, fingerprint });
}

/** The distinct first texts as queries, the distinct second ones as corpus, and the pairs of each split. */
interface ReadScoredPairs {
  readonly corpus: Corpus;
  readonly queries: Corpus;
  readonly splits: ReadonlyMap<string, PairList>;
  readonly notes: readonly string[];
}

/** Reads scored pairs from sources of records. @param path  what the data is called in messages */
async function readScoredPairs(
  sources: ReadonlyMap<string, readonly RecordSource[]>,
  path: string,
  options: ReadingOptions,
): Promise<ReadScoredPairs> {
  const assignment = new SplitAssignment(sources, options);
  const columns = new ColumnChoice('scored pairs', options.columns);
  const [first, second] = [new StringTable({ indexed: true }), new StringTable({ indexed: true })];
  const lists = new Map<string, ReadPairs>();
  for (const [given, parts] of sources) {
    for (const records of parts) {
      for await (const record of records(columns.select)) {
        attemptRow(options.badRows, () => {
          const { one, other, score, split } = readPair(record, columns);
          const key = assignment.key(given, split, one, record);
          const list = lists.get(key) ?? new ReadPairs();
          list.add(first.intern(one), second.intern(other), score, record);
          lists.set(key, list);
        });
      }
    }
  }
  if (first.size === 0) throw noPair(path);
  columns.check(path);
  const splits = new Map<string, PairList>();
  for (const [name, keys] of assignment.splits(lists.keys())) {
    const parts = keys.map((key) => lists.get(key)!);
    splits.set(name, {
      first: parts.flatMap((part) => part.first),
      second: parts.flatMap((part) => part.second),
      scores: parts.flatMap((part) => part.scores),
    });
  }
  const notes = [
    ...columns.notes(),
    ...assignment.notes(path, (name) => splits.get(name)?.first.length ?? 0),
  ];
  return { corpus: numbered(second, 'b'), queries: numbered(first, 'a'), splits, notes };
}

const noPair = (path: string): DataError =>
  new DataError('holds no pair', {
    file: path,
    help: 'one object for each pair, in a file one a line: {"sentence1": …, "sentence2": …, "score": 0.8}',
  });

/** Pairs of a split as they are read. */
class ReadPairs implements PairList {
  readonly first: number[] = [];
  readonly second: number[] = [];
  readonly scores: number[] = [];
  readonly #before = new Map<number, { score: number; place: Place }>();

  /** Adds a pair. @throws DataError for a pair that had another score before */
  add(first: number, second: number, score: number, record: DataRecord): void {
    const key = first * 2 ** 26 + second;
    const before = this.#before.get(key);
    if (before && before.score !== score)
      throw twoScores([before.score, score], before.place, placeOf(record), 'the same two texts');
    if (!before) this.#before.set(key, { score, place: placeOf(record) });
    this.first.push(first);
    this.second.push(second);
    this.scores.push(score);
  }
}

/** Scored pairs behind the interface that training and evaluation use. */
function scoredPairs(
  { corpus, queries, splits, notes }: ReadScoredPairs,
  { name, path, fingerprint }: { name: string; path: string; fingerprint: string },
): RetrievalData {
  const names = sortSplits(splits.keys());
  const pick = (split: string): PairList => {
    const list = splits.get(split);
    if (list) return list;
    throw new DataError(`no split ${quote(split)}; splits present: ${names.join(', ')}`, {
      file: path,
      help: `give it pairs of its own: a file ${split}.jsonl, or { scoredPairs, ${split} } in code`,
    });
  };
  return {
    name,
    corpus,
    queries,
    splits: names,
    fingerprint,
    notes,
    examples: (split) => examples(pick(split)),
    qrels() {
      throw new DataError('scored pairs have no relevance judgements', {
        file: path,
        help: 'measure them by: undrift eval --metrics spearman',
      });
    },
    positiveSets: () => () => new Int32Array(0),
  };
}

/** The pairs of a split: rows of both texts, and scores. */
interface PairList {
  readonly first: number[];
  readonly second: number[];
  readonly scores: number[];
}

const examples = ({ first, second, scores }: PairList): TrainingExamples => ({
  queryRows: Int32Array.from(first),
  positives: {
    offsets: Uint32Array.from({ length: first.length + 1 }, (_, i) => i),
    rows: Int32Array.from(second),
    grades: new Float32Array(first.length).fill(1),
    scores: Float32Array.from(scores),
  },
});

/** Reads a pair and the split that it names. @throws DataError for a record without both texts and a score */
function readPair(record: DataRecord, columns: ColumnChoice) {
  const text = (role: 'sentence1' | 'sentence2'): string => {
    const name = columns.first(record, role);
    if (name === undefined) throw columns.missing(record, role);
    const found = textField(record, name);
    if (found.trim() === '') throw new DataError(`field ${quote(name)} is empty`, record);
    return found;
  };
  const [one, other] = [text('sentence1'), text('sentence2')];
  const scoreName = columns.first(record, 'score');
  if (scoreName === undefined) {
    throw columns.missing(
      record,
      'score',
      `. Pairs without a score are trained on by ${option('method', 'in-batch')}, as query and positive`,
    );
  }
  const score = numberOf(record.fields[scoreName]);
  if (score === undefined) throw wrongType(record, scoreName, 'a number', record.fields[scoreName]);
  const splitName = columns.first(record, 'split');
  const split = splitName === undefined ? undefined : textField(record, splitName);
  columns.seen(record);
  return { one, other, score, split };
}

function numbered(texts: StringTable, prefix: string): Corpus {
  const ids = new StringTable({ indexed: true });
  for (let row = 0; row < texts.size; row++) ids.intern(`${prefix}${row}`);
  return new Corpus(ids.trim(), texts.dropIndex().trim());
}
