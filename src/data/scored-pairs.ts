import { basename } from 'node:path';
import { DataError } from '../util/errors.ts';
import { Corpus, quote } from './corpus.ts';
import type { TrainingExamples } from './examples.ts';
import { FileLog } from './file-log.ts';
import { findData } from './find-data.ts';
import { heldOutNotes, holdOut, holdOutFractions } from './hold-out-fraction.ts';
import { findPairFiles } from './load.ts';
import type { LoadOptions } from './load-options.ts';
import { type DataRecord, presentName, textField, wrongType } from './record.ts';
import { readRecords } from './records.ts';
import { dataName, type RetrievalData, sortSplits } from './retrieval-data.ts';
import { StringTable } from './string-table.ts';

/** Known names of the columns, the canonical one first. */
const FIRST = ['sentence1', 'text1', 'sentence_1', 'text_1', 'query', 'anchor'];
const SECOND = ['sentence2', 'text2', 'sentence_2', 'text_2', 'document', 'passage'];
const SCORE = ['score', 'label', 'similarity', 'similarity_score'];

/**
 * Loads pairs of texts with a score each: JSONL (plain or gzip) or Parquet with `sentence1`, `sentence2` and
 * `score`, as a file or a folder with a file per split. Splits without a file are held out of the training
 * file by a hash of the first text.
 *
 * The distinct first texts are the queries and the distinct second texts the corpus. Every pair is an example
 * of its own; its only positive is the second text, with the pair's score. There are no relevance judgements:
 * `qrels` throws.
 *
 * @throws DataError with file and line for a record without both texts and a score
 */
export async function loadScoredPairs(named: string, options: LoadOptions = {}): Promise<RetrievalData> {
  const path = await findData(named, options);
  const files = await findPairFiles(path);
  if (!files) {
    throw new DataError('holds no scored pairs', {
      file: path,
      help: 'a .jsonl, .jsonl.gz or .parquet file with sentence1, sentence2 and score, or a folder with train.jsonl and perhaps dev.jsonl',
    });
  }
  const fractions = holdOutFractions(files, options);
  const log = new FileLog(options.onProgress);
  const [first, second] = [new StringTable({ indexed: true }), new StringTable({ indexed: true })];
  const splits = new Map<string, PairList>();
  const columns = (names: readonly string[]) =>
    names.filter((name) => [...FIRST, ...SECOND, ...SCORE].includes(name));
  for (const [fileSplit, parts] of files) {
    for (const file of parts) {
      const onBytes = await log.watch(file, `${fileSplit}/${basename(file)}`);
      for await (const record of readRecords(file, {
        onBytes,
        maxLineBytes: options.maxLineBytes,
        columns,
      })) {
        const [one, other] = [text(record, FIRST), text(record, SECOND)];
        const split = fileSplit === 'train' ? holdOut(one, fractions) : fileSplit;
        const list = splits.get(split) ?? { first: [], second: [], scores: [] };
        splits.set(split, list);
        list.first.push(first.intern(one));
        list.second.push(second.intern(other));
        list.scores.push(score(record));
      }
    }
  }
  if (first.size === 0) {
    throw new DataError('holds no pair', {
      file: path,
      help: 'one JSON object a line: {"sentence1": …, "sentence2": …, "score": 0.8}',
    });
  }
  const names = sortSplits(splits.keys());
  const pick = (name: string): PairList => {
    const list = splits.get(name);
    if (list) return list;
    throw new DataError(`no split ${quote(name)}; splits present: ${names.join(', ')}`, {
      file: path,
      help: `give it a file of its own, ${name}.jsonl`,
    });
  };
  return {
    name: dataName(named),
    corpus: numbered(second, 'b'),
    queries: numbered(first, 'a'),
    splits: names,
    fingerprint: log.fingerprint(),
    notes: heldOutNotes(fractions, path, (name) => splits.get(name)?.first.length ?? 0),
    examples: (name) => examples(pick(name)),
    qrels() {
      throw new DataError('scored pairs have no relevance judgements', {
        file: path,
        help: 'measure them by eval --metrics spearman',
      });
    },
    positiveSets: () => () => new Int32Array(0),
  };
}

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
      file: record.file,
      line: record.line,
      help: `understood are ${SCORE.join(', ')}; pairs without a score are trained on by --method in-batch, as query and positive`,
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
