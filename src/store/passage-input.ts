import { createHash } from 'node:crypto';
import { joinTitle } from '../data/corpus.ts';
import { termsOf } from '../text/index-terms.ts';
import { DataError, UsageError } from '../util/errors.ts';
import type { PassageRow } from './columns.ts';
import type { StoredTerms } from './store-head.ts';

/** Passage to be stored. */
export interface PassageInput {
  /** Unique id, not empty. A passage of the same id is replaced. */
  readonly id: string;
  /** Title, put before the text where it is embedded or searched. */
  readonly title?: string | undefined;
  /** Text. */
  readonly text: string;
  /** Further fields, for filters: anything that JSON can hold. */
  readonly metadata?: Readonly<Record<string, unknown>> | null | undefined;
  /** Line of the passage in its source, for error messages. */
  readonly line?: number | undefined;
  /** File of the passage, for error messages. */
  readonly file?: string | undefined;
}

/** Makes the rows of passages. */
export class PassageRows {
  private readonly terms: (text: string) => readonly string[];

  /** @param terms  settings of the store's index terms */
  constructor({ language, stem, stopWords }: StoredTerms) {
    this.terms = termsOf({ language: language as 'any', stem, stopWords });
  }

  /** Makes the row of a passage. */
  row(input: PassageInput, pid: number): PassageRow {
    const { id, title = '', text } = input;
    return {
      pid,
      id,
      title,
      text,
      metadata: metadataOf(input),
      digest: digestOf(input),
      terms: this.queryTerms(joinTitle(title, text)).join(' '),
    };
  }

  /** Splits a query into its index terms. */
  queryTerms(text: string): readonly string[] {
    return this.terms(text);
  }
}

/** Digest of a passage: of what is embedded, a point, and of all fields. */
export function digestOf(input: PassageInput): string {
  const { title = '', text } = input;
  return `${shortDigest(joinTitle(title, text))}.${shortDigest(JSON.stringify([title, text, metadataOf(input)]))}`;
}

/** Tells whether two digests are of passages with the same searched text, which have the same vector. */
export const haveSameText = (a: string, b: string): boolean => a.split('.')[0] === b.split('.')[0];

/** Mark of the searched text that a digest is about: its first 64 bits. */
export const textMark = (digest: string): bigint =>
  Buffer.from(digest.slice(0, 11), 'base64url').readBigUInt64LE();

const shortDigest = (text: string): string =>
  createHash('sha256').update(text).digest('base64url').slice(0, 22);

function metadataOf({ metadata }: PassageInput): string | null {
  return metadata === undefined || metadata === null || Object.keys(metadata).length === 0
    ? null
    : JSON.stringify(metadata);
}

/**
 * Checks passages that are stored together.
 *
 * @throws DataError or UsageError for an empty id or one that occurs twice
 */
export function checkPassages(inputs: readonly PassageInput[]): void {
  const ids = new Set<string>();
  for (const input of inputs) {
    if (input.id === '')
      throw faulty(input, 'a passage needs an id that is not empty', 'give every passage an id');
    if (ids.has(input.id)) {
      throw faulty(input, `passage id ${JSON.stringify(input.id)} was used before`, 'ids must be unique');
    }
    ids.add(input.id);
  }
}

function faulty({ file, line }: PassageInput, message: string, help: string): Error {
  return file === undefined
    ? new UsageError(message, { help })
    : new DataError(message, { file, line, help });
}
