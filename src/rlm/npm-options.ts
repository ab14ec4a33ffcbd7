import { MOST_PHRASE_TOKENS } from '../text/shared-phrases.ts';
import type { OptionTable } from '../util/option-table.ts';

/** Options of filling a mask with phrases of an index. */
export const FILL_OPTIONS = {
  /** Phrases to return at most, ≥ 1. Default 10. */
  count: { type: 'integer', value: 'n', min: 1, default: 10, help: 'phrases to return at most' },
  /** Tokens that are retrieved as beginnings, and as ends, ≥ 1. Default 4096, as in the paper. */
  k: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: 4096,
    help: 'tokens that are retrieved as beginnings of the phrase, and as its ends',
  },
  /** Tokens of a phrase at most, ≥ 1. Default 10. */
  mostTokens: {
    type: 'integer',
    value: 'n',
    min: 1,
    default: MOST_PHRASE_TOKENS,
    help: 'tokens of a phrase at most',
  },
  /** Temperature of the softmaxes over beginnings and ends, > 0. Default 1. */
  temperature: {
    type: 'number',
    above: 0,
    default: 1,
    help: 'temperature of the softmaxes over beginnings and ends',
  },
  /** Power α of the length in tokens, by which scores are multiplied, ≥ 0: larger ones favour long phrases. Default 0. */
  lengthPower: {
    type: 'number',
    min: 0,
    default: 0,
    help: 'power of the length in tokens by which scores are multiplied; larger ones favour long phrases',
  },
  /** Id of a document whose phrases are not found, such as the one that the text was taken from. Default none. */
  exclude: {
    type: 'text',
    value: 'id',
    nonEmpty: true,
    help: 'document whose phrases are not found, such as the one that the text was taken from',
  },
} as const satisfies OptionTable;
