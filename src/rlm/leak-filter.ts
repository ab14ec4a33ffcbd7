import { idsDigest } from '../data/document-ids.ts';
import { longestCommonSubstring } from '../text/longest-common-substring.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import type { Passages } from './passages.ts';

/** Text for which passages are sought. */
export interface PassageQuery {
  /** Text to retrieve with. */
  readonly text: string;
  /** Id of the passage that the text is, where it is one of the collection. */
  readonly id?: string | undefined;
  /** Id of the document that the text comes from. */
  readonly document?: string | undefined;
  /** Text that is to be predicted, for filters that compare it with a passage. A source must not retrieve with it. */
  readonly target?: string | undefined;
  /** Row of the passage that holds the answer, where it is known. Only `goldSource` retrieves with it. */
  readonly gold?: number | undefined;
}

/**
 * Rules that keep passages away which would give the answer away: wrong but plausible results of retrieval-based language models are
 * mostly leaks.
 */
export interface LeakRules {
  /** Whether the passage that the query is itself is left out. Default true. */
  readonly sameId?: boolean | undefined;
  /** Whether passages of the query's own document are left out. Default true. */
  readonly sameDocument?: boolean | undefined;
  /** Ids of documents that are left out for every query, such as the articles of an evaluation. Default none. */
  readonly excludedDocuments?: ReadonlySet<string> | undefined;
  /**
   * Largest share α, in [0, 1], of the target that a passage may contain as one piece: passages whose longest common substring with the
   * target, in words, is longer than α · |target| are left out. Default 1, which allows all.
   */
  readonly maxOverlap?: number | undefined;
}

/** Leak filter over one collection of passages. */
export interface LeakFilter {
  /** Rules with their defaults, for reports. */
  readonly rules: {
    readonly sameId: boolean;
    readonly sameDocument: boolean;
    readonly excluded: number;
    /** Digest of the excluded documents; absent where there are none. */
    readonly excludedDigest?: string;
    readonly maxOverlap: number;
  };
  /** Tells whether a query may read the passage of a row. */
  allows(query: PassageQuery, row: number): boolean;
}

/**
 * Makes the leak filter of a collection.
 *
 * @throws UsageError for an overlap outside [0, 1]
 */
export function leakFilter(passages: Passages, rules: LeakRules = {}): LeakFilter {
  const { sameId = true, sameDocument = true, excludedDocuments = new Set<string>(), maxOverlap = 1 } = rules;
  if (!(maxOverlap >= 0 && maxOverlap <= 1)) {
    throw new UsageError(`${option('maxOverlap')} must be from 0 to 1, found ${maxOverlap}`);
  }
  return {
    rules: {
      ...{ sameId, sameDocument, excluded: excludedDocuments.size },
      ...(excludedDocuments.size > 0 && { excludedDigest: idsDigest(excludedDocuments) }),
      maxOverlap,
    },
    allows(query, row) {
      if (sameId && query.id !== undefined && passages.id(row) === query.id) return false;
      const document = passages.document(row);
      if (sameDocument && query.document !== undefined && document === query.document) return false;
      if (excludedDocuments.has(document)) return false;
      if (maxOverlap === 1 || query.target === undefined) return true;
      const target = wordsOf(query.target);
      return longestCommonSubstring(target, wordsOf(passages.text(row))) <= maxOverlap * target.length;
    },
  };
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
