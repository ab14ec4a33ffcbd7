import { DataError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { answerTexts } from './answers.ts';
import type { ColumnChoice } from './column-choice.ts';
import { joinTitle, quote } from './corpus.ts';
import type { LoadOptions } from './load-options.ts';
import { type DataRecord, numberOf, placeOf, textField, wrongType } from './record.ts';

/** Passage of a pair. */
export interface PairPassage {
  readonly title: string | undefined;
  readonly text: string;
}

/** Record with its columns recognised. */
export interface Pair {
  readonly query: string;
  readonly positives: readonly PairPassage[];
  readonly negatives: readonly PairPassage[];
  /** Scores of a teacher: those of the positives, then those of the negatives. */
  readonly scores: readonly number[] | undefined;
  /** Answers in words; empty where there are none, or where they are not read. */
  readonly answers: readonly string[];
  /** Name of a split. */
  readonly split: string | undefined;
}

/**
 * Reads a pair from a record.
 *
 * @param options.answers  whether answers are read. Default false
 * @throws DataError for a record without query or positive, or with a field of the wrong type
 */
export function readPair(
  record: DataRecord,
  columns: ColumnChoice,
  options: Pick<LoadOptions, 'answers'> = {},
): Pair {
  const queryName = columns.find(record, 'query');
  if (queryName === undefined) throw columns.missing(record, 'query', scoredPairsHelp(record));
  const query = record.fields[queryName];
  if (typeof query !== 'string') throw wrongType(record, queryName, 'a string', query);
  if (query.trim() === '') throw new DataError('the query is empty', record);

  const positiveNames = columns.all(record, 'positive');
  const [positiveName] = positiveNames;
  if (positiveName === undefined) throw columns.missing(record, 'positive', scoredPairsHelp(record));
  const found = positiveNames.flatMap((name) => passages(record, name));
  if (found.length === 0) throw new DataError(`${quote(positiveName)} is an empty list`, record);
  const given = columns.all(record, 'negative').flatMap((name) => passages(record, name));
  const isWrong = isLabelledWrong(record, columns.find(record, 'label'));
  if (isWrong && given.length > 0) {
    throw new DataError(`label 0 beside negatives: is ${quote(positiveName)} right or wrong?`, {
      ...placeOf(record),
      help: 'give a wrong passage as a negative, or in a record of its own with label 0',
    });
  }
  const [positives, negatives] = isWrong ? [[], found] : [found, given];

  let scores = numbers(record, columns.find(record, 'scores'));
  const positiveScores = numbers(record, columns.find(record, 'positiveScores'));
  const negativeScores = numbers(record, columns.find(record, 'negativeScores'));
  const splitName = columns.find(record, 'split');
  const split = splitName === undefined ? undefined : textField(record, splitName);
  const answersName = options.answers ? columns.find(record, 'answers') : undefined;
  const answers = answersName === undefined ? [] : answerTexts(record, answersName);
  columns.seen(record);
  if (positiveScores !== undefined || negativeScores !== undefined) {
    if (scores !== undefined) throw new DataError('scores are given twice, together and apart', record);
    if (positiveScores !== undefined) checkCount(record, positiveScores, positives.length, 'positives');
    if (negativeScores !== undefined) checkCount(record, negativeScores, negatives.length, 'negatives');
    const none = (list: readonly PairPassage[]) => list.map(() => Number.NaN);
    scores = [...(positiveScores ?? none(positives)), ...(negativeScores ?? none(negatives))];
  } else if (scores !== undefined) {
    checkCount(record, scores, positives.length + negatives.length, 'texts (positives, then negatives)');
  }
  return { query, positives, negatives, scores, answers, split };
}

/**
 * Tells whether a label says that the passage of a record does not answer the query.
 *
 * @throws DataError for a label that is no whole number ≥ 0
 */
function isLabelledWrong(record: DataRecord, name: string | undefined): boolean {
  if (name === undefined) return false;
  const value = record.fields[name];
  const isNumber =
    ['number', 'bigint', 'boolean'].includes(typeof value) || /^\s*\d+\s*$/.test(String(value));
  const label = isNumber ? Number(value) : Number.NaN;
  if (Number.isInteger(label) && label >= 0) return label === 0;
  throw new DataError(
    `column ${quote(name)} should be a label, 1 for a right passage and 0 for a wrong one, found ${quote(String(value))}`,
    {
      ...placeOf(record),
      help:
        `say what it is: ${option('columns', { positiveScores: name })} for a teacher's scores of the positives, ` +
        `${option('method', 'scored-pairs')} to train on similarities of two texts, or ${option('columns', { label: '' })} to ignore it`,
    },
  );
}

function checkCount(record: DataRecord, scores: readonly number[], wanted: number, what: string): void {
  if (scores.length === wanted) return;
  throw new DataError(`${scores.length} scores for ${wanted} ${what}`, record);
}

/** Reads a field that holds a text, or a list of texts or of objects with `text` and optionally `title`. */
function passages(record: DataRecord, name: string): PairPassage[] {
  const value = record.fields[name];
  return (Array.isArray(value) ? value : [value]).map((item: unknown) => {
    const passage = passageOf(item);
    if (passage === undefined) {
      throw wrongType(record, name, 'a string, a list of strings, or a list of {"title", "text"}', item);
    }
    if (joinTitle(passage.title, passage.text).trim() === '')
      throw new DataError(`field ${quote(name)} holds an empty text`, record);
    return passage;
  });
}

function passageOf(item: unknown): PairPassage | undefined {
  if (typeof item === 'string') return { title: undefined, text: item };
  if (typeof item !== 'object' || item === null) return undefined;
  const { title, text } = item as { title?: unknown; text?: unknown };
  if (typeof text !== 'string') return undefined;
  return { title: typeof title === 'string' ? title : undefined, text };
}

function numbers(record: DataRecord, name: string | undefined): number[] | undefined {
  if (name === undefined) return undefined;
  const value = listOf(record.fields[name]);
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.map((item) => {
    const score = numberOf(item);
    if (score !== undefined) return score;
    throw wrongType(record, name, 'a number or a list of numbers', item);
  });
}

/** Reads a list written as text, such as `[0.9, 0.1]` in a CSV file. Returns any other value unchanged. */
function listOf(value: unknown): unknown {
  if (typeof value !== 'string' || !value.trim().startsWith('[')) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** Help for a record that looks like a scored pair; empty for others. */
const scoredPairsHelp = ({ fields }: DataRecord): string =>
  'sentence1' in fields || 'text1' in fields
    ? `. Scored pairs are trained on by ${option('method', 'scored-pairs')}, and measured by undrift eval --metrics spearman`
    : '';
