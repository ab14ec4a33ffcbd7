import { describe, expect, it } from 'vitest';
import { findMethod, methods } from '../methods.ts';
import type { MethodOptions } from '../options.ts';
import { resolveMethodOptions } from './method-options.ts';

const told = (id: string, options: Partial<MethodOptions> = {}, plan: { accumulate?: number } = {}) => {
  const method = findMethod(id);
  return method.describe({
    options: resolveMethodOptions(method, options),
    updates: 250,
    batchSize: 16,
    accumulate: 1,
    negativesPerQuery: 0,
    chunkSize: 32,
    dropoutRatio: 0,
    documents: 8377,
    trainingQueries: 6098,
    dimension: 512,
    ...plan,
  });
};

describe('description of a run before it begins', () => {
  it('in-batch and grad-cache', () => {
    expect(told('in-batch')).toEqual([
      '15 negatives a query: the other positives of its batch',
      'documents embedded: 16 a step; 4,000 in all',
    ]);
    expect(told('grad-cache', {}, { accumulate: 2 })).toEqual([
      '15 negatives a query: the other positives of its batch; every text is embedded twice, 32 texts at once',
      'documents embedded: 64 a step; 16,000 in all',
    ]);
  });

  it('a negative cache, with the cost of filling it', () => {
    expect(told('negative-cache')).toEqual([
      '1 negative a query drawn by the softmax of their scores, from a table of 4,096 of 8,377 documents ' +
        '(4,096 × 512 f32, 8.00 MiB); loss form expectation',
      'the table: filled before the first step; what a step embeds is written back; ' +
        'positives of the batch enter as the oldest rows leave',
      'documents embedded: 4,096 before the first step, up to 32 a step; up to 12,096 in all',
    ]);
    expect(
      told('negative-cache', {
        cacheSize: 0,
        cacheStorage: 'f16',
        prefill: false,
        loss: 'truncated',
        sampler: 'rank-range',
        rankFrom: 5,
        samples: 3,
        uniformSamples: 1,
        refresh: 'fraction:0.001',
      }),
    ).toEqual([
      '3 negatives a query of the ranks 5 to 199 by score and 1 uniformly, from a table of all 8,377 documents ' +
        '(8,377 × 512 f16, 8.18 MiB); loss form truncated',
      'the table: empty at first; 0.1 % of the rows are embedded again after each step, the oldest first',
      // 16 × (1 + 3 + 1) and 9 of the table
      'documents embedded: up to 89 a step; up to 22,250 in all',
    ]);
  });

  it('methods that refresh their table every n steps', () => {
    expect(told('exhaustive')).toEqual([
      expect.stringContaining('from a table of all 8,377 documents'),
      'the table: filled before the first step; all rows are embedded again every 100 steps',
      'documents embedded: 8,377 before the first step, up to 32 a step, 8,377 every 100 steps; up to 33,131 in all',
    ]);
    expect(told('snapshot', { snapshotEvery: 500 })).toEqual([
      expect.stringMatching(/^4 negatives a query .* 2,048 of 8,377 documents/),
      'the table: filled before the first step; other documents, drawn at random, every 500 steps; ' +
        'nothing in it is embedded again',
      'documents embedded: 2,048 before the first step, up to 80 a step; up to 22,048 in all',
    ]);
  });

  it('mined negatives', () => {
    expect(told('bm25-negatives')).toEqual([
      '15 negatives a query: the other positives of its batch, and 1 mined for each of its queries',
      'mined from the ranks 0 to 49 of BM25 (k1 0.9, b 0.4) before the first step',
      'documents embedded: up to 32 a step; up to 8,000 in all',
    ]);
    expect(told('hard-negatives', { mineEvery: 100 })).toEqual([
      expect.any(String),
      'mined from the ranks 10 to 99 of the model itself before the first step, ' +
        'and by the weights as they then are every 100 steps',
      'documents embedded: 8,377 before the first step, up to 32 a step, 8,377 every 100 steps; up to 33,131 in all',
    ]);
  });

  it('every method describes its cost', () => {
    for (const { id } of methods) expect(told(id).join(), id).toMatch(/documents embedded: .* in all/);
  });
});
