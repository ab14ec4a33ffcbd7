import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { optionValues } from '../util/option-table.ts';
import type { Progress } from '../util/progress.ts';
import { TERM_OPTIONS } from './bm25-options.ts';
import { type TermOptions, termsOf } from './index-terms.ts';

/** Settings of an index of terms that are no values. */
export interface IndexingOptions {
  /** Splits a text into index terms; used for documents and queries alike. Default {@link bm25Terms}. */
  tokenize?: ((text: string) => readonly string[]) | undefined;
  /** Called after every 1,024th document. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Names of the settings that are no values. */
export const INDEXING_NAMES = [
  'tokenize',
  'onProgress',
] as const satisfies readonly (keyof IndexingOptions)[];

const TERM_NAMES = Object.keys(TERM_OPTIONS) as (keyof typeof TERM_OPTIONS)[];

/**
 * Returns the function that splits texts into index terms.
 *
 * @throws UsageError for options of our own terms beside another function
 */
export function tokenizerFor({ tokenize, ...options }: IndexingOptions & TermOptions) {
  const terms = optionValues(TERM_OPTIONS, { ...options });
  if (!tokenize) return termsOf(terms);
  const ours = TERM_NAMES.find((name) => terms[name] !== TERM_OPTIONS[name].default);
  if (ours === undefined) return tokenize;
  throw new UsageError(`${option(ours)} has no meaning with tokenize`, {
    help: `call bm25Terms(text, { ${ours} }) in your own function`,
  });
}
