import { parseRefreshPolicy, REFRESH_HELP } from '../../cache/refresh-policy.ts';
import { CORRECTOR_KINDS } from '../../correctors/corrector.ts';
import { PLAN_OPTIONS } from '../../correctors/corrector-options.ts';
import { type OptionTable, type OptionValues, optionValues, withDefaults } from '../../util/option-table.ts';
import { LOSS_OPTIONS, type LossForm } from '../contract/loss-names.ts';
import type { MethodOptionValues } from '../contract/method.ts';
import { NEGATIVE_OPTIONS } from '../contract/negative-options.ts';

/** Ways of drawing from the softmax over a table. */
export const SEARCH_KINDS = ['exact', 'index'] as const;

/** Ways of choosing the rows that a step corrects, where not all rows are. */
export const CORRECTED_FROM = ['random', 'shortlist'] as const;

/** Options of the table of embeddings itself. */
export const CACHE_OPTIONS = {
  /** Rows of the table; 0 for the whole corpus. */
  cacheSize: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'documents in the cache; 0 for the whole corpus',
    group: 'Method',
    aliases: ['queue_length'],
  },
  /** Dtype of the cached embeddings. */
  cacheStorage: {
    type: 'choice',
    choices: ['f32', 'f16'],
    default: 'f32',
    help: 'dtype of the cached embeddings; f16 takes half the memory',
    group: 'Method',
  },
  /** Row that leaves a full table: the one embedded longest ago (`lru`), or inserted longest ago (`fifo`). */
  eviction: {
    type: 'choice',
    choices: ['lru', 'fifo'],
    default: 'lru',
    help: 'row that leaves a full cache: embedded longest ago (lru) or inserted longest ago (fifo)',
    group: 'Method',
  },
  /** Whether the table is filled before the first step. Random documents fill a table that does not hold the whole corpus. */
  prefill: {
    type: 'switch',
    negative: true,
    default: true,
    help: 'start with an empty cache instead of embedding documents for it before the first step',
    group: 'Method',
  },
  /** Policy by which rows are embedded again; see `parseRefreshPolicy`. */
  refresh: {
    type: 'text',
    nonEmpty: true,
    value: 'policy',
    default: 'never',
    check: parseRefreshPolicy,
    help: `when cached embeddings are computed again: ${REFRESH_HELP}`,
    group: 'Method',
  },
  /** Whether documents are embedded again without dropout for write-back, instead of using the embeddings of the step. */
  writeBackWithoutDropout: {
    type: 'switch',
    default: false,
    help: 'embed documents again without dropout before they are written back to the cache',
    group: 'Method',
  },
} as const satisfies OptionTable;

/** Option of methods that draw from the softmax over a table. */
export const SEARCH_OPTIONS = {
  /** Whether a draw scores all rows of the table, or those that an index of cells names; see `IndexedDistribution`. */
  search: {
    type: 'choice',
    choices: SEARCH_KINDS,
    default: 'exact',
    help: 'draw from the softmax by scoring all rows of the cache (exact), or a few times √N of its N rows, found by an index (index)',
    group: 'Method',
  },
} as const satisfies OptionTable;

/** Options that every method over a score table takes, with common defaults. */
export const TABLE_OPTIONS = {
  ...withDefaults(LOSS_OPTIONS, { loss: 'expectation' }),
  ...NEGATIVE_OPTIONS,
  ...SEARCH_OPTIONS,
  ...CACHE_OPTIONS,
} as const satisfies OptionTable;

/** Option of tables that hold a random part of the corpus, which is drawn anew from time to time. */
export const SNAPSHOT_OPTIONS = {
  /** Draw and embed a new snapshot every n steps. */
  snapshotEvery: {
    type: 'integer',
    min: 1,
    default: 100,
    help: 'draw and embed a new snapshot every n steps',
    group: 'Method',
  },
} as const satisfies OptionTable;

/** Further options of methods that correct their table; see `TableCorrection`. */
export const CORRECTOR_OPTIONS = {
  /** Map that moves cached embeddings to where the current encoder would put them. */
  corrector: {
    type: 'choice',
    choices: CORRECTOR_KINDS,
    default: 'mlp',
    help: 'map that moves cached embeddings to where the current encoder would put them',
    group: 'Corrector',
  },
  /** `mlp`: width of its hidden layers; 0 for 2 D. */
  correctorHidden: {
    ...PLAN_OPTIONS.hidden,
    min: 0,
    default: 0,
    help: 'mlp: width of the hidden layers; 0 for twice the embedding size',
    group: 'Corrector',
  },
  /** `mlp`: number of hidden layers. */
  correctorDepth: {
    ...PLAN_OPTIONS.depth,
    group: 'Corrector',
  },
  /** `low-rank`: rank of the correction. */
  correctorRank: {
    ...PLAN_OPTIONS.rank,
    group: 'Corrector',
  },
  /** `mlp`: learning rate, constant over the run. */
  correctorLr: {
    ...PLAN_OPTIONS.learningRate,
    help: 'mlp: learning rate, constant over the run',
    group: 'Corrector',
  },
  /** `mlp`: target that it is fitted to: fresh embeddings, the queries' distribution over them, or both. */
  correctorLoss: {
    ...PLAN_OPTIONS.loss,
    help: 'mlp: fit to fresh embeddings (regression), to the distribution of queries over them (kl), or both',
    group: 'Corrector',
  },
  /** `mlp`: whether the age of a row is an input. Rows of age 0 are then left unchanged. */
  correctorAge: {
    type: 'switch',
    default: false,
    help: 'mlp: take the age of each row as an input; for caches of which a part is refreshed',
    group: 'Corrector',
  },
  /** Closed forms: fit again every n steps. */
  refitEvery: {
    ...PLAN_OPTIONS.refitEvery,
    help: 'correctors other than mlp: fit again every n steps',
    group: 'Corrector',
  },
  /** Closed forms: number of the latest pairs of embeddings that they are fitted to. */
  reservoir: {
    ...PLAN_OPTIONS.reservoir,
    help: 'correctors other than mlp: fit to the latest n pairs of embeddings',
    group: 'Corrector',
  },
  /** Documents of each step, drawn uniformly from the table, that are embedded without a gradient to teach the corrector. */
  teachingSamples: {
    type: 'integer',
    min: 0,
    max: 65_536,
    default: 64,
    help: 'random documents embedded at each step, without a gradient, for the corrector to learn from',
    group: 'Corrector',
  },
  /**
   * Rows of the table that a step corrects, and draws negatives from; 0 for all. With `search: 'index'`, most rows that are
   * corrected as they are drawn; 0 for 2,048, of which each query has 16 to 64, or 8 for each of its negatives if that is more.
   */
  correctedRows: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'rows of the cache that a step corrects and draws negatives from; 0 for all, with --search index for 2,048',
    group: 'Corrector',
  },
  /** Choice of `correctedRows`: random rows, or a shortlist of rows near the batch's queries in the stale table and random ones. */
  correctedFrom: {
    type: 'choice',
    choices: CORRECTED_FROM,
    default: 'random',
    help: 'choice of these rows: random ones, or a shortlist of those nearest to the queries and random ones; an index draws them instead',
    group: 'Corrector',
  },
  /** First steps of the run, in which negatives are uniform from the table and from the batch. */
  uniformSteps: {
    type: 'integer',
    min: 0,
    default: 0,
    help: 'first steps of the run that take random negatives and those of the batch',
    group: 'Corrector',
  },
} as const satisfies OptionTable;

/** Option of methods over candidates: the table only proposes, and fresh embeddings decide. */
export const RERANK_OPTIONS = {
  /** Documents that are taken from the table and embedded again to find the candidates among them; 0 to take the table's best. */
  overRetrieve: {
    type: 'integer',
    value: 'L',
    min: 0,
    max: 65_536,
    default: 0,
    help: 'take L documents a query from the cache, embed them afresh and keep the best as candidates; 0 for off',
    group: 'Reader',
  },
} as const satisfies OptionTable;

/** Options of a method over a score table. Options of snapshots and correctors are absent for methods without them. */
export type TableOptions = Omit<OptionValues<typeof TABLE_OPTIONS>, 'loss'> & {
  /** Loss over sampled negatives; undefined for a method with a loss of its own. */
  readonly loss: LossForm | undefined;
  /** Documents of each query that stay when those sampled are ranked by fresh embeddings. Default: all that are sampled. */
  readonly rerankTo?: number | undefined;
} & Partial<OptionValues<typeof SNAPSHOT_OPTIONS> & OptionValues<typeof CORRECTOR_OPTIONS>>;

/** Reads the options of a run, with defaults filled in. Methods over a table take no losses other than `LOSS_FORMS`. */
export const tableOptions = (given: MethodOptionValues): TableOptions =>
  ({ ...given, ...optionValues(TABLE_OPTIONS, given) }) as TableOptions;

/**
 * Returns the number of rows of a method's table.
 *
 * @param cacheSize  rows asked for; 0 for one row for each document
 * @param documents  documents of the corpus: the upper limit, because further rows would stay empty
 */
export const tableRows = (cacheSize: number, documents: number): number =>
  cacheSize === 0 ? documents : Math.min(cacheSize, documents);
