import type { MethodOptions } from './method-options.ts';

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

export type TableOptions = Required<Pick<MethodOptions, keyof typeof TABLE_OPTIONS>> &
  Partial<Pick<MethodOptions, 'snapshotEvery'>>;
