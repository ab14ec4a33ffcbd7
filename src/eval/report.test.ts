import { expect, it } from 'vitest';
import { formatComparison, formatMetrics } from './report.ts';

it('aligns the columns and marks what is missing', () => {
  const table = formatMetrics([
    { name: 'BM25', metrics: { 'ndcg@10': 0.53124, 'mrr@10': 0.5 } },
    { name: 'gelernt-ü', metrics: { 'ndcg@10': 0.72, 'recall@100': 1 } },
  ]);
  expect(table).toBe(
    '           ndcg@10  mrr@10  recall@100\n' +
      'BM25        0.5312  0.5000           –\n' +
      'gelernt-ü   0.7200       –      1.0000\n',
  );
  expect(formatMetrics([{ name: 'a', metrics: { map: 0.123456 } }], { digits: 2 })).toBe(
    '    map\na  0.12\n',
  );
  expect(formatMetrics([])).toBe('\n');
});

it('formats a comparison as text', () => {
  const text = formatComparison(
    {
      metric: 'mrr@10',
      queries: 1323,
      meanA: 0.3312,
      meanB: 0.30626,
      difference: -0.02494,
      wins: 140,
      losses: 98,
      ties: 1085,
      randomisation: { pValue: 0.00123, samples: 10_000, exact: false },
      tTest: { t: -3.2, degreesOfFreedom: 1322, pValue: 2.5e-17 },
      interval: { low: -0.04, high: 0.01, confidence: 0.95 },
    },
    'trained',
    'BM25',
  );
  expect(text).toBe(
    'mrr@10 over 1,323 queries: trained 0.3312, BM25 0.3063\n' +
      'difference −0.0249, 95 % interval −0.0400 to +0.0100, better on 140, worse on 98, equal on 1085\n' +
      'p = 0.0012 (randomisation test, 10,000 samples), p = 2.5e-17 (t-test)\n',
  );
});
