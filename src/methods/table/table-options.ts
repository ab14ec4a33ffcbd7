import type { LossForm } from '../contract/loss-names.ts';
import type { MethodOptions } from '../contract/method-options.ts';

/** Options that every method over a score table takes, with the defaults of most. */
export const TABLE_OPTIONS = {
  loss: 'expectation',
  sampler: 'softmax',
  samples: 1,
  uniformSamples: 0,
  rankFrom: 0,
  rankTo: 200,
  absoluteMargin: 0,
  relativeMargin: 0,
  cacheSize: 0,
  cacheStorage: 'f32',
  eviction: 'lru',
  prefill: true,
  refresh: 'never',
  writeBackWithoutDropout: false,
} as const satisfies Partial<MethodOptions>;

/** Further ones of methods that correct their table; see `TableCorrection`. */
export const CORRECTOR_OPTIONS = {
  corrector: 'mlp',
  correctorHidden: 0,
  correctorDepth: 1,
  correctorRank: 16,
  correctorLr: 0.003,
  correctorLoss: 'both',
  correctorAge: false,
  refitEvery: 20,
  reservoir: 8192,
  teachingSamples: 64,
  correctedRows: 0,
  correctedFrom: 'random',
  uniformSteps: 0,
} as const satisfies Partial<MethodOptions>;

export type TableOptions = Required<Omit<Pick<MethodOptions, keyof typeof TABLE_OPTIONS>, 'loss'>> & {
  loss: LossForm;
} & Partial<Pick<MethodOptions, 'snapshotEvery' | keyof typeof CORRECTOR_OPTIONS>>;

/** Those of a run, defaults filled in: methods over a table have no other losses. */
export const tableOptions = (given: Partial<MethodOptions>): TableOptions =>
  ({ ...TABLE_OPTIONS, ...given }) as TableOptions;

/**
 * Rows of a method's table.
 * @param cacheSize  rows asked for; 0 for one row for each document
 * @param documents  documents of the corpus: more rows than these would stay empty
 */
export const tableRows = (cacheSize: number, documents: number): number =>
  cacheSize === 0 ? documents : Math.min(cacheSize, documents);
