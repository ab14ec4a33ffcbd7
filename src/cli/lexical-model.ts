import { BM25_OPTIONS } from '../text/bm25-options.ts';
import {
  checkLexicalOptions,
  isLexical,
  LEXICAL_RANKERS,
  type LexicalRanker,
} from '../text/lexical-rankers.ts';
import { UsageError } from '../util/errors.ts';
import { option } from '../util/option-name.ts';
import { type OptionValues, optionValues } from '../util/option-table.ts';

/** Words that `--model` takes besides folders and names on the hub. */
export const LEXICAL_WORDS: readonly string[] = LEXICAL_RANKERS;
/** Words for the help of `--model`. */
export const LEXICAL_HELP = LEXICAL_RANKERS.join(', ');

/** Options of a command that takes a ranker by shared words. */
type Options = { readonly model: string } & OptionValues<typeof BM25_OPTIONS>;

/** Returns the options of a ranker by shared words. */
export const lexicalOptions = (
  options: OptionValues<typeof BM25_OPTIONS>,
): OptionValues<typeof BM25_OPTIONS> => optionValues(BM25_OPTIONS, options);

/**
 * Returns the ranker by shared words that `--model` names; undefined for a model.
 *
 * @param besides  whether the options serve BM25 beside a model
 * @throws UsageError for an option that the ranker does not take
 */
export function lexicalRanker(options: Options, besides = false): LexicalRanker | undefined {
  const { model } = options;
  if (isLexical(model)) {
    checkLexicalOptions(besides ? 'bm25' : model, lexicalOptions(options));
    return model;
  }
  const given = (Object.keys(BM25_OPTIONS) as (keyof typeof BM25_OPTIONS)[]).find(
    (name) => options[name] !== BM25_OPTIONS[name].default,
  );
  if (given === undefined || besides) return undefined;
  throw new UsageError(`${option(given)} has no meaning with ${option('model', model)}`, {
    help: `it is for ${LEXICAL_HELP}`,
  });
}
