import { describe, expect, it } from 'vitest';
import { UsageError } from '../../util/errors.ts';
import type { RunPlan } from '../contract/method.ts';
import { resolveMethodOptions } from '../contract/method-options.ts';
import { findMethod } from '../methods.ts';
import type { MethodOptions } from '../options.ts';

/** Checks a run of a method with some options, batches of 32 and 1,000 documents. */
function check(id: string, options: Partial<MethodOptions>, plan: Partial<RunPlan> = {}): void {
  const method = findMethod(id);
  method.check?.({
    options: resolveMethodOptions(method, options),
    updates: 10,
    batchSize: 32,
    accumulate: 1,
    negativesPerQuery: 0,
    chunkSize: 32,
    dropoutRatio: 0,
    documents: 1000,
    trainingQueries: 500,
    dimension: 8,
    ...plan,
  });
}

describe('checks before a run over a table', () => {
  it.each([
    [
      'negative-cache',
      {},
      { negativesPerQuery: 1 },
      /the loss form expectation takes no negatives from the data/,
    ],
    ['async-index', {}, { negativesPerQuery: 2 }, /the loss form pairwise takes no negatives/],
    ['negative-cache', { sampler: 'top' }, {}, /needs negatives drawn from the softmax/],
    [
      'exhaustive',
      { loss: 'importance-corrected', uniformSamples: 1 },
      {},
      /needs negatives drawn from the softmax/,
    ],
    ['snapshot', { relativeMargin: 0.1 }, {}, /the sampler softmax keeps no margin\n.*sampler: 'rank-range'/],
    [
      'negative-cache',
      { search: 'index', sampler: 'top', loss: 'truncated' },
      {},
      /search: 'index' draws from the softmax, and the sampler top does not\n.*search: 'exact'/,
    ],
    ['async-index', { search: 'index' }, {}, /the sampler rank-range does not\n.*sampler: 'softmax'/],
    [
      'corrector',
      { search: 'index', loss: 'truncated', correctedFrom: 'shortlist', correctedRows: 4096 },
      {},
      /correctedFrom: 'shortlist' scores all rows of the cache.*\n.*leave correctedFrom out/,
    ],
    [
      'corrector',
      { search: 'index', correctedRows: 255 },
      {},
      /correctedRows: 255 leaves a batch of 32 queries fewer than 8 candidates each\n.*use correctedRows: 256 or more/,
    ],
    [
      'corrector',
      { search: 'index', samples: 8, correctedRows: 500 },
      {},
      /fewer than 16 candidates each\n.*use correctedRows: 512 or more/,
    ],
    ['corrector', { search: 'index', loss: 'truncated', sampler: 'top' }, {}, /the sampler top does not/],
    ['negative-cache', { cacheSize: 31 }, {}, /a batch of 32 documents does not fit into a cache of 31 rows/],
    [
      'negative-cache',
      {},
      { documents: 20 },
      /does not fit into a cache of 20 rows\n.*only 20 documents: use batchSize: 20 or less/,
    ],
    ['negative-cache', { cacheSize: 32 }, { documents: 20 }, /use batchSize: 20 or less/],
    ['momentum-queue', { cacheSize: 32 }, { documents: 20 }, /use batchSize: 20 or less/],
    ['momentum-queue', { cacheSize: 16 }, {}, /does not fit into a cache of 16 rows\n.*cacheSize: 32/],
  ] as const)('%s %j %j is refused', (id, options, plan, message) => {
    expect(() => check(id, options, plan)).toThrow(message);
    expect(() => check(id, options, plan)).toThrow(UsageError);
  });

  it.each([
    ['negative-cache', {}, {}],
    ['negative-cache', { cacheSize: 32 }, {}],
    ['negative-cache', { cacheSize: 4, refresh: 'write-back' }, {}],
    ['snapshot', {}, { negativesPerQuery: 1 }],
    ['async-index', { relativeMargin: 0.1 }, {}],
    ['snapshot', { sampler: 'uniform', uniformSamples: 2 }, {}],
    ['exhaustive', { loss: 'pairwise', sampler: 'top' }, {}],
    ['momentum-queue', { cacheSize: 0 }, { documents: 32 }],
    ['corrector', { search: 'index' }, {}],
    ['corrector', { search: 'index', samples: 8, correctedRows: 512 }, {}],
    ['corrector', { search: 'index', loss: 'truncated', uniformSamples: 2 }, {}],
  ] as const)('%s %j %j may run', (id, options, plan) => {
    expect(() => check(id, options, plan)).not.toThrow();
  });
});
