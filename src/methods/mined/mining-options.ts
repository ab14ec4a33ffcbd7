import { type OptionTable, pickOptions } from '../../util/option-table.ts';
import { NEGATIVE_OPTIONS } from '../contract/negative-options.ts';

/** Options that choose the ranker, and how often it mines. */
export const MINER_OPTIONS = {
  /** Ranker of the candidates: `bm25`, `tfidf`, `self`, or a model. */
  mineFrom: {
    type: 'text',
    nonEmpty: true,
    value: 'model',
    default: 'self',
    help: 'ranker of the candidates: bm25, tfidf, self (the model that is trained), or another model',
    group: 'Method',
  },
  /** Re-mine with the current weights every n steps; 0 for never. */
  mineEvery: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 're-mine with the current weights every n steps; 0 for never',
    group: 'Method',
  },
} as const satisfies OptionTable;

/** Options that choose negatives from ranked documents. */
export const MINED_OPTIONS = pickOptions(
  NEGATIVE_OPTIONS,
  'samples',
  'rankFrom',
  'rankTo',
  'absoluteMargin',
  'relativeMargin',
);
