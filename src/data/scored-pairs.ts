import { DataError, UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { attemptRow, BadRows } from './bad-rows.ts';
import { contentFingerprint } from './content-fingerprint.ts';
import { Corpus, quote } from './corpus.ts';
import { checkDataInMemory, type DataInMemory, IN_MEMORY } from './data-in-memory.ts';
import type { TrainingExamples } from './examples.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { heldOutNotes, holdOut, holdOutFractions } from './hold-out-fraction.ts';
import { findPairFiles } from './load.ts';
import { splitSources } from './load-memory.ts';
import type { LoadOptions, ReadingOptions } from './load-options.ts';
import { type DataRecord, placeOf, presentName, textField, wrongType } from './record.ts';
import { type RecordSource, recordsOfFiles } from './records.ts';
import { dataName, type RetrievalData, sortSplits } from './retrieval-data.ts';
import { StringTable } from './string-table.ts';

/** Known names of the columns, the canonical one first. */
const FIRST = ['sentence1', 'text1', 'sentence_1', 'text_1', 'query', 'anchor'];
const SECOND = ['sentence2', 'text2', 'sentence_2', 'text_2', 'document', 'passage'];
const SCORE = ['score', 'label', 'similarity', 'similarity_score'];

/**
 * Loads pairs of texts with a score each: JSONL (plain or gzip) or Parquet with `sentence1`, `sentence2` and
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
  const log = new FileLog(options.onProgress);
  const read = await readScoredPairs(recordsOfFiles(files, log, options), path, options);
  return scoredPairs(read, { name: dataName(named), path, fingerprint: log.fingerprint() });
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
  const fractions = holdOutFractions(sources, options);
  const [first, second] = [new StringTable({ indexed: true }), new StringTable({ indexed: true })];
  const splits = new Map<string, PairList>();
  const columns = (names: readonly string[]) =>
    names.filter((name) => [...FIRST, ...SECOND, ...SCORE].includes(name));
  for (const [given, parts] of sources) {
    for (const records of parts) {
      for await (const record of records(columns)) {
        const pair = attemptRow(options.badRows, () => {
          return { one: text(record, FIRST), other: text(record, SECOND), score: score(record) };
        });
        if (pair === undefined) continue;
        const { one, other } = pair;
        const split = given === 'train' ? holdOut(one, fractions) : given;
        const list = splits.get(split) ?? { first: [], second: [], scores: [] };
        splits.set(split, list);
        list.first.push(first.intern(one));
        list.second.push(second.intern(other));
        list.scores.push(pair.score);
      }
    }
  }
  if (first.size === 0) {
    throw new DataError('holds no pair', {
      file: path,
      help: 'one object for each pair, in a file one a line: {"sentence1": …, "sentence2": …, "score": 0.8}',
    });
  }
  const notes = heldOutNotes(fractions, path, (name) => splits.get(name)?.first.length ?? 0);
  return { corpus: numbered(second, 'b'), queries: numbered(first, 'a'), splits, notes };
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

function text(record: DataRecord, names: readonly string[]): string {
  const found = textField(record, names);
  if (found.trim() === '')
    throw new DataError(`field ${quote(presentName(record, names)!)} is empty`, record);
  return found;
}

function score(record: DataRecord): number {
  const name = presentName(record, SCORE);
  if (name === undefined) {
    throw new DataError('the pair has no score', {
      ...placeOf(record),
      help: `understood are ${SCORE.join(', ')}; pairs without a score are trained on by ${option('method', 'in-batch')}, as query and positive`,
    });
  }
  const value = record.fields[name];
  const found = typeof value === 'bigint' ? Number(value) : value;
  if (typeof found === 'number' && Number.isFinite(Math.fround(found))) return found;
  throw wrongType(record, name, 'a number', value);
}

function numbered(texts: StringTable, prefix: string): Corpus {
  const ids = new StringTable({ indexed: true });
  for (let row = 0; row < texts.size; row++) ids.intern(`${prefix}${row}`);
  return new Corpus(ids.trim(), texts.dropIndex().trim());
}
