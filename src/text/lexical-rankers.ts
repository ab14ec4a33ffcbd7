import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import {
  checkOptions,
  type GivenOptions,
  type OptionTable,
  type OptionValues,
  optionValues,
} from '../util/option-table.ts';
import { Bm25, type Bm25Options } from './bm25.ts';
import { BM25_OPTIONS, TERM_OPTIONS } from './bm25-options.ts';
import { INDEXING_NAMES } from './indexing-options.ts';
import type { InvertedIndex } from './inverted-index.ts';
import { TfIdf } from './tfidf.ts';

/** Settings of any index of terms: those of BM25, which has the most. */
export interface LexicalOptions extends Bm25Options {}

/** Names of the rankers by shared words. */
export const LEXICAL_RANKERS = ['bm25', 'tfidf'] as const;
/** Name of a ranker by shared words. */
export type LexicalRanker = (typeof LEXICAL_RANKERS)[number];

/** Facts about a ranker by shared words. */
interface Lexical {
  /** Name in texts. */
  readonly label: string;
  /** Options that the ranker takes. */
  readonly options: OptionTable;
  build(count: number, textOf: (row: number) => string, options: LexicalOptions): InvertedIndex;
}

const RANKERS: Readonly<Record<LexicalRanker, Lexical>> = {
  bm25: { label: 'BM25', options: BM25_OPTIONS, build: Bm25.build },
  tfidf: { label: 'TF-IDF', options: TERM_OPTIONS, build: TfIdf.build },
};

/** Tells whether a name is that of a ranker by shared words. */
export const isLexical = (name: string): name is LexicalRanker => Object.hasOwn(RANKERS, name);

/** Returns the name of a ranker by shared words, as texts have it: BM25, TF-IDF. */
export const lexicalLabel = (ranker: LexicalRanker): string => RANKERS[ranker].label;

/** Returns the values of the options that a ranker takes. */
export const ownLexicalOptions = (ranker: LexicalRanker, given: LexicalOptions) =>
  optionValues(RANKERS[ranker].options, { ...given }) as OptionValues<typeof TERM_OPTIONS> &
    GivenOptions<typeof BM25_OPTIONS>;

/** Describes a ranker with its constants, and with the options of its terms that were chosen: `BM25 (k1 0.9, b 0.4, stems)`. */
export function describeLexical(ranker: LexicalRanker, given: LexicalOptions): string {
  const { k1, b, language, stem, stopWords } = ownLexicalOptions(ranker, given);
  const parts = [
    ...(k1 === undefined ? [] : [`k1 ${k1}`]),
    ...(b === undefined ? [] : [`b ${b}`]),
    ...(language === TERM_OPTIONS.language.default ? [] : [`language ${language}`]),
    ...(stem ? ['stems'] : []),
    ...(stopWords ? ['no stop words'] : []),
  ];
  return parts.length > 0 ? `${lexicalLabel(ranker)} (${parts.join(', ')})` : lexicalLabel(ranker);
}

/**
 * Checks that a ranker takes the given options. Those of other rankers must have their defaults.
 *
 * @throws UsageError for an unknown option, for a value out of range, and for an option of another ranker
 */
export function checkLexicalOptions(ranker: LexicalRanker, given: LexicalOptions): void {
  checkOptions(BM25_OPTIONS, given, INDEXING_NAMES);
  const { label, options } = RANKERS[ranker];
  for (const [name, { default: usual }] of Object.entries(BM25_OPTIONS)) {
    const value = given[name as keyof typeof BM25_OPTIONS] ?? usual;
    if (Object.hasOwn(options, name) || value === usual) continue;
    throw new UsageError(`${option(name)} is for BM25: ${label} has no such constant`, {
      help: `leave out ${option(name)}`,
    });
  }
}

/**
 * Builds the index of a ranker by its name. Options of other rankers must have their defaults.
 *
 * @param textOf  text of a document; called once per row, in row order
 * @throws UsageError for an unknown option, for a value out of range, and for an option of another ranker
 */
export function buildLexical(
  ranker: LexicalRanker,
  count: number,
  textOf: (row: number) => string,
  given: LexicalOptions = {},
): InvertedIndex {
  checkLexicalOptions(ranker, given);
  const { build } = RANKERS[ranker];
  const { tokenize, onProgress } = given;
  return build(count, textOf, { ...ownLexicalOptions(ranker, given), tokenize, onProgress });
}
